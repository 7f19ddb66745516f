"""The engine's thread on fake cells: cancellation, timeouts, failed steps, closing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from promptflow_lite.engine.detokenize import TextAssembler
from promptflow_lite.engine.scheduler import Scheduler
from promptflow_lite.engine.settings import EngineSettings
from promptflow_lite.engine.step import Row
from promptflow_lite.engine.worker import Delta, Event, Finished, Job, Worker
from promptflow_lite.errors import EngineClosedError, EngineError, EngineTimeoutError
from tests.support.fake_cells import END_TOKEN, FakeContext, next_token

SETTINGS = EngineSettings(n_cells=256, max_rows=4, n_cached=4, step_tokens=16)


class SlowContext(FakeContext):
    """Waits for a permit before each step."""

    def __init__(self) -> None:
        super().__init__(256)
        self.permits = threading.Semaphore(0)
        self.is_free = True

    def decode(self, *args: Any) -> None:
        if not self.is_free:
            self.permits.acquire(timeout=10)
        super().decode(*args)


@pytest.fixture
def context() -> SlowContext:
    return SlowContext()


@pytest.fixture
def worker(context: SlowContext) -> Iterator[Worker]:
    worker = Worker(
        context,
        lambda: Scheduler(SETTINGS, n_ctx_row=256),
        piece=lambda token: bytes([64 + token]),
        end_tokens=frozenset({END_TOKEN}),
        n_cells=256,
    )
    yield worker
    context.is_free = True
    context.permits.release(1000)
    worker.close()


def job_of(tokens: list[int], n_new: int = 3, **changes: Any) -> Job:
    events: SimpleQueue[Event] = SimpleQueue()
    row = Row(caller="one", tokens=tokens, n_new=n_new, adapter=changes.pop("adapter", ""))
    return Job(row=row, index=0, events=events, pick=lambda logits, _left: int(logits.argmax()), **changes)


def events_of(job: Job) -> list[Event]:
    found: list[Event] = []
    while not found or isinstance(found[-1], Delta):
        found.append(job.events.get(timeout=10))
    return found


def expected_text(tokens: list[int], n_new: int) -> str:
    answer: list[int] = []
    for _ in range(n_new):
        answer.append(next_token([*tokens, *answer]))
    return "".join(chr(64 + token) for token in answer)


def test_text_arrives_whole_or_piece_by_piece(worker: Worker) -> None:
    whole, streamed = job_of([1, 2, 3]), job_of([1, 2, 3], is_streamed=True)

    worker.submit([whole, streamed])

    assert [event.text for event in events_of(whole) if isinstance(event, Delta)] == [expected_text([1, 2, 3], 3)]
    assert [len(event.text) for event in events_of(streamed) if isinstance(event, Delta)] == [1, 1, 1]


def test_stop_string_ends_the_row_early(worker: Worker) -> None:
    text = expected_text([5, 5], 20)
    job = job_of([5, 5], n_new=20, text=TextAssembler([text[3:5]]))

    worker.submit([job])

    events = events_of(job)
    assert events[0] == Delta(0, text[:3])
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].n_tokens) == ("stop", 5)


def test_cancelled_job_frees_its_place_and_cells(worker: Worker, context: SlowContext) -> None:
    context.is_free = False
    jobs = [job_of([k], n_new=100) for k in range(1, 5)]
    worker.submit(jobs)
    context.permits.release(2)

    worker.cancel(jobs)
    context.is_free = True
    context.permits.release(2)
    worker.submit([last := job_of([9])])

    assert isinstance(events_of(last)[-1], Finished)
    assert worker.stats.running_rows == 0
    assert all(job.events.empty() for job in jobs)


def test_overdue_job_gets_a_timeout_and_others_go_on(worker: Worker) -> None:
    late, other = job_of([1], n_new=200, deadline=time.monotonic()), job_of([2])

    worker.submit([late, other])

    assert isinstance(events_of(late)[-1], EngineTimeoutError)
    assert isinstance(events_of(other)[-1], Finished)


def test_failed_step_fails_its_rows_and_the_engine_goes_on(
    worker: Worker, context: SlowContext, caplog: pytest.LogCaptureFixture
) -> None:
    context.fail_next = True
    with caplog.at_level(logging.CRITICAL):
        worker.submit([bad := job_of([1, 2])])
        failed = events_of(bad)[-1]
    worker.submit([good := job_of([1, 2])])

    assert isinstance(failed, EngineError)
    assert events_of(good)[0] == Delta(0, expected_text([1, 2], 3))


def test_error_while_choosing_fails_that_row_only(worker: Worker) -> None:
    def refuse(_logits: Any, _left: int) -> int:
        raise EngineError("nothing fits")

    bad, good = job_of([1]), job_of([2])
    bad.pick = refuse

    worker.submit([bad, good])

    assert isinstance(events_of(bad)[-1], EngineError)
    assert isinstance(events_of(good)[-1], Finished)


def test_missing_adapter_fails_its_row_only(worker: Worker) -> None:
    bad, good = job_of([1], adapter="missing"), job_of([2], adapter="there")

    worker.submit([bad, good])

    assert isinstance(events_of(bad)[-1], EngineError)
    assert isinstance(events_of(good)[-1], Finished)


def test_closing_fails_what_still_runs_and_refuses_the_rest(worker: Worker, context: SlowContext) -> None:
    context.is_free = False
    worker.submit([job := job_of([1], n_new=100)])
    context.permits.release(1000)

    worker.close()

    assert isinstance(events_of(job)[-1], EngineClosedError)
    with pytest.raises(EngineClosedError):
        worker.submit([job_of([1])])
