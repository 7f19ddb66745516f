"""The HTML report in a real browser: no request leaves it, charts are drawn, ten thousand rows can be searched."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.evals.reports import render_html

pytestmark = pytest.mark.browser


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    executable = os.environ.get("PFL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=executable, args=arguments, headless=True
        )
        yield context.pages[0]
        context.close()


def test_ten_thousand_rows_are_usable_without_any_request(make_comparison: Any, page: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_html(make_comparison(10_000)), "utf-8")
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))

    page.goto(path.as_uri())

    assert page.locator("svg.chart").count() == 3
    assert all(box and box["width"] > 300 for box in (c.bounding_box() for c in page.locator("svg.chart").all()))
    assert page.inner_text("#position") == "1–50 of 10,000"
    assert page.locator("#table tbody tr").count() == 50

    started = time.monotonic()
    page.fill("#find", "answer 9999")
    assert page.inner_text("#position") == "1–1 of 1"
    page.fill("#find", "")
    page.select_option("#show", "failed")
    assert page.inner_text("#position") == "1–8 of 8"
    page.select_option("#show", "all")
    page.click("#next")
    assert page.inner_text("#position") == "51–100 of 10,000"
    assert time.monotonic() - started < 10

    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert problems == []
