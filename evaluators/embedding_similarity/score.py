"""How near do answer and reference lie in the space of an embedding model?"""

from promptflow.core import tool

from promptflow_lite.evals.embedding import embedding_similarity


@tool
def score(answer: str, ground_truth: str, model: str) -> dict:
    return {"embedding_similarity": embedding_similarity(answer, ground_truth, model=model or None)}
