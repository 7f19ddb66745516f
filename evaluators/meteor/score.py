"""Words, stems and synonyms shared with the reference."""

from promptflow.core import tool

from promptflow_lite.evals.measures import meteor


@tool
def score(answer: str, ground_truth: str) -> dict:
    return {"meteor_score": meteor(answer, ground_truth)}
