"""Does the answer settle on the expected number?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import numbers_match, parse_number


@tool
def score(answer: str, ground_truth: str, tolerance: float) -> dict:
    return {"correct": numbers_match(answer, ground_truth, tolerance=tolerance), "number": parse_number(answer)}
