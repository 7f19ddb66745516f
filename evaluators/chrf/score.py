"""Which letter sequences do answer and reference share?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import chrf


@tool
def score(answer: str, ground_truth: str) -> dict:
    return {"chrf_score": chrf(answer, ground_truth)}
