"""Rank the paragraphs of `documents/*.md` by BM25; no index, no service."""

import math
import re
from collections import Counter
from pathlib import Path

from promptflow.core import tool

K1, B = 1.5, 0.75


@tool
def search(question: str, top_k: int) -> list:
    passages = load_passages(Path("documents"))
    counts = [Counter(words(passage["text"])) for passage in passages]
    lengths = [sum(count.values()) for count in counts]
    mean_length = sum(lengths) / max(len(lengths), 1)
    documents_with = Counter(word for count in counts for word in count)

    def score(index: int) -> float:
        total = 0.0
        for word in words(question):
            frequency = counts[index][word]
            rarity = math.log(1 + (len(passages) - documents_with[word] + 0.5) / (documents_with[word] + 0.5))
            total += rarity * frequency * (K1 + 1) / (frequency + K1 * (1 - B + B * lengths[index] / mean_length))
        return total

    ranked = sorted(range(len(passages)), key=score, reverse=True)
    return [{**passages[index], "score": round(score(index), 3)} for index in ranked[:top_k]]


def load_passages(folder: Path) -> list[dict]:
    return [
        {"source": path.name, "text": paragraph.strip()}
        for path in sorted(folder.glob("*.md"))
        for paragraph in path.read_text(encoding="utf-8").split("\n\n")
        if paragraph.strip() and not paragraph.startswith("#")
    ]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
