"""The author page in a real browser: running, and what it shows meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.flow_files import graph_flow
from tests.support.studio import Studio, Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
def author(studio: Studio, watched: Watched) -> Iterator[Watched]:
    yield watched
    assert watched.foreign == []
    assert watched.complaints == []


def open_author(studio: Studio, watched: Watched) -> None:
    """Open the only flow of the workspace."""
    watched.page.goto(studio.url)
    watched.settle()
    watched.page.locator("[class*=st-key-open-] button").click()
    watched.page.wait_for_selector(".react-flow__node")
    watched.settle()


def card(watched: Watched, node: str, status: str) -> Any:
    return watched.page.locator(f'.react-flow__node[data-id="{node}"] .card.is-{status}')


def test_nodes_show_their_real_state_while_the_flow_runs(
    author: Watched, studio: Studio, workspace_folder: Path
) -> None:
    gate = workspace_folder / "go"
    wait = f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)"
    slow = f"def b(i_a):\n    import os, time\n    {wait}\n    return i_a"
    graph_flow(workspace_folder / "chain", "a -> b, b -> c", code={"b": slow})
    open_author(studio, author)

    author.page.get_by_role("button", name="Run flow").click()
    card(author, "b", "Running").wait_for()
    card(author, "a", "Completed").wait_for()
    card(author, "c", "Waiting").wait_for()
    assert "start>a" in author.page.locator('[data-cell="a"] .out-output').inner_text()

    gate.touch()
    card(author, "c", "Completed").wait_for()
    author.settle()
    assert author.page.locator('[data-cell="c"] .out-output').inner_text() == "start>a>c"
