"""Keeps what was answered: one writer thread commits requests in short batches.

**Why this shape.** A commit costs about as much as many requests, so they share one. A batch is committed at the latest
`window_s` after its first request ended; a process killed with `SIGKILL` loses at most that window, or nothing with
`durable`, where an answer is sent only after its commit. A clean stop commits everything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from promptflow_lite.errors import OverloadedError, PromptflowException
from promptflow_lite.records import ServedRequest

logger = logging.getLogger(__name__)

WINDOW_S = 0.05
MAX_WAITING = 20_000
"""Requests that may wait to be written; beyond it new ones are refused rather than forgotten."""
_BATCH = 2_000
_LAST_CHANCE_S = 10.0
"""How long a stopping recorder keeps trying."""


class RequestSink(Protocol):
    """Where recorded requests go."""

    def add(self, records: Sequence[ServedRequest], *, usage: tuple[int, dict[str, int]] | None = None) -> None: ...


class Recorder:
    """Hands finished requests to a sink, in order, off the request's path.

    Args:
        sink: Receives batches; called from the writer thread only.
        window_s: Longest time a finished request waits for its commit; 0 commits at once.
        usage: Gives the day's request counts of each caller, stored along with every batch.
        scrub: Takes out of a request what must not be kept.
        on_batch: Also sees every batch, such as metrics and exporters; its failures are logged.
    """

    def __init__(
        self,
        sink: RequestSink | None,
        *,
        window_s: float = WINDOW_S,
        usage: Callable[[], tuple[int, dict[str, int]]] | None = None,
        scrub: Callable[[ServedRequest], ServedRequest] | None = None,
        on_batch: Sequence[Callable[[Sequence[ServedRequest]], None]] = (),
    ) -> None:
        self._sink = sink
        self._window_s = window_s
        self._usage = usage
        self._scrub = scrub
        self._on_batch = on_batch
        self._waiting: deque[tuple[ServedRequest, Callable[[], None] | None]] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.n_failed_batches = 0

    def start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(target=self._work, name="pfl-recorder", daemon=True)
                self._thread.start()

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    def check_room(self) -> None:
        """Refuse a request whose record could not be kept. Raises `OverloadedError`."""
        if len(self._waiting) >= MAX_WAITING:
            raise OverloadedError("Recording cannot keep up; try again in a moment.", retry_after_s=1.0)

    def put(self, record: ServedRequest, on_stored: Callable[[], None] | None = None) -> None:
        """Keep a finished request. Cost: an append; never blocks.

        Args:
            record: The request.
            on_stored: Called from the writer thread once it is committed.
        """
        self._waiting.append((record, on_stored))
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Commit everything that is waiting, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._stop.set()
        self._wake.set()
        if thread is not None:
            thread.join()

        deadline = time.monotonic() + _LAST_CHANCE_S
        while self._waiting and time.monotonic() < deadline:
            if not self._write():
                time.sleep(0.5)

        if self._waiting:
            logger.critical("%d answered requests are lost: they could not be recorded.", len(self._waiting))

    def _work(self) -> None:
        # `close` sets `_stop` before `_wake`, so a wake-up that is cleared below is still seen here.
        while not self._stop.is_set():
            self._wake.wait()
            if self._window_s:
                self._stop.wait(self._window_s)

            self._wake.clear()
            while self._waiting and not self._stop.is_set():
                if not self._write():
                    self._stop.wait(0.5)

    def _write(self) -> bool:
        """Commit one batch; on failure its requests stay first in line."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
        records = [record if self._scrub is None else self._scrub(record) for record, _ in batch]
        try:
            if self._sink is not None:
                self._sink.add(records, usage=self._usage() if self._usage else None)
        except PromptflowException as error:
            self._waiting.extendleft(reversed(batch))
            self.n_failed_batches += 1
            logger.error("%d requests could not be recorded yet: %s", len(records), error)
            return False

        for _, on_stored in batch:
            if on_stored is not None:
                on_stored()
        for watch in self._on_batch:
            try:
                watch(records)
            except Exception:  # watchers are extras: recording goes on without them
                logger.exception("A watcher of recorded requests failed.")
        return True


def now_ms(since: float) -> float:
    """Milliseconds since a `time.perf_counter()`."""
    return (time.perf_counter() - since) * 1000
