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


PRINTS = "def a(x):\n    print('seen', x)\n    return x"
FAILS = "def b(i_a):\n    ready = True\n    raise ValueError('no luck')"


def test_cells_show_logs_errors_at_their_line_and_run_what_is_asked(
    author: Watched, studio: Studio, workspace_folder: Path
) -> None:
    page = author.page
    graph_flow(workspace_folder / "chain", "a -> b, b -> c", code={"a": PRINTS, "b": FAILS})
    open_author(studio, author)

    page.get_by_label("Run to b", exact=True).click()
    card(author, "b", "Failed").wait_for()
    author.settle()
    failed = page.locator('[data-cell="b"]')
    assert "no luck" in failed.get_by_role("alert").inner_text()
    assert "b.py:" in failed.get_by_role("alert").inner_text()
    assert failed.locator(".cm-lint-marker-error").count() == 1
    assert card(author, "c", "Completed").count() == 0, "what comes after was not asked for"
    page.locator('[data-cell="a"]').get_by_role("tab", name="Log").click()
    assert "seen start" in page.locator('[data-cell="a"] .out-log').inner_text()

    page.locator('[data-cell="a"] .cm-content').click()
    page.locator('.react-flow__node[data-id="a"] .card.selected').wait_for()
    page.keyboard.press("Control+End")
    page.keyboard.type("\nreturn = 1")
    page.locator('[data-cell="a"] .cm-lint-marker-error').wait_for()
    page.locator('.react-flow__node[data-id="a"] .badge.bad').wait_for()


def test_templates_complete_inputs_and_nodes_and_show_the_prompt(
    author: Watched, studio: Studio, workspace_folder: Path
) -> None:
    page, folder = author.page, graph_flow(workspace_folder / "chain", "first -> second")
    open_author(studio, author)
    page.get_by_label("Add Prompt").click()
    cell = page.locator('[data-cell="new_prompt"]')
    cell.wait_for()
    author.settle()

    cell.locator(".cm-content").click()
    page.keyboard.type("Say {{ se")
    page.locator(".cm-tooltip-autocomplete li", has_text="second").wait_for()
    page.wait_for_timeout(200)  # the list takes no key in its first moments
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.type(" and {{ x }}")
    page.keyboard.press("Control+s")
    author.settle()
    assert load_yaml(folder / "flow.dag.yaml").value["nodes"][-1]["inputs"] == {
        "second": "${second.output}",
        "x": "${inputs.x}",
    }

    cell.locator(".cm-content").press("Control+Enter")
    cell.locator(".out-output").wait_for()
    author.settle()
    assert cell.locator(".out-output").inner_text() == "Say start>first>second and start"
    cell.get_by_role("tab", name="Rendered prompt").click()
    assert "start>first>second" in cell.locator(".out-rendered").inner_text()


def test_files_are_made_and_deleted_on_the_author_page(author: Watched, studio: Studio, workspace_folder: Path) -> None:
    page, folder = author.page, graph_flow(workspace_folder / "chain", "a")
    open_author(studio, author)
    page.get_by_role("tab", name="Files").click()
    author.settle()

    page.get_by_role("button", name="New", exact=True).click()
    page.get_by_label("Path below the flow's folder").fill("../escape.md")
    page.get_by_role("button", name="Create").click()
    page.get_by_text("is no usable file name").or_(page.get_by_text("leads out of")).wait_for()
    page.get_by_label("Path below the flow's folder").fill("notes.md")
    page.get_by_role("button", name="Create").click()
    page.get_by_label("Path below the flow's folder").wait_for(state="detached")
    author.settle()
    assert (folder / "notes.md").is_file()
    assert not (workspace_folder / "escape.md").exists()

    page.locator('[aria-label="notes.md"]').click()
    page.keyboard.type("remember")
    page.keyboard.press("Control+s")
    author.settle()
    assert (folder / "notes.md").read_text() == "remember"

    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").wait_for(state="detached")
    author.settle()
    assert not (folder / "notes.md").exists()
