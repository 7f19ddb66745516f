"""Convert kilometres to miles and back."""

import re

from promptflow.core import tool

KM_PER_MILE = 1.609344


@tool
def units(question: str) -> str:
    number = re.search(r"\d+(?:\.\d+)?", question)
    if number is None:
        return "There is nothing to convert."

    value = float(number.group())
    is_from_km = re.search(r"\d\s*(km|kilomet)", question, re.IGNORECASE) is not None
    return f"{value / KM_PER_MILE:.1f} miles" if is_from_km else f"{value * KM_PER_MILE:.1f} km"
