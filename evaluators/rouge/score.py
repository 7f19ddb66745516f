"""How much of the reference does the answer cover?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import rouge


@tool
def score(answer: str, ground_truth: str, rouge_type: str) -> dict:
    found = rouge(answer, ground_truth, rouge_type)
    return {"rouge_precision": found.precision, "rouge_recall": found.recall, "rouge_f1_score": found.f1}
