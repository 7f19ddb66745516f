"""The process that runs flows for the studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptflow_lite.sdk.studio import FlowTester, trace_rows

TIMEOUT_S = 30
NODE = "from promptflow.core import tool\n\n\n@tool\ndef work(text: str) -> str:\n    {body}\n"
FLOW = """\
inputs:
  text: {type: string, default: hello}
outputs:
  result: {type: string, reference: "${work.output}"}
nodes:
- name: work
  type: python
  source: {type: code, path: work.py}
  inputs:
    text: ${inputs.text}
- name: ask
  type: llm
  source: {type: code, path: ask.jinja2}
  inputs:
    work: ${work.output}
  api: chat
"""


@pytest.fixture
def tester(workspace_folder: Path) -> Iterator[FlowTester]:
    running = FlowTester()
    yield running
    running.close()


@pytest.fixture
def flow(workspace_folder: Path) -> Path:
    (workspace_folder / "flow.dag.yaml").write_text(FLOW)
    (workspace_folder / "ask.jinja2").write_text("# user:\nSay {{ work }}\n")
    write(workspace_folder, "return text.upper()")
    return workspace_folder


def write(flow: Path, body: str) -> None:
    (flow / "work.py").write_text(NODE.format(body=body))


def test_it_runs_flows_nodes_and_what_a_node_needs(tester: FlowTester, flow: Path) -> None:
    whole = tester.run(flow, {"text": "a"})
    part = tester.run(flow, {"text": "b"}, only=["work"])
    single = tester.run_node(flow, "ask", {"work": "given"})

    assert single.wait(TIMEOUT_S)
    assert whole.result["output"] == {"result": "A"}
    assert [node["node"] for node in part.result["nodes"]] == ["work"]
    assert part.result["output"] == {"work": "B"}
    assert "given" in single.result["nodes"][0]["output"]


def test_an_edit_is_seen_by_the_next_run(tester: FlowTester, flow: Path) -> None:
    first = tester.run(flow, {}, only=["work"])
    assert first.wait(TIMEOUT_S)
    write(flow, "return text[::-1]")
    second = tester.run(flow, {}, only=["work"])

    assert second.wait(TIMEOUT_S)
    assert second.result["output"] == {"work": "olleh"}


def test_errors_and_crashes_are_answers_and_the_next_run_works(tester: FlowTester, flow: Path) -> None:
    write(flow, "raise ValueError('no such thing')")
    failed = tester.run(flow, {})
    assert failed.wait(TIMEOUT_S)
    assert failed.result["status"] == "Failed"
    assert "no such thing" in failed.result["error"]["message"]

    write(flow, "import os; os._exit(7)")
    crashed = tester.run(flow, {})
    assert crashed.wait(TIMEOUT_S)
    assert "code 7" in crashed.result["error"]["message"]

    write(flow, "print('{\"id\": 1}'); return text")
    again = tester.run(flow, {}, only=["work"])
    assert again.wait(TIMEOUT_S)
    assert again.result["output"] == {"work": "hello"}
    assert "id" in again.result["nodes"][0]["log"]


def test_a_run_can_be_stopped(tester: FlowTester, flow: Path) -> None:
    write(flow, "import time; time.sleep(60); return text")
    job = tester.run(flow, {})
    while not tester.is_busy:
        job.wait(0.05)

    tester.cancel()

    assert job.wait(TIMEOUT_S)
    assert job.result["status"] == "Canceled"


def test_a_result_becomes_a_trace(tester: FlowTester, flow: Path) -> None:
    job = tester.run(flow, {})
    assert job.wait(TIMEOUT_S)

    trace = trace_rows(job.result, "flow")

    assert [row["name"] for row in trace["spans"]][:3] == ["flow", "work", "ask"]
    assert all(row["start_ms"] >= 0 for row in trace["spans"])
    assert trace["details"]["line/work"]["output"] == "HELLO"
    assert trace["total_ms"] >= max(row["duration_ms"] for row in trace["spans"])
