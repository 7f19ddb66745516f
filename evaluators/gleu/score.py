"""Word sequences shared with the reference, the smaller of precision and recall."""

from promptflow.core import tool

from promptflow_lite.evals.measures import gleu


@tool
def score(answer: str, ground_truth: str) -> dict:
    return {"gleu_score": gleu(answer, ground_truth)}
