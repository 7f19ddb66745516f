"""Does the answer contain the reference?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import contains


@tool
def score(answer: str, ground_truth: str) -> dict:
    return {"contains": contains(answer, ground_truth)}
