"""The pool that executes lines: growth, order, time limits, cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from promptflow_lite.batch.workers import FinishedLine, LinePool
from promptflow_lite.records import LineResult, Status


class Runner:
    """Runs a function as a line."""

    def __init__(self, work: Callable[[int], Any], threads: set[int]) -> None:
        self.work = work
        self.threads = threads

    def run(self, line_number: int, inputs: dict[str, Any], cancel: threading.Event) -> FinishedLine:
        self.threads.add(threading.get_ident())
        start = time.time()
        output = self.work(line_number)
        return FinishedLine(
            LineResult(line_number, Status.COMPLETED, output={"o": output}, start_time=start, end_time=time.time())
        )

    def close(self) -> None:
        """Nothing to close."""


def execute(work: Callable[[int], Any], n: int, **options: Any) -> tuple[list[LineResult], set[int]]:
    threads: set[int] = set()
    pool = LinePool(lambda: Runner(work, threads), **{"max_workers": 8, **options})
    results = [line.result for batch in pool.execute((i, {}) for i in range(n)) for line in batch]
    return results, threads


def test_every_line_comes_back_exactly_once() -> None:
    results, _ = execute(lambda number: number, 5000)

    assert sorted(result.line_number or 0 for result in results) == list(range(5000))


def test_cheap_lines_stay_on_one_thread() -> None:
    _, threads = execute(lambda number: number, 2000, slow_line_s=30)

    assert len(threads) == 1


def test_waiting_lines_run_at_once() -> None:
    started = time.monotonic()
    _, threads = execute(lambda number: time.sleep(0.05), 40)

    assert len(threads) == 8
    assert time.monotonic() - started < 40 * 0.05 / 2


def test_a_line_over_the_limit_is_recorded_and_the_others_go_on() -> None:
    release = threading.Event()

    def work(number: int) -> None:
        if number == 3:
            release.wait(10)

    results, _ = execute(work, 50, line_timeout_s=0.2)
    release.set()

    failed = [result for result in results if result.status is Status.FAILED]
    assert [result.line_number for result in failed] == [3]
    assert sorted(result.line_number or 0 for result in results) == list(range(50))


def test_cancel_stops_handing_out_lines() -> None:
    pool = LinePool(lambda: Runner(lambda number: time.sleep(0.01), set()), max_workers=2)
    seen = 0
    for batch in pool.execute((i, {}) for i in range(1000)):
        seen += len(batch)
        if seen:
            pool.cancel.set()

    assert 0 < seen < 100


def test_a_runner_that_cannot_be_made_is_an_error() -> None:
    def fail() -> Runner:
        raise OSError("no runner")

    pool = LinePool(fail, max_workers=2)
    with pytest.raises(OSError, match="no runner"):
        list(pool.execute([(0, {})]))
