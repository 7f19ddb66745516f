"""What somebody who has never seen the studio does in the first quarter of an hour, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.flow import load_flow, load_yaml
from tests.support.studio import Studio, Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def _drag(page, source, target) -> None:
    a, b = source.bounding_box(), target.bounding_box()
    page.mouse.move(a["x"] + a["width"] / 2, a["y"] + a["height"] / 2)
    page.mouse.down()
    page.mouse.move(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2, steps=12)
    page.mouse.up()


def test_from_template_to_verdict(studio: Studio, watched: Watched, workspace_folder: Path) -> None:
    page = watched.page
    page.goto(studio.url)
    watched.settle()

    # A flow from a template.
    page.locator("[class*=st-key-use-classification] button").click()
    page.get_by_role("button", name="Create", exact=True).click()
    page.wait_for_selector('.react-flow__node[data-id="classify"]')
    watched.settle()
    flow = workspace_folder / "classification" / "flow.dag.yaml"
    hand_written = flow.read_text()

    # A node by dragging it from the palette, its edges by drawing them.
    runs = watched.n_runs
    page.locator('.toolbar [data-kind="llm"]').drag_to(
        page.locator(".react-flow__pane"), target_position={"x": 430, "y": 250}
    )
    page.wait_for_selector('.react-flow__node[data-id="new_llm"]')
    watched.settle()
    assert watched.n_runs == runs + 1, "one gesture, one rerun"

    runs = watched.n_runs
    _drag(
        page,
        page.locator('.react-flow__node[data-id="inputs"] .react-flow__handle.source'),
        page.locator('.react-flow__node[data-id="new_llm"] .react-flow__handle.target'),
    )
    watched.settle()
    assert watched.n_runs == runs + 1
    assert load_yaml(flow).value["nodes"][-1]["inputs"]["message"] == "${inputs.message}"

    _drag(
        page,
        page.locator('.react-flow__node[data-id="new_llm"] .react-flow__handle.source'),
        page.locator('.react-flow__node[data-id="outputs"] .react-flow__handle.target'),
    )
    watched.settle()
    assert load_yaml(flow).value["outputs"]["new_llm"]["reference"] == "${new_llm.output}"

    # Its prompt, typed and run without a pause in between.
    cell = page.locator('[data-cell="new_llm"]')
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type("Answer in one word: {{ message")
    page.keyboard.press("Control+Enter")
    cell.locator(".out-output").wait_for()
    watched.settle()
    assert "{{ message}}" in (flow.parent / "new_llm.jinja2").read_text()
    assert "charged twice" in cell.locator(".out-output").inner_text()

    # A second variant.
    cell.get_by_label("More for new_llm").click()
    cell.get_by_role("menuitem", name="Add a variant").click()
    watched.settle()
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Home")
    page.keyboard.type("# system:\nBe brief.\n\n")
    watched.settle()
    page.wait_for_timeout(800)
    watched.settle()
    assert "Be brief." in (flow.parent / "new_llm__variant_1.jinja2").read_text()
    assert (
        load_flow(flow.parent, variant="${new_llm.variant_1}").node("new_llm").source.path
        == "new_llm__variant_1.jinja2"
    )

    # Undo and redo give the same file again.
    before = flow.read_text()
    page.locator('.toolbar [aria-label="Undo"]').click()
    watched.settle()
    page.locator('.toolbar [aria-label="Redo"]').click()
    watched.settle()
    assert flow.read_text() == before
    untouched = [line for line in hand_written.splitlines() if line.strip()]
    lines_now = iter(before.splitlines())
    assert all(line in lines_now for line in untouched), "what was not edited stands in its old order"

    # Both variants over data, judged.
    page.get_by_role("button", name="Batch").click()
    page.get_by_text("4 · Start").wait_for()
    watched.settle()
    page.get_by_role("combobox", name="Evaluators").click()
    page.get_by_role("option", name="Accuracy").first.click()
    page.keyboard.press("Escape")
    watched.settle()
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("Started here").wait_for(timeout=60_000)
    compare = page.locator("[class*=st-key-compare-] button")
    compare.wait_for(timeout=180_000)
    watched.settle()

    # The comparison, a row's trace, and the better variant made the default.
    compare.click()
    page.get_by_text("Rows that changed").wait_for(timeout=60_000)
    watched.settle()
    assert page.get_by_text("against").first.is_visible()
    page.locator("[class*=st-key-promote_choice]").wait_for()
    page.get_by_role("button", name="Promote").click()
    page.get_by_text("is now the default of").first.wait_for()

    page.get_by_role("link", name="Runs").click()
    watched.settle()
    page.locator(".dvn-scroller").first.click(position={"x": 18, "y": 58})
    watched.settle()
    page.locator("[class*=st-key-runs_open] button").click()
    page.get_by_text("Select a line to see its trace").wait_for()
    watched.settle()
    page.locator(".dvn-scroller").first.click(position={"x": 18, "y": 58})
    page.locator(".span").first.wait_for()
    assert page.locator(".span").count() >= 2

    assert watched.foreign == []
    assert watched.complaints == []
