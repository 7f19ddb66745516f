"""Is the label right?"""

from promptflow.core import tool


@tool
def score(answer: str, ground_truth: str) -> dict:
    return {"correct": answer.strip().lower() == ground_truth.strip().lower()}
