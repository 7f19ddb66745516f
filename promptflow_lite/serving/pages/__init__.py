"""The pages a browser sees; self-contained, so that they work offline."""

from __future__ import annotations

from functools import cache
from pathlib import Path

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


@cache
def read(name: str) -> str:
    """The text of a page."""
    return (Path(__file__).parent / name).read_text("utf-8")
