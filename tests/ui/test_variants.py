"""The variants page in a real browser: columns run and stream at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.flow import load_yaml
from tests.support.flow_files import write_files
from tests.support.studio import Studio, Watched
from tests.ui.test_pages import open_page

FLOW = """\
inputs: {x: {type: string, default: hi}}
outputs: {talk: {type: string, reference: "${talk.output}"}}
nodes:
- name: talk
  use_variants: true
node_variants:
  talk:
    default_variant_id: a
    variants:
      a: {node: {type: python, source: {type: code, path: a.py}, inputs: {x: "${inputs.x}"}}}
      b: {node: {type: python, source: {type: code, path: b.py}, inputs: {x: "${inputs.x}"}}}
"""
TALK = """\
import os, time
from promptflow.core import tool

@tool
def talk(x: str):
    yield "NAME begins "
    while not os.path.exists("go"):
        time.sleep(0.02)
    yield "NAME ends"
"""


@pytest.fixture
def flow(workspace_folder: Path) -> Path:
    texts = {"flow.dag.yaml": FLOW, "a.py": TALK.replace("NAME", "alpha"), "b.py": TALK.replace("NAME", "beta")}
    return write_files(workspace_folder / "talk", {**texts, "data.jsonl": '{"x": "one"}\n'})


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_variants_stream_side_by_side(flow: Path, studio: Studio, watched: Watched) -> None:
    page = watched.page
    page.goto(studio.url)
    watched.settle()
    page.get_by_role("link", name="Variants").click()
    page.get_by_text("Not run yet.").nth(1).wait_for()
    watched.settle()

    page.get_by_role("button", name="Run all").click()
    for name in ("alpha begins", "beta begins"):
        page.locator("[data-testid=stCode]", has_text=name).wait_for()
    assert not page.locator("[data-testid=stCode]", has_text="ends").count(), "both wait, so both have started"
    (flow / "go").touch()
    for name in ("alpha begins alpha ends", "beta begins beta ends"):
        page.locator("[data-testid=stCode]", has_text=name).wait_for()
    watched.settle()

    page.locator("[class*=st-key-add_variant-b] button").first.click()
    page.get_by_text("variant_1", exact=True).wait_for()
    watched.settle()
    page.locator("[class*=st-key-set_default_variant-b] button").first.click()
    watched.settle()
    group = load_yaml(flow / "flow.dag.yaml").value["node_variants"]["talk"]
    assert group["default_variant_id"] == "b"
    assert len(group["variants"]) == 3
    assert watched.complaints == []
    assert watched.foreign == []


def test_compare_on_data_preselects_the_variants(flow: Path) -> None:
    at = open_page("batch", flow="talk", variants="talk:b")

    assert at.button_group(key="batch_variants-talk-talk").value == ["b"]
