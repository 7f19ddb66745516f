"""Runs and lines survive the way into the database and back, and are counted once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from promptflow_lite.errors import RunExistsError, RunNotFoundError
from promptflow_lite.records import LineResult, NodeResult, RunRecord, Span, Status, Usage
from promptflow_lite.store import Store
from promptflow_lite.store.filters import LineFilter, RunFilter, ScoreRange


def a_run(name: str = "base", **fields: Any) -> RunRecord:
    return RunRecord(**{"flow": "flows/hello", "status": Status.RUNNING, "created_on": 1.0, "name": name, **fields})


def a_line(number: int, status: Status = Status.COMPLETED, tokens: int = 3, **fields: Any) -> LineResult:
    output = {"answer": f"a{number}"} if status is Status.COMPLETED else None
    return LineResult(
        line_number=number,
        status=status,
        inputs={"text": f"row {number}", "line_number": number},
        output=output,
        error=None if output else {"message": "boom"},
        start_time=10.0,
        end_time=10.0 + number,
        usage=Usage(tokens, 1, 1),
        nodes=[NodeResult("ask", status, {"text": "é"}, "Grüße", start_time=10.0, end_time=11.0)],
        run_id=f"base_{number}",
        **fields,
    )


def test_run_comes_back_as_it_was_stored(store: Store) -> None:
    record = a_run(
        display_name="Base",
        tags={"a": "b"},
        column_mapping={"text": "${data.text}", "n": 3},
        environment_variables={"X": "1"},
        error={"message": "no"},
        metrics={"accuracy": 0.5},
        properties={"engine": {"threads": 2}},
        total_lines=3,
        prompt_tokens=4,
    )

    store.runs.create(record)

    assert store.runs.get("base") == record


def test_run_name_is_taken_once(store: Store) -> None:
    store.runs.create(a_run())

    with pytest.raises(RunExistsError, match="Run 'base' already exists"):
        store.runs.create(a_run())


def test_unknown_run_suggests_the_closest_name(store: Store) -> None:
    store.runs.create(a_run("baseline"))

    with pytest.raises(RunNotFoundError) as caught:
        store.runs.get("basline")

    assert caught.value.hint == "Did you mean 'baseline'?"


@pytest.mark.parametrize("method", ["archive", "restore", "delete", "request_cancel", "heartbeat", "count_lines"])
def test_operations_on_an_unknown_run_say_so(store: Store, method: str) -> None:
    with pytest.raises(RunNotFoundError):
        getattr(store.runs, method)("nobody")


def test_update_sets_fields_and_refuses_unknown_ones(store: Store) -> None:
    store.runs.create(a_run())

    store.runs.update("base", status=Status.COMPLETED, metrics={"n": 1}, end_time=5.0)

    run = store.runs.get("base")
    assert (run.status, run.metrics, run.end_time) == (Status.COMPLETED, {"n": 1}, 5.0)
    with pytest.raises(TypeError, match="no field colour"):
        store.runs.update("base", colour="red")


def test_list_is_newest_first_and_separates_archived_runs(store: Store) -> None:
    for created, name in enumerate(["one", "two", "three", "four"]):
        store.runs.create(a_run(name, created_on=float(created), run="one" if name == "four" else None))
    store.runs.archive("two")

    def names(*args: Any, **kwargs: Any) -> list[str]:
        return [run.name for run in store.runs.list(*args, **kwargs)]

    assert names() == ["four", "three", "one"]
    assert names(1) == ["four"]
    assert names(view="archived") == ["two"]
    assert names(None, "all") == ["four", "three", "two", "one"]
    assert names(search="TH") == ["three"]
    assert names(base_run="one") == ["four"]
    assert names(status=Status.FAILED) == []


def test_runs_are_paged_counted_and_sorted(store: Store) -> None:
    for number in range(7):
        store.runs.create(a_run(f"run{number}", created_on=float(number), failed_lines=(number * 3) % 7))

    def page(**options: Any) -> list[str]:
        found, total = store.runs.page(RunFilter(), limit=3, **options)
        assert total == 7
        return [run.name for run in found]

    assert page() == ["run6", "run5", "run4"]
    assert page(offset=6) == ["run0"]
    assert page(sort="name", offset=3) == ["run3", "run4", "run5"]
    assert page(sort="-failed") == ["run2", "run4", "run6"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (RunFilter(is_evaluation=False), ["cell", "plain"]),
        (RunFilter(is_evaluation=True), ["judged"]),
        (RunFilter(flow_name="tickets"), ["plain"]),
        (RunFilter(variant="SHORT"), ["plain", "cell"]),
        (RunFilter(experiment='ex"p'), ["cell"]),
        (RunFilter(experiment="ex"), []),
        (RunFilter(tag="ana"), ["plain"]),
        (RunFilter(since=2.0), ["judged", "cell"]),
        (RunFilter(search="ana"), ["plain"]),
    ],
)
def test_runs_are_filtered(store: Store, wanted: RunFilter, expected: list[str]) -> None:
    store.runs.create(
        a_run("plain", created_on=1.0, flow_name="tickets", variant="${classify.short}", tags={"owner": "ana"})
    )
    cell = {"experiment": 'ex"p', "cell_label": "classify=short"}
    store.runs.create(a_run("cell", created_on=2.0, properties=cell, display_name="classify=short"))
    store.runs.create(a_run("judged", created_on=3.0, run="plain"))

    assert sorted(run.name for run in store.runs.page(wanted)[0]) == sorted(expected)


def test_names_of_flows_that_ran_are_listed_once(store: Store) -> None:
    for name, flow in (("one", "b"), ("two", "a"), ("three", "b")):
        store.runs.create(a_run(name, flow_name=flow))

    assert store.runs.flow_names() == ["a", "b"]


def test_search_takes_wildcards_literally(store: Store) -> None:
    store.runs.create(a_run("a%b"))
    store.runs.create(a_run("axb"))

    assert [run.name for run in store.runs.list(search="%")] == ["a%b"]


def test_line_comes_back_with_its_nodes_and_spans(store: Store) -> None:
    call = Span("chat", "LLM", 10.1, 10.2, {"q": 1}, "x", usage=Usage(2, 1, 1), attributes={"model": "m"})
    outer = Span("f", "Function", 10.0, 10.5, children=[call], error={"message": "late"})
    node = NodeResult(
        "ask",
        Status.FAILED,
        {"a": [1]},
        None,
        {"message": "no"},
        10.0,
        10.5,
        Usage(2, 1, 1),
        "out",
        "err",
        [outer],
        True,
        3,
    )
    line = a_line(7)
    line.nodes = [node]
    store.runs.create(a_run())

    store.runs.add_lines("base", [line])

    assert store.runs.line("base", 7) == line
    assert store.runs.line("base", 8) is None


def test_counters_follow_the_lines(store: Store) -> None:
    store.runs.create(a_run())

    store.runs.add_lines("base", [a_line(0), a_line(1, Status.FAILED), a_line(2, Status.CANCELED)])

    run = store.runs.get("base")
    assert (run.completed_lines, run.failed_lines, run.prompt_tokens, run.completion_tokens) == (1, 1, 9, 3)
    assert run.heartbeat is not None
    assert store.runs.count_lines("base") == {Status.COMPLETED: 1, Status.FAILED: 1, Status.CANCELED: 1}


def test_adding_lines_again_changes_nothing(store: Store) -> None:
    store.runs.create(a_run())
    lines = [a_line(number) for number in range(5)]

    store.runs.add_lines("base", lines)
    store.runs.add_lines("base", lines[2:])

    assert store.runs.get("base").completed_lines == 5
    assert list(store.runs.iter_lines("base")) == lines


def test_retried_line_replaces_the_failed_one(store: Store) -> None:
    store.runs.create(a_run())
    store.runs.add_lines("base", [a_line(0, Status.FAILED, tokens=5)])

    store.runs.add_lines("base", [a_line(0, tokens=2)])

    run = store.runs.get("base")
    assert (run.completed_lines, run.failed_lines, run.prompt_tokens) == (1, 0, 2)


def test_lines_stream_in_order_across_chunks(store: Store) -> None:
    store.runs.create(a_run())
    store.runs.add_lines(
        "base", [a_line(n, Status.FAILED if n % 3 == 0 else Status.COMPLETED) for n in (9, 1, 30, 4, 6)]
    )

    def numbers(**kwargs: Any) -> list[int | None]:
        return [line.line_number for line in store.runs.iter_lines("base", chunk=2, **kwargs)]

    assert numbers() == [1, 4, 6, 9, 30]
    assert numbers(after=4) == [6, 9, 30]
    assert numbers(statuses=[Status.FAILED]) == [6, 9, 30]
    assert store.runs.completed_line_numbers("base") == {1, 4}


def test_lines_may_be_added_while_they_are_read(store: Store) -> None:
    store.runs.create(a_run())
    store.runs.add_lines("base", [a_line(0), a_line(1)])

    reader = store.runs.iter_lines("base", chunk=1)
    next(reader)
    store.runs.add_lines("base", [a_line(2)])

    assert [line.line_number for line in reader] == [1, 2]


def test_pages_filter_search_and_sort(store: Store) -> None:
    store.runs.create(a_run())
    store.runs.add_lines("base", [a_line(n, tokens=10 - n) for n in range(1, 6)])
    store.runs.add_lines("base", [a_line(6, Status.FAILED)])

    def page(wanted: LineFilter | None = None, **options: Any) -> tuple[list[int | None], int]:
        lines, total = store.runs.page_lines("base", wanted, **options)
        return [line.line_number for line in lines], total

    assert page(limit=2, offset=2) == ([3, 4], 6)
    assert page(limit=2, sort="-duration") == ([6, 5], 6)
    assert page(limit=1, sort="-tokens") == ([1], 6)
    assert page(LineFilter(status=Status.FAILED)) == ([6], 1)
    assert page(LineFilter(search="ROW 3")) == ([3], 1)
    assert page(LineFilter(search='"a2"')) == ([], 0)


def test_lines_are_found_by_how_long_they_took(store: Store) -> None:
    store.runs.create(a_run())
    slow = a_line(1)
    slow.end_time = slow.start_time + 9.0
    store.runs.add_lines("base", [a_line(0), slow])

    found, total = store.runs.page_lines("base", LineFilter(min_seconds=5.0))

    assert ([line.line_number for line in found], total) == ([1], 1)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(None, None, [0, 1, 2, 3]), (0.5, None, [1, 3]), (None, 0.4, [0, 2]), (0.25, 0.25, [2]), (2.0, None, [])],
)
def test_lines_are_found_by_what_an_evaluation_scored(
    store: Store, low: float | None, high: float | None, expected: list[int]
) -> None:
    store.runs.create(a_run())
    store.runs.create(a_run("judged", run="base"))
    store.runs.add_lines("base", [a_line(n) for n in range(6)])
    outputs: list[Any] = [False, True, 0.25, "Correct", "no idea", None]
    judged = [a_line(number) for number in range(6)]
    for line, value in zip(judged, outputs, strict=True):
        line.output = {'the "score"': value}
    store.runs.add_lines("judged", judged)

    score = ScoreRange(
        run="judged", output='the "score"', low=low, high=high, words={"correct": 1.0, "true": 1.0, "false": 0.0}
    )
    found, total = store.runs.page_lines("base", LineFilter(score=score))

    assert [line.line_number for line in found] == expected
    assert total == len(expected)


def test_some_lines_are_read_without_their_nodes(store: Store) -> None:
    store.runs.create(a_run())
    store.runs.add_lines("base", [a_line(n) for n in range(4)])

    found = store.runs.lines_at("base", [1, 3, 99])

    assert sorted(found) == [1, 3]
    assert found[3].output == a_line(3).output
    assert found[3].nodes == []
    assert [line.nodes for line in store.runs.iter_lines("base", with_steps=False)] == [[]] * 4


def test_search_finds_quotes_and_other_scripts(store: Store) -> None:
    store.runs.create(a_run())
    line = a_line(0)
    line.inputs = {"text": 'say "日本" 100%'}
    store.runs.add_lines("base", [line])

    assert store.runs.page_lines("base", LineFilter(search='"日本" 100%'))[1] == 1
    assert store.runs.page_lines("base", LineFilter(search="100_"))[1] == 0


def test_completed_lines_are_copied_and_counted(store: Store) -> None:
    store.runs.create(a_run())
    store.runs.create(a_run("again"))
    store.runs.add_lines("base", [a_line(0), a_line(1, Status.FAILED), a_line(2)])

    copied = store.runs.copy_completed_lines("base", "again")

    run = store.runs.get("again")
    assert copied == 2
    assert (run.completed_lines, run.failed_lines, run.prompt_tokens) == (2, 0, 6)
    assert [line.run_id for line in store.runs.iter_lines("again")] == ["again_0", "again_2"]


def test_aggregation_nodes_keep_their_order_and_are_replaced(store: Store) -> None:
    store.runs.create(a_run())
    first, second = NodeResult("z", Status.COMPLETED, output=1), NodeResult("a", Status.FAILED, error={"message": "x"})

    store.runs.add_node_results("base", [first, second])
    store.runs.add_node_results("base", [first, second])

    assert store.runs.node_results("base") == [first, second]


def test_deleting_a_run_removes_its_lines(store: Store) -> None:
    store.runs.create(a_run())
    store.runs.add_lines("base", [a_line(0)])
    store.runs.add_node_results("base", [NodeResult("n", Status.COMPLETED)])

    store.runs.delete("base")
    store.runs.create(a_run())

    assert list(store.runs.iter_lines("base")) == []
    assert store.runs.node_results("base") == []


def test_run_that_was_replaced_by_another_process_is_read_anew() -> None:
    with Store.open() as one, Store.open() as other:
        one.runs.create(a_run())
        one.runs.add_lines("base", [a_line(0)])

        other.runs.delete("base")
        other.runs.create(a_run("first"))
        other.runs.create(a_run())
        other.runs.add_lines("base", [a_line(5)])

        assert [line.line_number for line in one.runs.iter_lines("base")] == [5]


def test_cancel_request_reaches_the_running_process(store: Store) -> None:
    store.runs.create(a_run())
    assert not store.runs.is_cancel_requested("base")

    store.runs.request_cancel("base")
    assert store.runs.is_cancel_requested("base")

    store.runs.clear_cancel("base")
    assert not store.runs.is_cancel_requested("base")


def test_unusual_values_are_recorded_rather_than_lost(store: Store) -> None:
    store.runs.create(a_run())
    cycle: list[Any] = []
    cycle.append(cycle)
    line = a_line(0)
    line.output = {"nan": float("nan"), "lone": "\ud800", "big": 2**80, "obj": object, "cycle": cycle, "nul": "a\0b"}

    store.runs.add_lines("base", [line])

    stored = store.runs.line("base", 0)
    assert stored is not None
    assert stored.output is not None
    assert stored.output["nul"] == "a\0b"
    assert stored.output["nan"] is None


def test_run_of_a_dead_process_is_failed_and_keeps_its_lines(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        store.runs.create(a_run(pid=child.pid, heartbeat=123.0))
        store.runs.add_lines("base", [a_line(0)])
        assert store.runs.get("base").status is Status.RUNNING
        child.kill()

    run = store.runs.get("base")

    assert run.status is Status.FAILED
    assert run.error is not None
    assert run.error["errorCode"] == "run.interrupted"
    assert run.completed_lines == 1


def test_process_that_got_the_same_pid_does_not_count(store: Store) -> None:
    store.runs.create(a_run(pid=os.getpid()))
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET process = substr(process, 1, length(process) - 1) || 'x'")

    assert store.runs.list()[0].status is Status.FAILED


def test_run_of_another_machine_is_judged_by_its_heartbeat(store: Store) -> None:
    for name, heartbeat in (("silent", time.time() - 3600), ("fresh", time.time())):
        store.runs.create(a_run(name, pid=os.getpid(), heartbeat=heartbeat))
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET process = 'elsewhere|boot|1|1'")

    assert {run.name: run.status for run in store.runs.list()} == {"silent": Status.FAILED, "fresh": Status.RUNNING}
