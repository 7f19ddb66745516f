"""How few edits turn the answer into the reference?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import edit_similarity


@tool
def score(answer: str, ground_truth: str) -> dict:
    return {"edit_similarity": edit_similarity(answer, ground_truth)}
