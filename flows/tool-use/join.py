"""Take the answer of the one branch that ran; the others are None."""

from typing import Optional

from promptflow.core import tool


@tool
def join(calculator: Optional[str] = None, units: Optional[str] = None, talk: Optional[str] = None) -> str:
    return calculator or units or talk or ""
