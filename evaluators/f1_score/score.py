"""How many words do answer and reference share?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import token_f1


@tool
def score(answer: str, ground_truth: str) -> dict:
    return {"f1_score": token_f1(answer, ground_truth)}
