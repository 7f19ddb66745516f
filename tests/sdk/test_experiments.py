"""Experiments: nodes in order, mappings between them, unchanged nodes kept, conversations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.connections import OpenAIConnection
from promptflow_lite.errors import ExperimentError
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.experiments import load_experiment

TEMPLATE = """
description: two flows and a command
data:
- name: rows
  path: ./rows.jsonl
inputs:
- name: suffix
  type: string
  default: "!"
nodes:
- name: score
  type: flow
  path: ./score
  inputs:
    expected: ${{data.rows.expected}}
    answer: ${{main.outputs.output}}
- name: main
  type: flow
  path: ./main
  inputs:
    word: ${{made.outputs.file.word}}
    suffix: ${{inputs.suffix}}
- name: made
  type: command
  code: maker
  command: {python} make.py --rows ${{inputs.rows}} --out ${{outputs.file}}
  inputs:
    rows: ${{data.rows}}
  outputs:
    file: made.jsonl
"""
CHAT = """
data: [{name: rows, path: ./rows.jsonl}]
nodes:
- name: talk
  type: chat_group
  max_turns: 6
  stop_signal: "[STOP]"
  roles:
  - role: assistant
    path: ./bot
    inputs:
      text: ${rows.word}
      history: ${parent.conversation_history}
  - role: user
    path: ./bot
    inputs:
      text: from the user
      history: ${parent.conversation_history}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PFL_HOME", str(tmp_path / "home"))
    (tmp_path / "rows.jsonl").write_text('{"word": "a", "expected": "A!"}\n{"word": "b", "expected": "x"}\n')
    flows = {
        "main": "def f(word: str, suffix: str):\n    return word.upper() + suffix\n",
        "score": "def f(answer: str, expected: str):\n    return {'ok': answer == expected}\n",
        "bot": "def f(text: str, history: list):\n    end = '[STOP]' if len(history) == 3 else ''\n"
        "    return {'said': text + end}\n",
    }
    for name, code in flows.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_entry.py").write_text(code)
        (tmp_path / name / "flow.flex.yaml").write_text(f"entry: {name}_entry:f\n")
    make = "import shutil, sys\nshutil.copy(sys.argv[2], sys.argv[4])\n"
    (tmp_path / "maker").mkdir()
    (tmp_path / "maker" / "make.py").write_text(make)
    (tmp_path / "basic.exp.yaml").write_text(TEMPLATE.format(python=sys.executable))
    (tmp_path / "chat.exp.yaml").write_text(CHAT)
    return tmp_path


def test_nodes_run_in_the_order_of_their_references(folder: Path) -> None:
    experiment = load_experiment(folder / "basic.exp.yaml")

    assert [node.name for node in experiment.nodes] == ["made", "main", "score"]


def test_starting_runs_every_node_over_all_rows(folder: Path) -> None:
    with Client() as client:
        client.experiments.create(folder / "basic.exp.yaml", "basic")
        state = client.experiments.start("basic")

        assert state.status == "Terminated"
        outputs = [line.output for line in client.runs.lines(state.node_runs["score"]["run"])]
        assert outputs == [{"ok": True}, {"ok": False}]
        assert client.runs.get(state.node_runs["main"]["run"]).properties["experiment"] == "basic"


def test_unchanged_nodes_keep_their_runs(folder: Path) -> None:
    with Client() as client:
        client.experiments.create(folder / "basic.exp.yaml", "basic")
        first = dict(client.experiments.start("basic").node_runs)
        again = dict(client.experiments.start("basic").node_runs)
        code = folder / "score" / "score_entry.py"
        code.write_text(code.read_text().replace("==", "!="))
        changed = dict(client.experiments.start("basic").node_runs)

    assert again == first
    assert changed["main"] == first["main"]
    assert changed["score"]["run"] != first["score"]["run"]


def test_inputs_are_typed_and_replace_defaults(folder: Path) -> None:
    with Client() as client:
        client.experiments.create(folder / "basic.exp.yaml", "basic")
        state = client.experiments.start("basic", {"suffix": 5})
        lines = list(client.runs.lines(state.node_runs["main"]["run"]))

    assert [line.output for line in lines] == [{"output": "A5"}, {"output": "B5"}]


def test_a_conversation_takes_turns_until_the_stop_signal(folder: Path) -> None:
    with Client() as client:
        result = client.experiments.test(folder / "chat.exp.yaml")
        client.experiments.create(folder / "chat.exp.yaml", "chat")
        state = client.experiments.start("chat")

    history = result["talk"]["conversation_history"]
    assert [item["role"] for item in history] == ["assistant", "user", "assistant", "user"]
    assert history[-1]["said"] == "from the user[STOP]"
    conversations = Path(state.node_runs["talk"]["outputs"]["conversations"]).read_text().splitlines()
    assert len(conversations) == 2


def test_commands_are_shell_lines_with_folders_and_connections(folder: Path) -> None:
    text = (
        "data: [{name: rows, path: ./rows.jsonl}]\nnodes:\n- name: copy\n  type: command\n"
        "  command: cat ${inputs.rows} > ${outputs.out}/rows.jsonl && echo $KEY > ${outputs.out}/key.txt\n"
        "  inputs: {rows: '${data.rows}'}\n  outputs: {out: null}\n"
        "  environment_variables: {KEY: '${my_connection.api_key}'}\n"
        "- {name: main, type: flow, path: ./main, inputs: {word: '${copy.outputs.out.word}', suffix: '?'}}\n"
    )
    (folder / "shell.exp.yaml").write_text(text)
    with Client() as client:
        client.connections.create_or_update(OpenAIConnection("the-key", name="my_connection"))
        client.experiments.create(folder / "shell.exp.yaml", "shell")
        state = client.experiments.start("shell")
        outputs = [line.output for line in client.runs.lines(state.node_runs["main"]["run"])]
        tested = client.experiments.test(folder / "shell.exp.yaml")

    assert outputs == [{"output": "A?"}, {"output": "B?"}]
    assert (Path(state.node_runs["copy"]["outputs"]["out"]) / "key.txt").read_text() == "the-key\n"
    assert tested["main"] == {"output": "A?"}


def test_a_node_of_literals_runs_over_the_first_data(folder: Path) -> None:
    text = "data: [{name: rows, path: ./rows.jsonl}]\ninputs: [{name: w, type: string, default: q}]\nnodes:\n"
    text += "- {name: main, type: flow, path: ./main, inputs: {word: '${inputs.w}', suffix: '.'}}\n"
    (folder / "literal.exp.yaml").write_text(text)
    with Client() as client:
        client.experiments.create(folder / "literal.exp.yaml", "literal")
        state = client.experiments.start("literal")
        outputs = [line.output for line in client.runs.lines(state.node_runs["main"]["run"])]

    assert outputs == [{"output": "Q."}] * 2


def test_a_conversation_can_be_scored(folder: Path) -> None:
    (folder / "count").mkdir()
    code = "def f(conversation_history: list):\n    return {'n': len(conversation_history)}\n"
    (folder / "count" / "count_entry.py").write_text(code)
    (folder / "count" / "flow.flex.yaml").write_text("entry: count_entry:f\n")
    more = "- {name: score, type: flow, path: ./count, inputs: {conversation_history: "
    more += "'${talk.conversation_history}'}}\n"
    (folder / "chat.exp.yaml").write_text(CHAT + more)
    with Client() as client:
        assert client.experiments.test(folder / "chat.exp.yaml")["score"] == {"n": 4}
        client.experiments.create(folder / "chat.exp.yaml", "scored")
        state = client.experiments.start("scored")
        outputs = [line.output for line in client.runs.lines(state.node_runs["score"]["run"])]

    assert outputs == [{"n": 4}] * 2


def test_a_failing_node_stops_the_experiment(folder: Path) -> None:
    (folder / "maker" / "make.py").write_text("import sys\nprint('cannot make')\nsys.exit(3)\n")
    with Client() as client:
        client.experiments.create(folder / "basic.exp.yaml", "basic")
        with pytest.raises(ExperimentError, match="cannot make"):
            client.experiments.start("basic")

        state = client.experiments.get("basic")
    assert state.node_runs["made"]["status"] == "Failed"
    assert "main" not in state.node_runs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes: 3\n", "list of nodes"),
        ("nodes:\n- {name: a}\n", "needs a name and a type"),
        ("nodes:\n- {name: a, type: flow, path: x, inputs: {q: '${b.outputs.o}'}}\n", "no node 'b'"),
        (
            "nodes:\n- {name: a, type: flow, path: x, inputs: {q: '${b.outputs.o}'}}\n"
            "- {name: b, type: flow, path: x, inputs: {q: '${a.outputs.o}'}}\n",
            "circle",
        ),
    ],
)
def test_malformed_templates_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.exp.yaml").write_text(text)
    with pytest.raises(ExperimentError, match=message):
        load_experiment(tmp_path / "x.exp.yaml")


def test_experiments_are_kept_by_name(folder: Path) -> None:
    with Client() as client:
        client.experiments.create(folder / "chat.exp.yaml", "one")
        with pytest.raises(ExperimentError, match="already exists"):
            client.experiments.create(folder / "chat.exp.yaml", "one")
        with pytest.raises(ExperimentError, match="does not exist"):
            client.experiments.get("two")

        names: list[Any] = [state.name for state in client.experiments.list()]
    assert names == ["one"]
