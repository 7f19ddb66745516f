"""Runaway values: too large, too deep, endless or broken; the other lines of a run are not their victims."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.connections import DictConnectionSource
from promptflow_lite.errors import OutputTooLargeError
from promptflow_lite.flow import load_flow
from promptflow_lite.records import LineResult, Status
from promptflow_lite.runtime import create_executor
from promptflow_lite.runtime.size import check_size
from promptflow_lite.runtime.stream import RecordingIterator
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.runs import RunRequest

MB = "x" * 2**20


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFL_MAX_OUTPUT_MB", "2")


def _cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value", [MB, [MB], {"a": {"b": MB}}, [1.0] * 200_000, _cycle(), None, 7, object(), [[MB]] * 9]
)
def test_values_within_the_limit_pass(value: Any) -> None:
    check_size(value, "n")


@pytest.mark.parametrize(
    "value", [MB * 3, b"x" * 3 * 2**20, [MB + "a", MB + "b"], {"a": ({"b": MB * 3},)}, [1.0] * 300_000]
)
def test_values_beyond_the_limit_are_refused(value: Any) -> None:
    with pytest.raises(OutputTooLargeError, match="'n' gives more than 2 MB"):
        check_size(value, "n")


def test_a_stream_without_end_is_stopped() -> None:
    stream = RecordingIterator((MB for _ in itertools.count()), name="n")

    with pytest.raises(OutputTooLargeError):
        stream.text()

    assert stream.is_exhausted


DAG = """\
inputs: {kind: {type: string}}
outputs: {o: {type: string, reference: "${a.output}"}}
nodes:
- {name: a, type: python, source: {type: code, path: a.py}, inputs: {kind: "${inputs.kind}"}}
"""
CODE = """\
from promptflow.core import tool

class Broken:
    def __repr__(self): raise ValueError("no")

def deep():
    value = []
    for _ in range(5000): value = [value]
    return value

def cycle():
    value = []
    value.append(value)
    return value

@tool
def a(kind: str):
    made = {"large": lambda: "x" * 3_000_000, "deep": deep, "cycle": cycle, "integer": lambda: 10**5000,
            "broken": Broken, "surrogate": lambda: chr(0xd800), "keys": lambda: {1: 2, None: 3}}
    return made.get(kind, lambda: kind)()
"""
KINDS = ["fine", "large", "deep", "cycle", "integer", "broken", "surrogate", "keys", "also fine"]


def flow_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(DAG)
    (folder / "a.py").write_text(CODE)
    return folder


def test_a_node_that_gives_too_much_fails_alone(tmp_path: Path) -> None:
    executor = create_executor(load_flow(flow_folder(tmp_path / "f")), DictConnectionSource())

    line = executor.run_line({"kind": "large"})

    assert line.status is Status.FAILED
    assert isinstance(line.exception, OutputTooLargeError)
    assert len(dumps(line.nodes[0].error)) < 10_000


def test_a_flow_function_that_gives_too_much_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "flow.flex.yaml").write_text("entry: m:f\n")
    (tmp_path / "m.py").write_text("def f(n: int):\n    return {'a': 'x' * n}\n")
    executor = create_executor(load_flow(tmp_path), DictConnectionSource())

    lines = [executor.run_line({"n": n}) for n in (10, 3_000_000)]

    assert [line.status for line in lines] == [Status.COMPLETED, Status.FAILED]


def test_no_value_takes_the_other_lines_of_a_run_down(tmp_path: Path) -> None:
    flow = flow_folder(tmp_path / "f")
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"kind": kind}) + "\n" for kind in KINDS))

    with Client() as client:
        client.runs.create(RunRequest(flow=flow, data=data, name="odd", column_mapping={"kind": "${data.kind}"}))
        lines: dict[int, LineResult] = {line.line_number or 0: line for line in client.store.runs.iter_lines("odd")}

    assert sorted(lines) == list(range(len(KINDS)))
    by_kind = {KINDS[number]: line.status for number, line in lines.items()}
    assert by_kind["fine"] is by_kind["also fine"] is Status.COMPLETED
    assert by_kind["large"] is by_kind["deep"] is by_kind["cycle"] is Status.FAILED


class _Broken:
    def __jsonable__(self) -> Any:
        raise ValueError("no")

    def __repr__(self) -> str:
        raise ValueError("no")


def test_what_cannot_be_written_is_named() -> None:
    assert loads(dumps([_Broken(), 10**5000, "rest"])) == ["<_Broken>", "<integer of 16610 bits>", "rest"]


def test_depth_is_cut() -> None:
    value: Any = "deepest"
    for _ in range(100_000):
        value = {"a": [value]}

    assert "<nested too deeply>" in dumps({"v": value})
