"""Numeric answers: the number a text settles on, and whether it is the expected one."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from promptflow_lite.errors import EvaluatorError

_NUMBER = r"[-+]?\$?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\$?\.\d+"
_FRACTION = rf"(?:(?P<whole>\d+)\s+)?(?P<top>[-+]?\d+)\s?/\s?(?P<bottom>\d+)|(?P<number>{_NUMBER})"
_VALUE = re.compile(rf"(?<![\w.])(?:{_FRACTION})\s?(?P<percent>%)?")
_MARKERS = (
    re.compile(r"####\s*(.+)"),
    re.compile(r"\\boxed\{([^{}]*)\}"),
    re.compile(r"(?i)\b(?:final\s+)?answer\b\s*(?:is|:|=)+\s*(.+)"),
    re.compile(r"(?i)\b(?:final\s+)?answer\s*(?:\w+\s+){0,4}?is\s*:?\s*(.+)"),
)


def parse_number(text: str) -> float | None:
    """The number a text settles on: behind a marker if there is one, else the last one; None without any number.

    Markers, in this order: `####`, `\\boxed{}`, `answer:` or `the answer is`. Thousands separators, currency signs,
    percent signs (50% is 50), simple fractions (`3/4`, `2 1/2`) and unicode minus signs are understood.
    """
    plain = text.replace("−", "-").replace("\u2009", "").replace("\u202f", "").replace("**", "")
    plain = re.sub(r"\\[$,!]|\\text\{[^{}]*\}", "", plain)
    for marker in _MARKERS:
        marked = [value for found in marker.findall(plain) if (value := _first(found)) is not None]
        if marked:
            return marked[-1]

    values = [_value(match) for match in _VALUE.finditer(plain)]
    return values[-1] if values else None


def _first(text: str) -> float | None:
    """The first number; behind an equation the number after its last equals sign (`4 * 5 = 20`)."""
    line = text.splitlines()[0] if text.strip() else ""
    match = _VALUE.search(line.rsplit("=", 1)[-1]) or _VALUE.search(line)
    return _value(match) if match else None


def _value(match: re.Match[str]) -> float:
    if match["number"] is not None:
        return float(re.sub(r"[$,\s]", "", match["number"]))

    bottom = int(match["bottom"])
    if bottom == 0:
        return math.nan

    whole = int(match["whole"] or 0)
    return float(whole + Fraction(int(match["top"]), bottom))


def numbers_match(answer: str, ground_truth: str | float, *, tolerance: float = 1e-6, relative: float = 0.0) -> bool:
    """Whether the answer settles on the expected number; an answer without a number is wrong.

    Args:
        answer: The model's text.
        ground_truth: A number, or a text that settles on one.
        tolerance: Allowed absolute difference.
        relative: Allowed difference as a fraction of the expected number.
    Raises:
        EvaluatorError: the reference holds no number.
    """
    expected = parse_number(str(ground_truth))
    if expected is None:
        raise EvaluatorError(f"The reference {ground_truth!r} holds no number.")

    given = parse_number(answer)
    return given is not None and abs(given - expected) <= max(tolerance, relative * abs(expected))
