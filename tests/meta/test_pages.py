"""Generated pages are what the code would generate now."""

from __future__ import annotations

import pytest
from support.pages import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run: make docs"
