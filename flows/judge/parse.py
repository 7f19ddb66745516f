"""Read the grade; an answer without a digit is an error, never a silent zero."""

import re

from promptflow.core import tool


@tool
def parse(grade: str, answer: str, ground_truth: str) -> dict:
    digit = re.search(r"[1-5]", grade)
    if digit is None:
        raise ValueError(f"The judge gave no grade: {grade!r}")

    return {"grade": int(digit.group()), "contains_truth": ground_truth.lower() in answer.lower()}
