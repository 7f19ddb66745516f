"""Numbers, times and values as people read them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

STATUS_ICONS = {
    "Completed": ":green[:material/check_circle:]",
    "Failed": ":red[:material/error:]",
    "Running": ":blue[:material/progress_activity:]",
    "Preparing": ":gray[:material/schedule:]",
    "Queued": ":gray[:material/schedule:]",
    "Canceled": ":gray[:material/cancel:]",
    "CancelRequested": ":orange[:material/cancel:]",
    "Bypassed": ":gray[:material/redo:]",
}
STATUS_MARKS = {"Completed": "✓", "Failed": "✕", "Running": "▶", "Canceled": "■", "Bypassed": "○"}


def status_mark(status: str) -> str:
    """A status for a table's cell."""
    return f"{STATUS_MARKS.get(status, '·')} {status}"


def duration(seconds: float | None) -> str:
    """`12 ms`, `3.2 s`, `4 min 10 s`."""
    if seconds is None:
        return ""

    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"

    if seconds < 60:
        return f"{seconds:.1f} s"

    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def ago(moment: float | None) -> str:
    """How long ago a moment was."""
    if not moment:
        return ""

    seconds = max(time.time() - moment, 0)
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (86400 * 60, 86400, "d")):
        if seconds < limit:
            return f"{seconds // size:.0f} {unit} ago"

    return time.strftime("%Y-%m-%d", time.localtime(moment))


def number(value: float | None) -> str:
    """A metric: few digits, thousands apart."""
    if value is None:
        return ""

    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"

    return f"{value:.4g}"


def short(value: Any, limit: int = 300) -> str:
    """A value on one line."""
    text = (
        value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    )
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def counted(count: int, noun: str) -> str:
    """`2 nodes`, `1 row`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def pairs_text(pairs: Mapping[str, str]) -> str:
    """Names and values for a text box, `NAME=VALUE`, one a line."""
    return "\n".join(f"{name}={value}" for name, value in pairs.items())


def pairs_of(text: str) -> dict[str, str]:
    """`NAME=VALUE` lines; others are left out."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}
