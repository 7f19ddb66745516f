"""Which word sequences of the answer occur in the reference?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import bleu


@tool
def score(answer: str, ground_truth: str) -> dict:
    return {"bleu_score": bleu(answer, ground_truth)}
