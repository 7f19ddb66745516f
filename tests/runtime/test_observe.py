"""What an observer hears of the nodes of a line."""

from __future__ import annotations

from pathlib import Path

from promptflow_lite.records import NodeResult
from promptflow_lite.runtime import finish_streams, observed_nodes
from tests.support.flow_files import executor_of, graph_flow, tool_source, write_files


def heard(folder: Path, *, allow_stream: bool = False, **inputs: object) -> list[tuple[str, str]]:
    events: list[tuple[str, str]] = []

    def observe(node: NodeResult) -> None:
        events.append((node.node, str(node.status)))

    with observed_nodes(observe):
        line = executor_of(folder).run_line(inputs, allow_stream=allow_stream)
        finish_streams(line)
    return events


def test_every_node_is_heard_when_it_starts_and_when_it_ends(tmp_path: Path) -> None:
    events = heard(graph_flow(tmp_path, "a -> b, a -> c"), x="1")

    assert events[:2] == [("a", "Running"), ("a", "Completed")]
    assert sorted(events[2:]) == [(name, status) for name in "bc" for status in ("Completed", "Running")]


def test_failures_and_bypassed_nodes_are_heard(tmp_path: Path) -> None:
    flow = """
inputs: {x: {type: string}}
nodes:
- {name: skipped, type: python, source: {type: code, path: tool.py}, inputs: {x: "${inputs.x}"},
   activate: {when: "${inputs.x}", is: other}}
- {name: broken, type: python, source: {type: code, path: broken.py}, inputs: {x: "${inputs.x}"}}
outputs: {}
"""
    good = tool_source("def run(x):\n    return x")
    bad = tool_source("def run(x):\n    raise KeyError(x)")
    write_files(tmp_path, {"flow.dag.yaml": flow, "tool.py": good, "broken.py": bad})

    assert heard(tmp_path, x="a") == [("skipped", "Bypassed"), ("broken", "Running"), ("broken", "Failed")]


def test_nodes_of_a_sub_flow_are_not_nodes_of_the_line(tmp_path: Path) -> None:
    inner = graph_flow(tmp_path / "inner", "deep")
    flow = """
inputs: {x: {type: string}}
nodes:
- {name: outer, type: flow, source: {type: code, path: inner}, inputs: {x: "${inputs.x}"}}
outputs: {}
"""
    write_files(tmp_path, {"flow.dag.yaml": flow})

    assert inner.is_dir()
    assert heard(tmp_path, x="1") == [("outer", "Running"), ("outer", "Completed")]


def test_a_stream_is_heard_again_when_it_has_ended(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a", code={"a": "def a(x):\n    yield x\n    yield x"})

    assert heard(folder, allow_stream=True, x="1") == [("a", "Running"), ("a", "Completed"), ("a", "Completed")]
