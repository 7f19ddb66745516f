"""Is the answer the reference?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import exact_match


@tool
def score(answer: str, ground_truth: str) -> dict:
    return {"exact_match": exact_match(answer, ground_truth)}
