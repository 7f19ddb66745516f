"""The compatibility page says what the tests show."""

from __future__ import annotations

from tests.compat.report import DOCUMENT, render


def test_the_page_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(), "run: python -m tests.compat.report"
