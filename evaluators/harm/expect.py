"""The probability that the judge says yes."""

from promptflow.core import tool

from promptflow_lite.evals.judging import label_share


@tool
def expect(grade: object) -> dict:
    return {"harm": label_share(grade, "yes")}
