"""The author page in a real browser: running, and what it shows meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.flow import load_yaml
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


def test_tools_flows_and_lists_come_from_the_palette_and_options_are_edited(
    author: Watched, studio: Studio, workspace_folder: Path
) -> None:
    page, folder = author.page, graph_flow(workspace_folder / "chain", "a -> b")
    graph_flow(workspace_folder / "helpers" / "inner", "deep")
    page.goto(studio.url)
    author.settle()
    page.locator("[class*=st-key-open-][class*=chain] button").click()
    page.wait_for_selector('.react-flow__node[data-id="b"]')
    author.settle()

    page.get_by_label("Add Tool").click()
    page.get_by_label("Search tools").fill("serp")
    page.keyboard.press("Enter")
    page.locator('[data-cell="search"]').wait_for()
    page.get_by_label("Add Sub-flow").click()
    page.get_by_label("Choose a flow").get_by_role("button", name="inner").click()
    page.locator('[data-cell="inner"]').wait_for()
    author.settle()
    assert page.get_by_label("inner input x", exact=True).count() == 1, "the inputs of the other flow are asked for"
    page.locator('.react-flow__node[data-id="a"]').click()
    author.settle()
    page.get_by_label("Add For each").click()
    page.locator('[data-cell="new_for_each"]').wait_for()
    author.settle()

    cell = page.locator('[data-cell="b"]')
    cell.get_by_label("Options of b").click()
    cell.get_by_label("Condition of b").fill("${a.output}")
    cell.get_by_label("Condition of b").press("Enter")
    author.settle()
    cell.get_by_label("Compared value of b").fill("yes")
    cell.get_by_label("Compared value of b").press("Enter")
    author.settle()
    page.locator('[data-cell="inner"]').get_by_label("Options of inner").click()
    page.locator('[data-cell="inner"]').get_by_text("Aggregation").click()
    author.settle()

    nodes = {node["name"]: node for node in load_yaml(folder / "flow.dag.yaml").value["nodes"]}
    assert nodes["search"]["source"] == {"type": "package", "tool": "promptflow.tools.serpapi.SerpAPI.search"}
    assert nodes["inner"]["source"]["path"] == "../helpers/inner"
    assert nodes["inner"]["aggregation"] is True
    assert nodes["new_for_each"]["for_each"] == "${a.output}"
    assert nodes["b"]["activate"] == {"when": "${a.output}", "is": "yes"}


def test_keys_search_fit_and_explain_themselves(author: Watched, studio: Studio, workspace_folder: Path) -> None:
    graph_flow(workspace_folder / "chain", "a -> b, b -> c")
    open_author(studio, author)
    page = author.page
    page.locator(".react-flow__pane").click(position={"x": 5, "y": 200})

    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for(state="detached")
    page.keyboard.press("/")
    page.keyboard.type("c")
    page.keyboard.press("Enter")
    page.locator('[data-cell="c"].selected').wait_for()
    author.settle()
    assert page.locator('.react-flow__node[data-id="a"] .card.dimmed').count() == 1
