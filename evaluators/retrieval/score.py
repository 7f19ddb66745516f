"""How well does a ranked list find the relevant documents?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import rank_scores


@tool
def score(retrieved: list, relevant: list, k: int) -> dict:
    found = rank_scores(retrieved, relevant, k)
    return {
        "precision_at_k": found.precision,
        "recall_at_k": found.recall,
        "mrr": found.reciprocal_rank,
        "ndcg": found.ndcg,
    }
