"""Grades one row."""

from promptflow.core import tool


@tool
def grade(answer: str, ground_truth: str) -> bool:
    """Whether the answer is the expected label."""
    return answer.strip().lower() == ground_truth.strip().lower()
