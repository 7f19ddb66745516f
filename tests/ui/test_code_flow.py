"""Flex flows and prompties in the studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptflow_lite.sdk.studio import CodeFlow, is_code_flow
from tests.support.flow_files import write_files
from tests.support.studio import Studio, Watched
from tests.ui.test_pages import components, open_page

PROMPTY = """\
---
name: Greeter
model:
  api: chat
  configuration: {type: openai, connection: none, model: fake}
inputs:
  who: {type: string}
sample: {who: Ada}
---
# user:
Greet {{ who }} warmly.
"""
FLEX = {
    "flow.flex.yaml": "entry: app:Shout\nsample: {inputs: {text: hello}}\n",
    "app.py": """
        from promptflow.tracing import trace

        open(__file__ + ".imported", "w").close()


        class Shout:
            @trace
            def louder(self, text: str) -> str:
                return text.upper()

            def __call__(self, text: str, times: int = 1) -> str:
                return self.louder(text) * int(times)
        """,
}


@pytest.fixture
def flex(workspace_folder: Path) -> Path:
    return write_files(workspace_folder / "shout", FLEX)


@pytest.fixture
def prompty(workspace_folder: Path) -> Path:
    (workspace_folder / "greet.prompty").write_text(PROMPTY)
    return workspace_folder / "greet.prompty"


def test_a_flex_flow_is_read_without_running_it(flex: Path) -> None:
    flow = CodeFlow(flex)

    assert is_code_flow(flex)
    assert (flow.kind, flow.definition, flow.source) == ("flex", "flow.flex.yaml", "app.py")
    assert [(item.name, item.type, item.is_required) for item in flow.parameters()] == [
        ("text", "str", True),
        ("times", "int", False),
    ]
    assert flow.first_inputs() == {"text": "hello"}
    assert flow.rendered({}) is None
    assert not (flex / "app.py.imported").exists()


def test_a_prompty_shows_its_prompt(prompty: Path) -> None:
    flow = CodeFlow(prompty)

    assert flow.first_inputs() == {"who": "Ada"}
    assert "Greet Ada warmly." in (flow.rendered({"who": "Ada"}) or "")
    prompty.write_text(PROMPTY.replace("{{ who }}", "{{ who"))
    assert "Greet" not in (flow.rendered({"who": "Ada"}) or "")


@pytest.mark.parametrize("text", ["no front matter", "---\nmodel: [\n---\n", ""])
def test_a_broken_file_still_opens(prompty: Path, text: str) -> None:
    prompty.write_text(text)

    at = open_page("author", flow="greet.prompty")

    assert not at.exception
    assert components(at)[0]["text"] == text


def test_home_opens_flows_without_nodes(flex: Path, prompty: Path) -> None:
    at = open_page("home")

    for path in (flex, prompty):
        assert at.button(key=f"open-{path}")


def test_the_author_page_draws_a_prompty(prompty: Path) -> None:
    at = open_page("author", flow="greet.prompty")

    assert not at.exception
    assert components(at)[0]["text"] == PROMPTY
    assert [area.value for area in at.text_area] == ["Ada"]
    assert any("Greet Ada warmly." in block.value for block in at.code)


@pytest.fixture
def author(watched: Watched) -> Iterator[Watched]:
    yield watched
    assert watched.foreign == []
    assert watched.complaints == []


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_a_flex_flow_is_edited_and_run(author: Watched, flex: Path, studio: Studio) -> None:
    page = author.page
    page.goto(studio.url)
    author.settle()
    page.locator("[class*=st-key-open-] button").click()
    page.locator(".cm-content").wait_for()
    author.settle()

    page.get_by_label("times · int").fill("2")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("HELLOHELLO").first.wait_for()
    author.settle()
    page.get_by_role("tab", name="Trace").click()
    page.locator(".span").nth(1).wait_for()

    page.locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\n# edited here")
    page.keyboard.press("Control+s")
    author.settle()
    assert "# edited here" in (flex / "app.py").read_text()
