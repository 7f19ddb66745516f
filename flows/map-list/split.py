"""Split a text into its sentences."""

import re

from promptflow.core import tool


@tool
def split(review: str) -> list:
    return [sentence.strip() for sentence in re.split(r"(?<=[.!?])\s+", review) if sentence.strip()]
