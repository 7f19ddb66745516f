"""Texts compared word by word: exact match, contained text, patterns, token overlap, edit similarity."""

from __future__ import annotations

import re
import string
from collections import Counter

from promptflow_lite._utils.imports import require
from promptflow_lite.errors import EvaluatorError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Lower case, without punctuation and the articles a, an and the, single spaces.

    Source: the answer normalisation of SQuAD (Rajpurkar et al. 2016).
    """
    lowered = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", lowered).split())


def exact_match(answer: str, ground_truth: str, *, is_normalized: bool = True) -> bool:
    """Whether both texts say the same, by default after `normalize`."""
    if is_normalized:
        return normalize(answer) == normalize(ground_truth)

    return answer == ground_truth


def contains(answer: str, ground_truth: str, *, ignores_case: bool = True) -> bool:
    """Whether the answer contains the reference."""
    return ground_truth.lower() in answer.lower() if ignores_case else ground_truth in answer


def matches(answer: str, pattern: str, *, is_whole: bool = False) -> bool:
    """Whether a regular expression is found in the answer, or fits all of it.

    Raises:
        EvaluatorError: the pattern is no regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise EvaluatorError(f"{pattern!r} is no regular expression: {error}.") from error

    return bool(compiled.fullmatch(answer) if is_whole else compiled.search(answer))


def token_f1(answer: str, ground_truth: str) -> float:
    """Harmonic mean of precision and recall of the normalised words, counted with repetition.

    Source: SQuAD (Rajpurkar et al. 2016).
    """
    given, expected = normalize(answer).split(), normalize(ground_truth).split()
    shared = sum((Counter(given) & Counter(expected)).values())
    if shared == 0:
        return 0.0

    precision, recall = shared / len(given), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


def edit_similarity(answer: str, ground_truth: str) -> float:
    """One minus the Levenshtein distance as a share of the longer text (rapidfuzz)."""
    distance = require("rapidfuzz.distance", extra="eval", feature="Edit similarity")
    return float(distance.Levenshtein.normalized_similarity(answer, ground_truth))
