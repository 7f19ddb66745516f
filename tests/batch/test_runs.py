"""Runs through the SDK: recording, failures, evaluation of a base run, resuming, isolation, cancelling."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.errors import InvalidRunStatusError, RunExistsError, RunOperationParameterError
from promptflow_lite.flow import load_flow
from promptflow_lite.records import RunRecord, Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.runs import ExecutionOptions, RunRequest
from tests.support.flow_files import graph_flow, tool_source, write_files

UPPER = "def up(x):\n    if x == 'bad':\n        raise ValueError('bad row')\n    return x.upper()"
X = {"x": "${data.x}"}
EVAL = {
    "flow.dag.yaml": """
        inputs: {answer: {type: string}, truth: {type: string}}
        outputs: {correct: {type: bool, reference: "${grade.output}"}}
        nodes:
        - name: grade
          type: python
          source: {type: code, path: grade.py}
          inputs: {answer: "${inputs.answer}", truth: "${inputs.truth}"}
        - name: share
          type: python
          source: {type: code, path: share.py}
          inputs: {grades: "${grade.output}"}
          aggregation: true
        """,
    "grade.py": tool_source("def grade(answer, truth):\n    return answer == truth"),
    "share.py": tool_source(
        "def share(grades):\n    log_metric('accuracy', sum(grades) / len(grades))",
        imports="from promptflow.core import log_metric\n",
    ),
}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as found:
        yield found


def rows(path: Path, values: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def upper_run(client: Client, folder: Path, words: list[str], name: str = "base", **options: Any) -> RunRecord:
    flow = graph_flow(folder / "flow", "up", code={"up": UPPER})
    data = rows(folder / "data.jsonl", [{"x": word, "label": word.upper()} for word in words])
    request = RunRequest(flow=str(flow), data=data, column_mapping={"x": "${data.x}"}, name=name)
    return client.runs.create(request, options=ExecutionOptions(**options))


def test_a_run_records_every_line_with_its_nodes(client: Client, tmp_path: Path) -> None:
    record = upper_run(client, tmp_path, ["a", "b", "c"])

    lines = list(client.runs.lines("base"))
    assert record.status is Status.COMPLETED
    assert [line.output for line in lines] == [{"up": "A"}, {"up": "B"}, {"up": "C"}]
    assert [line.nodes[0].inputs for line in lines] == [{"x": "a"}, {"x": "b"}, {"x": "c"}]
    assert lines[0].inputs == {"x": "a", "line_number": 0}
    assert lines[2].run_id == "base_2"


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_failing_lines_are_counted_and_named(client: Client, tmp_path: Path, isolation: str) -> None:
    record = upper_run(client, tmp_path, ["a", "bad", "c"], isolation=isolation)

    assert (record.status, record.completed_lines, record.failed_lines) == (Status.COMPLETED, 2, 1)
    assert record.error is not None
    assert record.error["message"].startswith("Failed to run 1/3 lines. First error message is: ")
    errors = record.error["additionalInfo"][0]["info"]["errors"]
    assert [error["line_number"] for error in errors] == [1]


def test_a_run_whose_every_line_failed_is_failed(client: Client, tmp_path: Path) -> None:
    assert upper_run(client, tmp_path, ["bad", "bad"]).status is Status.FAILED


def test_a_retried_line_is_recorded_once(client: Client, tmp_path: Path) -> None:
    code = "def up(x, seen=[]):\n    seen.append(1)\n    if len(seen) < 3:\n        raise OSError('no')\n    return x"
    flow = graph_flow(tmp_path / "flow", "up", code={"up": code})
    data = rows(tmp_path / "data.jsonl", [{"x": "a"}])

    record = client.runs.create(
        RunRequest(flow=str(flow), data=data, column_mapping=X, name="r"),
        options=ExecutionOptions(retries=5, concurrency=1),
    )

    assert (record.completed_lines, record.failed_lines) == (1, 0)


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_an_evaluation_run_reads_a_base_run_and_logs_metrics(client: Client, tmp_path: Path, isolation: Any) -> None:
    upper_run(client, tmp_path, ["a", "bad", "c", "d"])
    flow = write_files(tmp_path / "eval", EVAL)
    truth = rows(tmp_path / "truth.jsonl", [{"t": "A"}, {"t": "B"}, {"t": "C"}, {"t": "X"}])

    record = client.runs.create(
        RunRequest(
            flow=str(flow),
            data=truth,
            run="base",
            column_mapping={"answer": "${run.outputs.up}", "truth": "${data.t}"},
            name="eval",
        ),
        options=ExecutionOptions(isolation=isolation),
    )

    assert record.status is Status.COMPLETED, record.error
    assert [line.line_number for line in client.runs.lines("eval")] == [0, 2, 3]
    assert record.metrics == {"accuracy": pytest.approx(2 / 3)}
    assert record.run == "base"


def test_resume_executes_only_what_is_missing_and_aggregates_over_all(client: Client, tmp_path: Path) -> None:
    flow = write_files(tmp_path / "eval", EVAL)
    good = (flow / "grade.py").read_text()
    (flow / "grade.py").write_text(
        tool_source("def grade(answer, truth):\n    if answer == 'B':\n        raise ValueError('no')\n    return True")
    )
    data = rows(tmp_path / "data.jsonl", [{"answer": a, "truth": "A"} for a in "ABC"])
    first = client.runs.create(RunRequest(flow=str(flow), data=data, name="first"))
    (flow / "grade.py").write_text(good)

    resumed = client.runs.resume("first")
    copied = client.runs.resume_from("first", name="second")

    assert (first.completed_lines, first.failed_lines) == (2, 1)
    assert (resumed.completed_lines, resumed.failed_lines, resumed.error) == (3, 0, None)
    assert [line.output for line in client.runs.lines("first")] == [
        {"correct": True},
        {"correct": False},
        {"correct": True},
    ]
    assert resumed.metrics == {"accuracy": pytest.approx(2 / 3)}
    assert copied.metrics == resumed.metrics
    assert copied.resume_from == "first"


def test_a_crash_costs_its_line_under_process_isolation(client: Client, tmp_path: Path) -> None:
    code = "def up(x):\n    import os\n    if x == 'die':\n        os._exit(3)\n    return x"
    flow = graph_flow(tmp_path / "flow", "up", code={"up": code})
    data = rows(tmp_path / "data.jsonl", [{"x": w} for w in ("a", "die", "c", "d")])

    record = client.runs.create(
        RunRequest(flow=str(flow), data=data, column_mapping=X, name="r"),
        options=ExecutionOptions(isolation="process", concurrency=2),
    )

    statuses = {line.line_number: line.status for line in client.runs.lines("r")}
    assert statuses == {0: Status.COMPLETED, 1: Status.FAILED, 2: Status.COMPLETED, 3: Status.COMPLETED}
    crashed = client.runs.line("r", 1)
    assert crashed is not None
    assert crashed.error is not None
    assert crashed.error["innerError"]["code"] == "ProcessCrashError"
    assert record.status is Status.COMPLETED


def test_an_endless_node_is_killed_under_process_isolation(client: Client, tmp_path: Path) -> None:
    code = "def up(x):\n    while x == 'loop':\n        pass\n    return x"
    flow = graph_flow(tmp_path / "flow", "up", code={"up": code})
    data = rows(tmp_path / "data.jsonl", [{"x": w} for w in ("a", "loop", "c")])

    record = client.runs.create(
        RunRequest(flow=str(flow), data=data, column_mapping=X, name="r"),
        options=ExecutionOptions(isolation="process", concurrency=2, line_timeout_s=0.5),
    )

    assert (record.completed_lines, record.failed_lines) == (2, 1)


def test_prints_never_disturb_an_isolated_run(client: Client, tmp_path: Path) -> None:
    code = (
        "def up(x):\n    import os\n    print('{\"not\": \"a reply\"}')\n    os.write(1, b'garbage\\n')\n    return x"
    )
    flow = graph_flow(tmp_path / "flow", "up", code={"up": code})
    data = rows(tmp_path / "data.jsonl", [{"x": "a"}, {"x": "b"}])

    record = client.runs.create(
        RunRequest(flow=str(flow), data=data, column_mapping=X, name="r"), options=ExecutionOptions(isolation="process")
    )

    assert record.completed_lines == 2


def _cancel_once_started(client: Client, name: str) -> None:
    while True:
        time.sleep(0.02)
        if client.store.runs.exists(name) and client.runs.get(name).completed_lines:
            client.runs.cancel(name)
            return


def test_another_process_can_cancel_a_run_which_can_then_be_resumed(client: Client, tmp_path: Path) -> None:
    code = "def up(x):\n    import time\n    time.sleep(0.02)\n    return x"
    flow = graph_flow(tmp_path / "flow", "up", code={"up": code})
    data = rows(tmp_path / "data.jsonl", [{"x": str(i)} for i in range(400)])
    options = ExecutionOptions(concurrency=2)
    other = threading.Thread(target=_cancel_once_started, args=(client, "r"))
    other.start()

    stopped = client.runs.create(RunRequest(flow=str(flow), data=data, column_mapping=X, name="r"), options=options)
    other.join()
    resumed = client.runs.resume("r")

    assert stopped.status is Status.CANCELED
    assert 0 < stopped.completed_lines < 400
    assert (resumed.status, resumed.completed_lines) == (Status.COMPLETED, 400)


def test_lines_that_miss_the_batch_deadline_are_failed_lines(client: Client, tmp_path: Path) -> None:
    code = "def up(x):\n    import time\n    time.sleep(0.05)\n    return x"
    flow = graph_flow(tmp_path / "flow", "up", code={"up": code})
    data = rows(tmp_path / "data.jsonl", [{"x": str(i)} for i in range(60)])

    record = client.runs.create(
        RunRequest(flow=str(flow), data=data, column_mapping=X, name="r"),
        options=ExecutionOptions(concurrency=1, batch_timeout_s=0.5),
    )

    assert record.completed_lines + record.failed_lines == 60
    assert record.failed_lines > 0
    assert record.error is not None
    assert record.error["innerError"]["code"] == "BatchRunTimeoutError"


def test_a_bad_mapping_is_recorded_as_a_failed_run(client: Client, tmp_path: Path) -> None:
    flow = graph_flow(tmp_path / "flow", "up", code={"up": UPPER})
    data = rows(tmp_path / "data.jsonl", [{"y": "a"}])

    record = client.runs.create(RunRequest(flow=str(flow), data=data, column_mapping={"x": "${data.nope}"}, name="r"))

    assert record.status is Status.FAILED
    assert record.error is not None
    assert "${data.nope}" in record.error["message"]


def test_requests_that_cannot_be_recorded_raise(client: Client, tmp_path: Path) -> None:
    upper_run(client, tmp_path, ["bad"])

    with pytest.raises(RunExistsError):
        upper_run(client, tmp_path, ["a"])
    with pytest.raises(RunOperationParameterError):
        client.runs.create(RunRequest(flow=str(tmp_path / "flow")))
    with pytest.raises(InvalidRunStatusError):
        client.runs.create(RunRequest(flow=str(tmp_path / "flow"), run="base"))


def test_an_entry_without_a_file_runs_in_processes_too(client: Client, tmp_path: Path) -> None:
    code = write_files(tmp_path / "code", {"grader.py": "def grade(x: str) -> str:\n    return x.upper()\n"})
    data = rows(tmp_path / "data.jsonl", [{"x": "a"}, {"x": "b"}])

    record = client.runs.create(
        RunRequest(flow=load_flow("grader:grade", code=code), data=data, column_mapping=X, name="r"),
        options=ExecutionOptions(isolation="process"),
    )

    assert record.status is Status.COMPLETED, record.error
    assert [line.output for line in client.runs.lines("r")] == [{"output": "A"}, {"output": "B"}]
