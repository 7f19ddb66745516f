"""Take the answer of the one branch that ran; the others are None."""

from promptflow.core import tool


@tool
def join(calculator: str | None = None, units: str | None = None, talk: str | None = None) -> str:
    return calculator or units or talk or ""
