from pathlib import Path

from helper_words import mark
from promptflow.core import tool


@tool
def use(text: str) -> str:
    return text + mark() + Path("texts/end.txt").read_text().strip()
