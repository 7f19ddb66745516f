"""Flows as Python functions: calls, contexts, streams, async, and the original's executor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.connections import CustomConnection
from promptflow_lite.errors import MissingRequiredFlowInput, ToolExecutionError, UserErrorException
from promptflow_lite.providers import FakeModel
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.flow_function import AsyncFlow, Flow, FlowContext, load_flow
from promptflow_lite.sdk.original.executor import FlowExecutor
from promptflow_lite.sdk.prompty import AsyncPrompty, Prompty

FLOW = """
inputs:
  text: {type: string}
  n: {type: int, default: 2}
outputs:
  said: {type: string, reference: "${say.output}"}
  letters: {type: string, reference: "${letters.output}"}
  where: {type: string, reference: "${where.output}"}
environment_variables: {FLOW_FUNCTION_VARIABLE: declared}
nodes:
- name: say
  use_variants: true
- name: letters
  type: python
  source: {type: code, path: letters.py}
  inputs: {text: "${inputs.text}"}
- name: where
  type: python
  source: {type: code, path: where.py}
  inputs: {text: "${inputs.text}"}
- name: count
  type: python
  aggregation: true
  source: {type: code, path: where.py}
  inputs: {text: "${letters.output}"}
node_variants:
  say:
    default_variant_id: plain
    variants:
      plain:
        node:
          type: python
          source: {type: code, path: say.py}
          inputs: {text: "${inputs.text}", n: "${inputs.n}"}
      marked:
        node:
          type: python
          source: {type: code, path: say.py}
          inputs: {text: "${inputs.text}", n: "${inputs.n}", mark: "!"}
"""
SAY = """
from promptflow.core import tool
@tool
def say(text: str, n: int, mark: str = ""):
    if text == "bad":
        raise ValueError("cannot say it")
    return text * n + mark
"""
LETTERS = """
from promptflow.core import tool
@tool
def letters(text: str):
    for letter in text:
        yield letter
"""
WHERE = """
import os
from promptflow.core import tool
@tool
def where(text):
    return [os.path.basename(os.getcwd()), os.environ.get("FLOW_FUNCTION_VARIABLE")]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PFL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FLOW_FUNCTION_VARIABLE", raising=False)
    path = tmp_path / "the_flow"
    path.mkdir()
    for name, text in {"flow.dag.yaml": FLOW, "say.py": SAY, "letters.py": LETTERS, "where.py": WHERE}.items():
        (path / name).write_text(text)
    return path


def test_a_call_returns_the_outputs_in_the_flows_folder(folder: Path) -> None:
    before = os.getcwd()
    flow = load_flow(folder)

    assert flow(text="ab", n="3") == {"said": "ababab", "letters": "ab", "where": ["the_flow", "declared"]}
    assert os.getcwd() == before
    assert (flow.name, flow.code, flow.path) == ("the_flow", folder, folder / "flow.dag.yaml")


def test_positional_and_missing_arguments_are_refused(folder: Path) -> None:
    with pytest.raises(UserErrorException, match="keyword arguments"):
        load_flow(folder)("ab")
    with pytest.raises(MissingRequiredFlowInput, match="'text'"):
        load_flow(folder)()


def test_a_nodes_error_is_raised(folder: Path) -> None:
    with pytest.raises(ToolExecutionError, match="cannot say it"):
        load_flow(folder)(text="bad")


def test_a_context_chooses_variant_overrides_and_variables(folder: Path) -> None:
    flow = load_flow(folder)
    flow.context = FlowContext(variant="${say.marked}", overrides={"nodes.say.inputs.n": 1})
    assert flow(text="ab")["said"] == "ab!"

    flow.context.overrides["environment_variables.FLOW_FUNCTION_VARIABLE"] = "replaced"
    assert flow(text="ab")["where"] == ["the_flow", "replaced"]

    flow.context = FlowContext()
    assert flow(text="ab")["said"] == "abab"


def test_an_override_of_an_unknown_node_is_refused(folder: Path) -> None:
    flow = load_flow(folder)
    flow.context = FlowContext(overrides={"nodes.nothing.inputs.n": 1})
    with pytest.raises(UserErrorException, match="nothing"):
        flow(text="a")


def test_outputs_stream_when_the_context_says_so(folder: Path) -> None:
    flow = load_flow(folder)
    flow.context.streaming = True

    assert list(flow(text="abc")["letters"]) == ["a", "b", "c"]


def test_the_core_class_always_streams(folder: Path) -> None:
    assert list(Flow.load(folder)(text="abc")["letters"]) == ["a", "b", "c"]


def test_connection_objects_of_the_context_need_no_store(folder: Path) -> None:
    one, two = FakeModel(default="one", name="ff-1"), FakeModel(default="two", name="ff-2")
    (folder / "ask.jinja2").write_text("user:\n{{text}}")
    text = (
        "inputs: {text: {type: string}}\noutputs: {o: {type: string, reference: '${ask.output}'}}\nnodes:\n"
        "- name: ask\n  type: llm\n  source: {type: code, path: ask.jinja2}\n  connection: stored\n  api: chat\n"
        "  inputs: {model: m, text: '${inputs.text}'}\n"
    )
    (folder / "flow.dag.yaml").write_text(text)
    with Client() as client:
        client.connections.create_or_update(one.connection("stored"))

    flow = load_flow(folder)
    assert flow(text="x") == {"o": "one"}
    flow.context.connections = {"ask": {"connection": two.connection("given"), "model": "other"}}
    assert flow(text="x") == {"o": "two"}
    assert two.calls[0].body["model"] == "other"


def test_invoke_gives_records_and_takes_connections(folder: Path) -> None:
    result = load_flow(folder).invoke({"text": "ab"}, connections={"c": CustomConnection({"k": "v"})})

    assert result.output["said"] == "abab"
    assert result.run_info["status"] == "Completed"
    assert result.node_run_infos["say"]["inputs"] == {"text": "ab", "n": 2}
    assert (result.run_info.status, result.node_run_infos["say"].node) == ("Completed", "say")


def test_calls_from_several_threads_share_the_folder(folder: Path) -> None:
    flow = load_flow(folder)
    before = os.getcwd()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: flow(text="a", n=n), range(12)))

    assert [answer["said"] for answer in answers] == ["a" * n for n in range(12)]
    assert {answer["where"][0] for answer in answers} == {"the_flow"}
    assert os.getcwd() == before


def test_an_async_flow_is_awaited_and_streams_asynchronously(folder: Path) -> None:
    async def call() -> tuple[Any, list[str]]:
        outputs = await AsyncFlow.load(folder)(text="abc")
        assert isinstance(outputs["letters"], AsyncIterator)
        return outputs["said"], [letter async for letter in outputs["letters"]]

    assert asyncio.run(call()) == ("abcabc", ["a", "b", "c"])


def test_a_prompty_loads_as_a_prompty(folder: Path) -> None:
    file = folder / "p.prompty"
    file.write_text("---\nmodel: {configuration: {type: openai, model: m}, parameters: {}}\n---\nuser:\nhi\n")

    assert type(load_flow(file)) is Prompty
    assert load_flow(file, model={"parameters": {"seed": 5}}).flow.parameters["seed"] == 5
    assert type(Flow.load(file)) is Prompty
    assert type(AsyncFlow.load(file)) is AsyncPrompty


def test_a_flex_flow_cannot_be_called_as_a_function(folder: Path) -> None:
    (folder / "flow.dag.yaml").unlink()
    (folder / "flow.flex.yaml").write_text("entry: say:say\n")
    with pytest.raises(UserErrorException, match="FlexFlow can not be called as a function"):
        load_flow(folder)(text="a")


def test_a_relative_source_may_be_relative_to_a_file(folder: Path) -> None:
    assert load_flow("the_flow", relative_origin=folder.parent / "script.py")(text="a", n=1)["said"] == "a"


def test_the_executor_of_the_original_runs_lines(folder: Path) -> None:
    executor = FlowExecutor.create("flow.dag.yaml", {}, working_dir=folder)

    assert executor.exec_line({"text": "ab", "n": 1}, index=0).output["said"] == "ab"
    assert executor.exec({"text": "ab"})["said"] == "abab"


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"type": "OpenAIConnection", "value": {"api_key": "k"}}, "api_key"),
        ({"type": "CustomConnection", "value": {"a": 1, "s": 2}, "secret_keys": ["s"]}, "s"),
    ],
)
def test_connections_of_the_executor_may_be_mappings(folder: Path, value: dict[str, Any], key: str) -> None:
    executor = FlowExecutor.create(folder / "flow.dag.yaml", {"c": value})

    assert key in executor._connections["c"].secrets
