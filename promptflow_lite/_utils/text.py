"""Short texts for people: suggestions and truncation."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
