"""Texts for people: suggestions, truncation, and text of strangers made harmless for terminals and spreadsheets."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
_FORMULA = re.compile(r"\s*[=+\-@]")
_NUMBER = re.compile(r"[+-]?\d[\d.,]*([eE][+-]?\d+)?%?")


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the closest known name, else lists the known ones; None when nothing is known."""
    names = [str(item) for item in known]
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"

    if not names:
        return None

    shown = ", ".join(repr(item) for item in sorted(names)[:8])
    return f"Known names: {shown}{', …' if len(names) > 8 else ''}."


def truncate(text: str, width: int) -> str:
    """At most `width` characters, the last one an ellipsis when something was cut."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def visible(text: str) -> str:
    """Text for a terminal: control characters, which could steer it, are written out as `\\x1b`."""
    return text.translate(_CONTROLS)


def spreadsheet_cell(value: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would run as a formula gets an apostrophe in front."""
    is_formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if is_formula else value
