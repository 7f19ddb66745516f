"""Runs many lines at once on threads: grows while lines wait, stays at one thread while they only compute.

**Why this shape.** Handing single lines between threads costs more than a cheap flow itself, so lines travel in chunks
of about 30 ms of work. Python code does not get faster with more threads, waiting does: the pool starts with one thread
and grows to its limit as soon as a line takes longer than a few milliseconds.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from promptflow_lite.records import LineResult, Status
from promptflow_lite.runtime import LineValues, timed_out_line

logger = logging.getLogger("execution.bulk")

Line = tuple[int, dict[str, Any]]
"""Line number and mapped inputs."""

_SLOW_LINE_S = 0.005
_CHUNK_S = 0.03
_MAX_CHUNK = 256
_TIMEOUT_GRACE_S = 10.0


@dataclass(slots=True)
class FinishedLine:
    """A line's outcome and what aggregation nodes will need of it."""

    result: LineResult
    values: LineValues | None = None


class LineRunner(Protocol):
    """Executes single lines for one worker thread."""

    def run(self, line_number: int, inputs: dict[str, Any], cancel: threading.Event) -> FinishedLine: ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Worker:
    """One thread's state, written by the thread and watched by the coordinator."""

    runner: LineRunner
    lines: deque[Line] = field(default_factory=deque)
    current: Line | None = None
    started_at: float = 0.0
    finished: list[FinishedLine] = field(default_factory=list)
    """Outcomes of the chunk at hand that were not reported yet."""
    is_abandoned: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while `finished` changes hands."""


class LinePool:
    """Executes lines concurrently and hands back results in the order they finish.

    Args:
        make_runner: Called once in each worker thread.
        max_workers: Lines that run at once.
        line_timeout_s: A line that takes longer is recorded as failed and left behind; None for no limit.
        grow_at_once: Start all threads immediately, for flows that wait for models.
        slow_line_s: Lines that take longer than this are taken to wait, so that more of them at once is faster.
    """

    def __init__(
        self,
        make_runner: Callable[[], LineRunner],
        *,
        max_workers: int,
        line_timeout_s: float | None = None,
        grow_at_once: bool = False,
        slow_line_s: float = _SLOW_LINE_S,
    ) -> None:
        self.cancel = threading.Event()
        self._make_runner = make_runner
        self._max_workers = max_workers
        self._line_timeout_s = line_timeout_s
        self._grow_at_once = grow_at_once
        self._slow_line_s = slow_line_s
        self._tasks: queue.SimpleQueue[deque[Line] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[list[FinishedLine], bool] | BaseException] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._seconds_per_line: float | None = None
        self._in_flight = 0
        """Chunks handed out and not yet finished."""

    def execute(self, lines: Iterable[Line]) -> Generator[list[FinishedLine], None, None]:
        """Run all lines; yields what finished, and an empty list now and then while nothing does.

        Stops handing out lines once `cancel` is set; lines that were running then end by themselves.

        Raises:
            PromptflowException: a runner could not be made, or reading the lines failed.
        """
        source = iter(lines)
        is_exhausted = False
        try:
            while True:
                while not is_exhausted and not self.cancel.is_set() and self._in_flight < self._wanted_in_flight():
                    chunk = self._take(source)
                    is_exhausted = len(chunk) == 0
                    if chunk:
                        self._hand_out(chunk)
                if self._in_flight == 0:
                    return

                yield self._collect()
        finally:
            self._stop()

    def drain(self, deadline: float) -> Iterator[list[FinishedLine]]:
        """What is still being executed after `execute` was left early, until `deadline` on the monotonic clock."""
        while self._in_flight > 0 and time.monotonic() < deadline:
            yield self._collect()

    def _take(self, source: Iterator[Line]) -> deque[Line]:
        size = 1
        if self._seconds_per_line is not None:
            size = max(1, min(_MAX_CHUNK, int(_CHUNK_S / max(self._seconds_per_line, 1e-6))))

        chunk: deque[Line] = deque()
        for line in source:
            chunk.append(line)
            if len(chunk) >= size:
                break
        return chunk

    def _wanted_in_flight(self) -> int:
        """One chunk waiting for each running one, so that no worker idles."""
        return 2 if not self._should_grow() else self._max_workers + 1

    def _should_grow(self) -> bool:
        if self._grow_at_once or (self._seconds_per_line or 0.0) > self._slow_line_s:
            return True

        now = time.monotonic()
        return any(w.current is not None and now - w.started_at > self._slow_line_s for w in self._workers)

    def _hand_out(self, chunk: deque[Line]) -> None:
        self._in_flight += 1
        self._tasks.put(chunk)
        busy = sum(not worker.is_abandoned for worker in self._workers)
        if busy < min(self._in_flight, self._max_workers) and (busy == 0 or self._should_grow()):
            self._start_worker()

    def _start_worker(self) -> None:
        thread = threading.Thread(target=self._work, name=f"pfl-line-{len(self._workers)}", daemon=True)
        thread.start()

    def _collect(self) -> list[FinishedLine]:
        """Wait a moment for results; measure how long lines take; give up lines that take too long."""
        try:
            item = self._done.get(timeout=_SLOW_LINE_S if self._seconds_per_line is None else 0.1)
        except queue.Empty:
            return self._give_up_overdue()

        finished: list[FinishedLine] = []
        while True:
            if isinstance(item, BaseException):
                raise item

            finished.extend(item[0])
            self._in_flight -= item[1]
            try:
                item = self._done.get_nowait()
            except queue.Empty:
                break
        if finished:
            measured = sum(line.result.duration_s for line in finished) / len(finished)
            previous = measured if self._seconds_per_line is None else self._seconds_per_line
            self._seconds_per_line = 0.5 * previous + 0.5 * measured

        return finished

    def _give_up_overdue(self) -> list[FinishedLine]:
        if self._line_timeout_s is None:
            return []

        now = time.monotonic()
        given_up = []
        for worker in list(self._workers):
            current = worker.current
            if current is None or worker.is_abandoned or now - worker.started_at <= self._line_timeout_s:
                continue

            with worker.lock:
                if worker.current is not current:
                    continue  # it finished just now

                worker.is_abandoned = True
                given_up.extend(worker.finished)

            number, inputs = current
            logger.warning("Line %s takes longer than %g s and is given up.", number, self._line_timeout_s)
            elapsed = now - worker.started_at
            given_up.append(
                FinishedLine(timed_out_line(inputs, number, None, time.time() - elapsed, self._line_timeout_s))
            )
            rest = deque(worker.lines)
            self._workers.remove(worker)
            if rest:
                self._tasks.put(rest)
            else:
                self._in_flight -= 1

            self._start_worker()
        return given_up

    def _work(self) -> None:
        try:
            worker = _Worker(self._make_runner())
        except BaseException as error:
            self._done.put(error)
            return

        self._workers.append(worker)
        try:
            while (chunk := self._tasks.get()) is not None:
                worker.lines = chunk
                if not self._work_off(worker):
                    return
        except BaseException as error:
            self._done.put(error)
        finally:
            worker.runner.close()

    def _work_off(self, worker: _Worker) -> bool:
        """Run a chunk, reporting every now and then; False when this worker was given up."""
        report_at = time.monotonic() + _CHUNK_S
        while worker.lines and not self.cancel.is_set():
            worker.started_at = time.monotonic()
            number, inputs = worker.current = worker.lines.popleft()
            line = worker.runner.run(number, inputs, self.cancel)
            with worker.lock:
                if worker.is_abandoned:
                    return False

                worker.current = None
                if line.result.status is not Status.CANCELED:
                    worker.finished.append(line)

            if time.monotonic() > report_at:
                self._done.put((worker.finished, False))
                worker.finished = []
                report_at = time.monotonic() + _CHUNK_S
        self._done.put((worker.finished, True))
        worker.finished = []
        return True

    def _stop(self) -> None:
        for _ in range(self._max_workers + len(self._workers)):
            self._tasks.put(None)
