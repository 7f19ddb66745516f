"""The process that runs flows for the studio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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


def test_nodes_are_reported_while_they_run(tester: FlowTester, flow: Path) -> None:
    gate = flow / "go"
    write(flow, f"import os, time\n    while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n    return text")
    job = tester.run(flow, {"text": "a"})
    wait_for(lambda: job.progress)

    assert {name: record["status"] for name, record in job.progress.items()} == {"work": "Running"}
    assert not job.is_done

    gate.touch()
    assert job.wait(TIMEOUT_S)
    assert {name: record["status"] for name, record in job.progress.items()} == {
        "work": "Completed",
        "ask": "Completed",
    }
    assert job.progress["ask"]["tokens"] > 0
    assert job.n_events == 4


def test_requests_of_a_group_run_at_the_same_time_and_others_wait(tester: FlowTester, flow: Path) -> None:
    meet = (
        "import os, time, pathlib\n    pathlib.Path(text).touch()\n"
        "    while len(list(pathlib.Path('.').glob('met-*'))) < 3: time.sleep(0.01)\n    return text"
    )
    write(flow, meet)
    group = [tester.run(flow, {"text": f"met-{n}"}, only=["work"], group="columns") for n in range(3)]
    other = tester.run(flow, {"text": "met-alone"}, only=["work"])

    assert other.wait(TIMEOUT_S)
    assert [job.result["output"] for job in group] == [{"work": f"met-{n}"} for n in range(3)]
    assert other.started <= min(job.result["start_time"] for job in [*group, other])
    assert other.result["start_time"] >= max(job.result["nodes"][0]["end_time"] for job in group)


def test_a_stream_comes_in_pieces_and_is_recorded_as_text(tester: FlowTester, flow: Path) -> None:
    write(flow, "yield text\n    yield '!'")
    job = tester.run(flow, {"text": "a"}, only=["work"], stream=True)

    assert job.wait(TIMEOUT_S)
    assert job.text == {"work": "a!"}
    assert job.progress["work"]["status"] == "Completed"
    assert job.result["nodes"][0]["output"] == "a!"


def test_cancelling_ends_the_whole_group(tester: FlowTester, flow: Path) -> None:
    write(flow, "import time; time.sleep(60); return text")
    group = [tester.run(flow, {}, only=["work"], group="columns") for _ in range(12)]
    wait_for(lambda: any(job.progress for job in group))

    tester.cancel()

    assert all(job.wait(TIMEOUT_S) for job in group)
    assert {job.result["status"] for job in group} == {"Canceled"}
    write(flow, "return text")
    after = tester.run(flow, {"text": "b"}, only=["work"])
    assert after.wait(TIMEOUT_S)
    assert after.result["output"] == {"work": "b"}


def test_a_result_becomes_a_trace(tester: FlowTester, flow: Path) -> None:
    job = tester.run(flow, {})
    assert job.wait(TIMEOUT_S)

    trace = trace_rows(job.result, "flow")

    assert [row["name"] for row in trace["spans"]][:3] == ["flow", "work", "ask"]
    assert all(row["start_ms"] >= 0 for row in trace["spans"])
    assert trace["details"]["line/work"]["output"] == "HELLO"
    assert trace["total_ms"] >= max(row["duration_ms"] for row in trace["spans"])
