"""The expected grade over the judge's label probabilities."""

from promptflow.core import tool

from promptflow_lite.evals.judging import expected_grade


@tool
def expect(grade: object) -> dict:
    return {"gpt_relevance": expected_grade(grade)}
