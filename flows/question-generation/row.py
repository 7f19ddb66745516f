"""Make a test row; it is usable when most words of the answer are in the passage."""

import re

from promptflow.core import tool

MIN_SHARE = 0.6


@tool
def row(passage: str, question: str, answer: str) -> dict:
    known = set(words(passage))
    said = words(answer)
    share = sum(word in known for word in said) / max(len(said), 1)
    return {
        "question": question.strip().splitlines()[0] if question.strip() else "",
        "ground_truth": answer.strip(),
        "is_usable": "?" in question and share >= MIN_SHARE,
    }


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
