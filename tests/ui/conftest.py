"""A workspace, a studio server on a free port, and a page of a headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptflow_lite.sdk.resources import bundled
from tests.support.studio import CHROMIUM_FLAGS, Studio, Watched, chromium


@pytest.fixture
def workspace_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace that the studio's pages see."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.setenv("PFL_WORKSPACE", str(folder))
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:echo")
    return folder


@pytest.fixture
def flow_folder(workspace_folder: Path) -> Path:
    """A flow of the workspace, made from a template."""
    target = workspace_folder / "tickets"
    shutil.copytree(bundled("flows") / "classification", target)
    return target


@pytest.fixture
def studio(workspace_folder: Path) -> Iterator[Studio]:
    running = Studio(workspace_folder)
    yield running
    running.close()


@pytest.fixture
def watched() -> Iterator[Watched]:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")

    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(20_000)
        yield Watched(page)
        browser.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser test may fail twice before it counts: now and then a click lands while the page is still moving."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=2))
