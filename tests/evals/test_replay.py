"""Replay: a recorded line again, from a node on, with an edit that can become a variant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.errors import RunOperationParameterError
from promptflow_lite.flow import load_flow
from promptflow_lite.providers import FakeModel
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.replay import ReplayRequest
from promptflow_lite.sdk.runs import RunRequest

FLOW = """\
inputs:
  text: {type: string}
outputs:
  answer: {type: string, reference: "${finish.output}"}
nodes:
- name: prepare   # counts how often it runs
  type: python
  source: {type: code, path: prepare.py}
  inputs: {text: "${inputs.text}"}
- name: ask
  type: llm
  source: {type: code, path: ask.jinja2}
  inputs:
    # a comment worth keeping
    text: ${prepare.output}
    temperature: 0
  api: chat
- name: finish
  type: python
  source: {type: code, path: finish.py}
  inputs: {text: "${ask.output}"}
"""
COUNTING = "with open('count', 'a') as f:\n        f.write('x')\n    return text.upper()\n"


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    folder = tmp_path / "asking"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(FLOW)
    (folder / "ask.jinja2").write_text("# user:\nask {{ text }}\n")
    tool = "from promptflow.core import tool\n\n\n@tool\ndef run(text: str) -> str:\n    "
    (folder / "prepare.py").write_text(tool + COUNTING)
    (folder / "finish.py").write_text(tool + "return text + '!'\n")
    return folder


@pytest.fixture
def client(flow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    FakeModel({"politely": "if you please"}, default=lambda call: call.prompt.lower(), name="replay")
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:replay")
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"text": f"T{i}"}) + "\n" for i in range(3)))
    with Client() as client:
        client.runs.create(RunRequest(flow=flow, data=data, name="base"))
        yield client


def test_a_line_runs_again_with_its_recorded_inputs(client: Client) -> None:
    replay = client.replays.run(ReplayRequest(run="base", line=1))

    assert replay.after.output == replay.before.output == {"answer": "ask t1!"}
    assert not replay.is_changed
    assert replay.reused == ()


def test_from_a_node_on_the_nodes_before_it_keep_their_output(client: Client, flow: Path) -> None:
    ran = len((flow / "count").read_text())

    replay = client.replays.run(ReplayRequest(run="base", line=2, node="ask", inputs={"text": "other"}))

    assert replay.after.output == {"answer": "ask other!"}
    assert replay.reused == ("prepare",)
    assert len((flow / "count").read_text()) == ran


def test_an_edit_becomes_a_variant_and_comments_stay(client: Client, flow: Path, tmp_path: Path) -> None:
    template = tmp_path / "polite.jinja2"
    template.write_text("# user:\npolitely ask {{ text }}\n")
    request = ReplayRequest(run="base", line=0, node="ask", inputs={"temperature": 0.7}, template=template)

    assert client.replays.run(request).after.output == {"answer": "if you please!"}
    client.replays.promote(request, "polite")

    text = (flow / "flow.dag.yaml").read_text()
    assert "# counts how often it runs" in text
    loaded = load_flow(flow, variant="${ask.polite}")
    node = loaded.node("ask")  # type: ignore[union-attr]
    assert node is not None
    assert node.inputs["temperature"] == 0.7
    assert node.source is not None
    assert (flow / str(node.source.path)).read_text() == template.read_text()
    again = client.replays.run(ReplayRequest(run="base", line=0, node="ask", variant="polite"))
    assert again.after.output == {"answer": "if you please!"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ReplayRequest(run="base", line=9), "has no line 9"),
        (ReplayRequest(run="base", line=0, node="aks"), "no node 'aks'"),
    ],
)
def test_what_is_not_there_is_refused(client: Client, request_: ReplayRequest, message: str) -> None:
    with pytest.raises(RunOperationParameterError, match=message):
        client.replays.run(request_)


def test_the_command_line(client: Client, flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "replay", "base", "--line", "1", "--node", "ask", "--set", "text=x", "--promote", "x"]

    assert main(arguments) == 0
    assert '"after": {' in capsys.readouterr().out
    assert "variants:" in (flow / "flow.dag.yaml").read_text()
