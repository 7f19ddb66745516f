"""Executes a run: lines through the flow, results into the store as they finish, aggregation at the end.

The store is written in short transactions by the coordinating thread alone. Whatever happens (Ctrl-C, a request to
cancel, a dead process), lines that were reported finished are in the store, each exactly once, and the run can be
resumed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.batch.workers import FinishedLine, Line, LinePool, LineRunner
from promptflow_lite.errors import (
    BatchExecutionTimeoutError,
    BatchRunTimeoutError,
    BulkRunException,
    RunCanceledError,
    error_to_dict,
)
from promptflow_lite.records import LineResult, Status
from promptflow_lite.runtime import AggregationResult, LineExecutor, LineValues
from promptflow_lite.store import Store

logger = logging.getLogger("execution.bulk")

DEFAULT_CONCURRENCY = 16
DEFAULT_LINE_TIMEOUT_S = 600.0
_FLUSH_LINES = 500
_FLUSH_S = 0.25
_ERRORS_IN_SUMMARY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How lines are executed."""

    concurrency: int = DEFAULT_CONCURRENCY
    """Lines that run at once; cheap lines need and use fewer."""
    line_timeout_s: float | None = DEFAULT_LINE_TIMEOUT_S
    batch_timeout_s: float | None = None
    retries: int = 0
    """How often a failed line is tried again."""
    grace_s: float = 30.0
    """How long running lines may take to end after a cancellation."""


@dataclass(slots=True)
class Progress:
    """Counts so far, for a progress bar or a poller."""

    total: int | None
    completed: int = 0
    failed: int = 0

    @property
    def finished(self) -> int:
        return self.completed + self.failed


@dataclass(slots=True)
class BatchOutcome:
    """How a batch ended."""

    status: Status
    progress: Progress
    error: dict[str, Any] | None = None
    aggregation: AggregationResult | None = None


class InProcessRunner:
    """A `LineRunner` in this process; all worker threads share one executor."""

    def __init__(self, executor: LineExecutor, run_name: str) -> None:
        self._executor = executor
        self._run_name = run_name

    def run(self, line_number: int, inputs: dict[str, Any], cancel: threading.Event) -> FinishedLine:
        result = self._executor.run_line(
            inputs, line_number=line_number, run_id=f"{self._run_name}_{line_number}", cancel=cancel
        )
        is_aggregated = self._executor.has_aggregation and result.status is Status.COMPLETED
        return FinishedLine(result, self._executor.aggregation_values(result) if is_aggregated else None)

    def close(self) -> None:
        """The executor belongs to whoever made it."""


class RetryingRunner:
    """Tries a failed line again before its failure is recorded."""

    def __init__(self, runner: LineRunner, retries: int) -> None:
        self._runner = runner
        self._retries = retries

    def run(self, line_number: int, inputs: dict[str, Any], cancel: threading.Event) -> FinishedLine:
        finished = self._runner.run(line_number, inputs, cancel)
        for _ in range(self._retries):
            if finished.result.status is not Status.FAILED or cancel.is_set():
                break

            finished = self._runner.run(line_number, inputs, cancel)
        return finished

    def close(self) -> None:
        self._runner.close()


@dataclass(slots=True)
class _Batch:
    """State of one batch while it executes."""

    store: Store
    name: str
    options: BatchOptions
    progress: Progress
    report: Callable[[Progress], None]
    values: list[LineValues] = field(default_factory=list)
    errors: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    pending: list[LineResult] = field(default_factory=list)
    flushed_at: float = field(default_factory=time.monotonic)
    checked_at: float = field(default_factory=time.monotonic)

    def take(self, finished: list[FinishedLine]) -> None:
        for line in finished:
            if line.result.status is Status.COMPLETED:
                self.progress.completed += 1
            else:
                self.progress.failed += 1
                if len(self.errors) < _ERRORS_IN_SUMMARY and line.result.error is not None:
                    self.errors.append((line.result.line_number or 0, line.result.error))

            if line.values is not None:
                self.values.append(line.values)

            self.pending.append(line.result)
        if len(self.pending) >= _FLUSH_LINES or time.monotonic() - self.flushed_at > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        if self.pending:
            self.store.runs.add_lines(self.name, self.pending)
            self.pending = []
            self.report(self.progress)

        self.flushed_at = time.monotonic()

    def is_cancel_requested(self) -> bool:
        """Whether another process asked this run to stop; looked up about once a second, and a sign of life."""
        now = time.monotonic()
        if now - self.checked_at < 1.0:
            return False

        self.checked_at = now
        if now - self.flushed_at > 5.0:
            self.store.runs.heartbeat(self.name)

        return self.store.runs.is_cancel_requested(self.name)


def execute_batch(
    name: str,
    lines: Iterable[Line],
    store: Store,
    *,
    make_runner: Callable[[], LineRunner],
    aggregate: Callable[[list[LineValues]], AggregationResult] | None = None,
    earlier_values: Iterable[LineValues] = (),
    total: int | None = None,
    calls_models: bool = False,
    options: BatchOptions | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> BatchOutcome:
    """Execute the lines of a run that exists in the store, and record everything there.

    Args:
        name: The run.
        lines: Line numbers and mapped inputs; read lazily.
        make_runner: Makes what executes lines; called in each worker thread.
        aggregate: Runs the aggregation nodes; None when the flow has none.
        earlier_values: What aggregation needs of lines that were completed before (resumed runs).
        total: Number of lines, for progress.
        calls_models: Start all workers at once.
        report: Called after every write to the store.

    Returns:
        The outcome, already recorded. Failing lines are counted, not raised.

    Raises:
        PromptflowException: the flow could not be prepared or the data could not be read.
        KeyboardInterrupt: again, after everything finished was recorded and the run marked `Canceled`.
    """
    options = options or BatchOptions()
    batch = _Batch(store, name, options, Progress(total), report)
    batch.values.extend(earlier_values)
    store.runs.update(name, status=Status.RUNNING, start_time=time.time(), pid=os.getpid(), total_lines=total)

    def make_retrying() -> LineRunner:
        return RetryingRunner(make_runner(), options.retries) if options.retries else make_runner()

    pool = LinePool(
        make_retrying,
        max_workers=options.concurrency,
        line_timeout_s=options.line_timeout_s,
        grow_at_once=calls_models,
    )
    source = iter(lines)
    try:
        stopped = _drain(batch, pool, source)
    except KeyboardInterrupt:
        _wind_down(batch, pool)
        _finish(batch, _outcome(batch, Status.CANCELED, _cancelled("The run was interrupted.")))
        raise
    except BaseException as error:
        batch.flush()
        _finish(batch, _outcome(batch, Status.FAILED, error_to_dict(error)))
        raise

    outcome = _conclude(batch, stopped, source, aggregate)
    _finish(batch, outcome)
    return outcome


def _drain(batch: _Batch, pool: LinePool, source: Iterator[Line]) -> str | None:
    """Execute until the lines end; returns why it stopped early: `cancel`, `timeout` or None."""
    limit = batch.options.batch_timeout_s
    deadline = None if limit is None else time.monotonic() + limit
    stopped: str | None = None
    stop_at: float | None = None
    with closing(pool.execute(source)) as results:
        for finished in results:
            batch.take(finished)
            if stopped is None and deadline is not None and time.monotonic() > deadline:
                stopped = "timeout"
            elif stopped is None and batch.is_cancel_requested():
                stopped = "cancel"

            if stopped is not None:
                pool.cancel.set()
                stop_at = stop_at or time.monotonic() + batch.options.grace_s
                if time.monotonic() > stop_at:
                    break
    batch.flush()
    return stopped


def _wind_down(batch: _Batch, pool: LinePool) -> None:
    """After Ctrl-C: let what is running end, for a short while, and keep what finished."""
    pool.cancel.set()
    deadline = time.monotonic() + min(batch.options.grace_s, 5.0)
    try:
        for finished in pool.drain(deadline):
            batch.take(finished)
    except KeyboardInterrupt:
        logger.warning("Interrupted again; running lines are left behind.")
    batch.flush()


def _conclude(
    batch: _Batch,
    stopped: str | None,
    source: Iterator[Line],
    aggregate: Callable[[list[LineValues]], AggregationResult] | None,
) -> BatchOutcome:
    if stopped == "cancel":
        return _outcome(batch, Status.CANCELED, _cancelled("The run was cancelled."))

    if stopped == "timeout":
        return _timed_out(batch, source)

    aggregation = None
    if aggregate is not None:
        batch.values.sort(key=lambda values: values.line_number)
        aggregation = aggregate(batch.values)
        batch.store.runs.add_node_results(batch.name, aggregation.nodes)
        batch.store.runs.set_metrics(batch.name, aggregation.metrics)

    counts = batch.store.runs.count_lines(batch.name)
    status = Status.COMPLETED if counts.get(Status.COMPLETED) or not counts else Status.FAILED
    outcome = _outcome(batch, status, _summary(batch, counts, aggregation))
    outcome.aggregation = aggregation
    return outcome


def _timed_out(batch: _Batch, source: Iterator[Line]) -> BatchOutcome:
    """Every line that did not finish is recorded as failed; aggregation is skipped."""
    limit = batch.options.batch_timeout_s or 0.0
    recorded = {line.line_number for line in batch.store.runs.iter_lines(batch.name)}
    for number, inputs in source:
        if number not in recorded:
            batch.take([FinishedLine(_unfinished(number, inputs, limit))])
    batch.flush()
    error = BatchRunTimeoutError(
        f"The batch run failed due to timeout [{limit:g}s].", hint="Set PF_BATCH_TIMEOUT_SEC to allow more time."
    )
    status = Status.COMPLETED if batch.progress.completed else Status.FAILED
    return _outcome(batch, status, error_to_dict(error, include_debug_info=False))


def _unfinished(number: int, inputs: dict[str, Any], limit_s: float) -> LineResult:
    error = BatchExecutionTimeoutError(
        f"Line {number} execution terminated due to the total batch run exceeding the batch timeout ({limit_s:g}s).",
        line_number=number,
        timeout=limit_s,
    )
    now = time.time()
    return LineResult(number, Status.FAILED, inputs=inputs, error=error_to_dict(error), start_time=now, end_time=now)


def _cancelled(message: str) -> dict[str, Any]:
    error = RunCanceledError(message, hint="Continue it with: pfl run resume NAME")
    return error_to_dict(error, include_debug_info=False)


def _summary(batch: _Batch, counts: dict[Status, int], aggregation: AggregationResult | None) -> dict[str, Any] | None:
    """The run's error record: which lines and which aggregation nodes failed."""
    n_failed = counts.get(Status.FAILED, 0)
    failed_node = aggregation.failed if aggregation else None
    if not n_failed and failed_node is None:
        return None

    errors: list[dict[str, Any]] = [{"line_number": n, "error": error} for n, error in sorted(batch.errors, key=_first)]
    if failed_node is not None:
        errors.append({"error": failed_node.error, "aggregation_node_name": failed_node.node})

    first = errors[0]["error"]["message"] if errors else ""
    total = sum(counts.values())
    error = BulkRunException(
        f"Failed to run {n_failed}/{total} lines. First error message is: {first}",
        message_format="Failed to run {failed}/{total} lines. First error message is: {first}",
        hint=errors[0]["error"].get("hint") if errors else None,
        failed=n_failed,
        total=total,
        first=first,
    )
    record = error_to_dict(error, include_debug_info=False)
    record["additionalInfo"] = [{"type": "BulkRunErrors", "info": {"errors": errors}}]
    return record


def _first(pair: tuple[int, dict[str, Any]]) -> int:
    return pair[0]


def _outcome(batch: _Batch, status: Status, error: dict[str, Any] | None) -> BatchOutcome:
    return BatchOutcome(status, batch.progress, error)


def _finish(batch: _Batch, outcome: BatchOutcome) -> None:
    batch.store.runs.update(batch.name, status=outcome.status, end_time=time.time(), error=outcome.error, pid=None)
    batch.report(batch.progress)
