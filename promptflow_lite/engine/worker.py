"""The one thread that owns the context: plan, decode, apply, again.

Requests arrive as `Job`s through `submit` and leave as events on each job's queue. A failed step fails the rows of that
step and empties the context; the engine goes on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol

from promptflow_lite.engine.detokenize import TextAssembler
from promptflow_lite.engine.kv import Operation
from promptflow_lite.engine.scheduler import Planner
from promptflow_lite.engine.step import EngineStats, Output, Row, StepPlan
from promptflow_lite.errors import EngineClosedError, EngineError, EngineTimeoutError, PromptflowException

logger = logging.getLogger(__name__)


class Context(Protocol):
    """What the worker needs of a llama context; tests bring one without a model."""

    def clear(self) -> None: ...

    def perform(self, operations: Sequence[Operation]) -> None: ...

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], seqs: Sequence[int], outputs: Sequence[int] | None
    ) -> None: ...

    def logits(self, index: int) -> Any: ...

    def load_adapter(self, path: str) -> None: ...

    def set_adapter(self, path: str) -> None: ...


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """One generated token with the numbers behind it."""

    piece: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """New text of one sample."""

    index: int
    text: str
    tokens: tuple[TokenChoice, ...] = ()
    """Filled when log probabilities were asked for."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One sample is complete."""

    index: int
    reason: str
    """`stop` or `length`."""
    n_tokens: int
    n_cached: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Log probabilities a chain row read: at the prompt's end, then after each token of each chain."""

    index: int
    readings: Any
    n_cached: int


Pick = Callable[[Any, int], int]
Read = Callable[[Any, int, int], Any]
Event = Delta | Finished | Scored | BaseException


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """One row with everything needed to turn logits into events."""

    row: Row
    index: int
    events: SimpleQueue[Event]
    pick: Pick | None = None
    """(logits, tokens left) -> token; None for rows that only read logits."""
    read: Read | None = None
    """(logits, chain or -1 at the prompt's end, offset) -> what to keep of them."""
    describe: Callable[[Any, int], TokenChoice] | None = None
    """(logits, token) -> log probabilities, when asked for."""
    close: Callable[[], None] | None = None
    text: TextAssembler = field(default_factory=TextAssembler)
    deadline: float = math.inf
    """On the monotonic clock."""
    is_streamed: bool = False
    n_generated: int = 0
    readings: list[Any] = field(default_factory=list)
    pending: list[TokenChoice] = field(default_factory=list)


class Worker:
    """Runs a planner's steps on a context until closed.

    Args:
        context: Used by the worker's thread only.
        planner: The same.
        new_planner: Makes a fresh planner after a failed step.
        piece: Token -> bytes.
        end_tokens: Tokens that end a generation.
    """

    def __init__(
        self,
        context: Context,
        new_planner: Callable[[], Planner],
        *,
        piece: Callable[[int], bytes],
        end_tokens: frozenset[int],
        n_cells: int,
    ) -> None:
        self.stats = EngineStats(cells_total=n_cells)
        self._context = context
        self._new_planner = new_planner
        self._planner = new_planner()
        self._piece = piece
        self._end_tokens = end_tokens
        self._jobs: dict[Row, Job] = {}
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._is_closed = False
        self._adapter = ""
        self._next_sweep = 0.0
        self._thread = threading.Thread(target=self._run, name="pfl-engine", daemon=True)
        self._thread.start()

    # --- called from any thread ----------------------------------------------------------------------------------

    @property
    def n_jobs(self) -> int:
        return len(self._jobs)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand over rows. Raises `EngineClosedError` after `close`."""
        self.call(lambda: self._accept(jobs))

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Give rows up, wherever they are; unknown ones are ignored."""
        try:
            self.call(lambda: self._drop(jobs))
        except EngineClosedError:
            logger.debug("cancel after close")

    def call(self, action: Callable[[], Any]) -> None:
        """Run something on the worker's thread between two steps."""
        with self._wake:
            if self._is_closed:
                raise EngineClosedError("The engine is closed.")

            self._inbox.append(action)
            self._wake.notify()

    def close(self) -> None:
        """End the thread; whoever still waits gets `EngineClosedError`."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_for_work():
            started = time.monotonic()
            self._take_inbox()
            self._drop_overdue(started)
            self._step()
            self.stats.busy_s += time.monotonic() - started
        self._take_inbox()
        for job in list(self._jobs.values()):
            self._fail(job, EngineClosedError("The engine was closed while the request ran."))

    def _wait_for_work(self) -> bool:
        with self._wake:
            while not (self._inbox or self._jobs or self._is_closed):
                self._wake.wait()
            return not self._is_closed

    def _take_inbox(self) -> None:
        while self._inbox:
            action = self._inbox.popleft()
            action()

    def _accept(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            try:
                if job.row.adapter:
                    self._context.load_adapter(job.row.adapter)
                self._planner.submit(job.row)
                self._jobs[job.row] = job
            except Exception as error:  # the caller waits: whatever happened is its answer
                job.events.put(error)
                self._close_job(job)

    def _drop(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if self._jobs.pop(job.row, None) is not None:
                self._planner.finish(job.row)
                self._close_job(job)

    def _drop_overdue(self, now: float) -> None:
        if now < self._next_sweep:
            return

        self._next_sweep = now + 0.02
        for job in [job for job in self._jobs.values() if job.deadline <= now]:
            self._drop([job])
            self.stats.failed_rows += 1
            job.events.put(EngineTimeoutError("The local model did not answer in time.", hint="Raise the timeout."))

    def _step(self) -> None:
        plan = self._planner.plan()
        if plan is None:
            return

        try:
            self._perform(plan)
            self._apply(plan)
        except Exception as error:  # a failed step becomes the error of its rows; the engine goes on
            logger.exception("a step failed")
            self._recover(error)
        self._count()

    def _perform(self, plan: StepPlan) -> None:
        self._context.perform(plan.operations)
        if not plan.tokens:
            return

        if plan.adapter != self._adapter:
            self._context.set_adapter(plan.adapter)
            self._adapter = plan.adapter
        started = time.monotonic()
        self._context.decode(plan.tokens, plan.positions, plan.seqs, [output.index for output in plan.outputs])
        self.stats.decode_s += time.monotonic() - started
        self.stats.steps += 1
        self.stats.evaluated_tokens += len(plan.tokens)

    def _apply(self, plan: StepPlan) -> None:
        self._planner.commit(plan)
        by_row: dict[Row, list[Output]] = {}
        for output in plan.outputs:
            by_row.setdefault(output.row, []).append(output)
        for row, outputs in by_row.items():
            job = self._jobs[row]
            try:
                if job.read is not None:
                    self._read(job, job.read, outputs)
                elif job.pick is not None:
                    self._generate(job, job.pick, outputs[0])
            except PromptflowException as error:
                self._end(job)
                self.stats.failed_rows += 1
                job.events.put(error)

    def _read(self, job: Job, read: Read, outputs: list[Output]) -> None:
        for output in outputs:
            logits = self._context.logits(output.index)
            job.readings.append(read(logits, job.row.next_chain - 1, output.offset))
        if not self._planner.next_chain(job.row):
            self._end(job)
            self.stats.finished_rows += 1
            job.events.put(Scored(job.index, job.readings, job.row.n_prompt - job.row.n_evaluated))

    def _generate(self, job: Job, pick: Pick, output: Output) -> None:
        logits = self._context.logits(output.index)
        token = pick(logits, job.row.n_new - job.n_generated)
        if token in self._end_tokens:
            self._complete(job, "stop")
            return

        job.n_generated += 1
        self.stats.generated_tokens += 1
        piece = self._piece(token)
        if job.describe is not None:
            job.pending.append(job.describe(logits, token))
        text = job.text.push(piece)
        if job.is_streamed and (text or job.pending):
            job.events.put(Delta(job.index, text, tuple(job.pending)))
            job.pending.clear()
        if job.text.is_stopped:
            self._complete(job, "stop")
        elif job.n_generated >= job.row.n_new:
            self._complete(job, "length")
        else:
            self._planner.append(job.row, token)

    def _complete(self, job: Job, reason: str) -> None:
        rest = job.text.finish()
        if not job.is_streamed:
            rest = job.text.text
        if rest or job.pending:
            job.events.put(Delta(job.index, rest, tuple(job.pending)))
        n_cached = job.row.n_prompt - job.row.n_evaluated
        self._end(job)
        self.stats.finished_rows += 1
        job.events.put(Finished(job.index, reason, job.n_generated, n_cached))

    def _end(self, job: Job) -> None:
        del self._jobs[job.row]
        self.stats.prompt_tokens += job.row.n_prompt
        self._planner.finish(job.row)
        self._close_job(job)

    def _close_job(self, job: Job) -> None:
        if job.close is not None:
            job.close()
            job.close = None

    def _fail(self, job: Job, error: BaseException) -> None:
        self._jobs.pop(job.row, None)
        self._close_job(job)
        self.stats.failed_rows += 1
        job.events.put(error)

    def _recover(self, error: Exception) -> None:
        """Start over with an empty context; rows that only waited are queued again."""
        if not isinstance(error, PromptflowException):
            wrapped = EngineError(f"The engine failed: {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            error = wrapped
        running = set(self._planner.running)
        self._context.clear()
        self._planner = self._new_planner()
        for job in list(self._jobs.values()):
            if job.row in running:
                self._fail(job, error)
            else:
                self._planner.submit(job.row)

    def _count(self) -> None:
        self.stats.waiting_rows = self._planner.n_waiting
        self.stats.running_rows = len(self._planner.running)
        self.stats.cells_used = self._planner.n_cells_used
