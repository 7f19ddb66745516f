"""Check a summary by rules: its length, and that each figure comes from the text."""

import re

from promptflow.core import tool


@tool
def check(text: str, summary: str, max_words: int) -> dict:
    known = set(figures(text))
    invented = [figure for figure in figures(summary) if figure not in known]
    n_words = len(summary.split())
    return {
        "n_words": n_words,
        "invented_figures": invented,
        "is_good": n_words <= max_words and not invented,
    }


def figures(text: str) -> list[str]:
    return [figure.replace(",", "") for figure in re.findall(r"\d[\d,.]*\d|\d", text)]
