"""Gestures on the canvas and in the cells, in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.flow import load_yaml
from promptflow_lite.sdk.resources import bundled
from tests.support.studio import Studio, Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

SLOW_SAVES = """
import time
from promptflow_lite.sdk.studio.document import FlowDocument

save = FlowDocument._save

def slow_save(document, project):
    time.sleep(0.3)
    save(document, project)

FlowDocument._save = slow_save
"""


@pytest.fixture
def flow(workspace_folder: Path) -> Path:
    shutil.copytree(bundled("flows") / "tool-use", workspace_folder / "tools")
    return workspace_folder / "tools" / "flow.dag.yaml"


@pytest.fixture
def author(flow: Path, studio: Studio, watched: Watched) -> Iterator[Watched]:
    open_author(studio, watched)
    yield watched
    assert watched.foreign == []
    assert watched.complaints == []


def open_author(studio: Studio, watched: Watched) -> None:
    watched.page.goto(studio.url)
    watched.settle()
    watched.page.locator("[class*=st-key-open-] button").click()
    watched.page.wait_for_selector('.react-flow__node[data-id="join"]')
    watched.settle()


def node(watched: Watched, name: str) -> Any:
    return watched.page.locator(f'.react-flow__node[data-id="{name}"]')


def drag(watched: Watched, start: Any, end: Any) -> None:
    a, b = start.bounding_box(), end.bounding_box()
    mouse = watched.page.mouse
    mouse.move(a["x"] + a["width"] / 2, a["y"] + a["height"] / 2)
    mouse.down()
    mouse.move(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2, steps=10)
    mouse.up()


def names(flow: Path) -> list[str]:
    return [entry["name"] for entry in load_yaml(flow).value["nodes"]]


def test_delete_undo_rename_and_select_by_keyboard(author: Watched, flow: Path) -> None:
    page, before = author.page, flow.read_text()
    node(author, "talk").click()
    author.settle()
    assert page.locator('[data-cell="talk"].selected').count() == 1, "the cell is selected with the card"

    page.keyboard.press("Delete")
    node(author, "talk").wait_for(state="detached")
    author.settle()
    assert "talk" not in names(flow)

    page.locator(".canvas").press("Control+z")
    node(author, "talk").wait_for()
    author.settle()
    assert flow.read_text() == before

    node(author, "units").click()
    author.settle()
    page.keyboard.press("F2")
    page.get_by_label("New name").fill("convert")
    page.keyboard.press("Enter")
    node(author, "convert").wait_for()
    author.settle()
    assert load_yaml(flow).value["nodes"][-1]["inputs"]["units"] == "${convert.output}"
    assert not page.get_by_text("Clear caches").is_visible(), "single letters stay inside the canvas"


def test_an_edge_that_closes_a_cycle_is_refused_where_it_is_drawn(author: Watched, flow: Path) -> None:
    before = flow.read_text()
    source = node(author, "join").locator(".react-flow__handle.source")

    drag(author, source, node(author, "choose").locator(".react-flow__handle.target"))
    author.settle()

    assert flow.read_text() == before


def test_quick_gestures_are_all_kept(author: Watched, flow: Path) -> None:
    page = author.page
    for kind in ("llm", "prompt", "python", "python"):
        page.locator(f'.toolbar [data-kind="{kind}"]').click()
    box = node(author, "join").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 60, steps=4)
    page.mouse.up()
    node(author, "new_python_2").wait_for()
    author.settle()

    assert {"new_llm", "new_prompt", "new_python", "new_python_2"} <= set(names(flow))
    layout = json.loads((flow.parent / ".promptflow" / "studio.layout.json").read_text())
    assert "join" in layout["positions"]


def test_gestures_are_kept_while_the_server_is_slow(
    flow: Path, workspace_folder: Path, watched: Watched, tmp_path: Path
) -> None:
    """Each gesture comes while the rerun of the one before still saves, in a thread of its own."""
    before = names(flow)
    (tmp_path / "sitecustomize.py").write_text(SLOW_SAVES)
    studio = Studio(workspace_folder, PYTHONPATH=str(tmp_path))
    try:
        open_author(studio, watched)
        for _ in range(6):
            watched.page.locator('.toolbar [data-kind="python"]').dispatch_event("click")
            watched.page.wait_for_timeout(60)
        node(watched, "new_python_6").wait_for()
    finally:
        studio.close()

    assert sorted(set(names(flow)) - set(before)) == ["new_python", *(f"new_python_{n}" for n in range(2, 7))]


def test_typing_is_not_lost_when_something_else_is_clicked_at_once(author: Watched, flow: Path) -> None:
    page = author.page
    page.locator('[data-cell="choose"] .cm-content').click()
    page.keyboard.press("Control+End")
    page.keyboard.type("last words")
    page.get_by_role("button", name="Run flow").click()
    page.locator('[data-cell="choose"] .out-output').wait_for()
    author.settle()

    assert (flow.parent / "choose.jinja2").read_text().endswith("last words")
    assert "last words" in page.locator('[data-cell="choose"] .cm-content').inner_text()


def test_a_change_on_disk_is_shown_and_can_be_taken_over(author: Watched, flow: Path) -> None:
    page = author.page
    flow.write_text("# by hand\n" + flow.read_text())

    page.locator('.toolbar [data-kind="llm"]').click()
    page.get_by_text("changed on disk since it was opened").wait_for()
    page.get_by_role("button", name="Reload").click()
    author.settle()
    page.locator('.toolbar [data-kind="llm"]').click()
    node(author, "new_llm").wait_for()
    author.settle()

    assert flow.read_text().startswith("# by hand\n")
    assert "new_llm" in names(flow)
