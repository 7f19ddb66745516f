"""Runs lines of a DAG flow: starts what is ready, collects results, stops at the first failure.

**Why this shape.** A line whose nodes form a chain runs inside the calling thread, without queues or locks; that
makes batches of cheap nodes fast. As soon as two nodes are ready together they go to a thread pool. Async tools run on
one background event loop and occupy a pool thread while they wait, so there is a single engine with one set of rules.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

from promptflow_lite._utils.jsonable import dumps_strict
from promptflow_lite.connections import without_secrets
from promptflow_lite.errors import (
    FlowOutputUnserializable,
    LineExecutionTimeoutError,
    NoNodeExecutedError,
    RunCanceledError,
    error_to_dict,
)
from promptflow_lite.flow import DagFlow, InputCoercion
from promptflow_lite.records import LineResult, NodeResult, Status, Usage
from promptflow_lite.runtime.aggregation import (
    AggregationResult,
    LineValues,
    aggregation_references,
    line_values,
    run_aggregation,
)
from promptflow_lite.runtime.node import run_node
from promptflow_lite.runtime.observe import tell
from promptflow_lite.runtime.plan import ExecutionPlan, PlannedNode, plan_flow
from promptflow_lite.runtime.scheduler import Progress, bypass_reason, value_of
from promptflow_lite.runtime.stream import RecordingIterator
from promptflow_lite.settings import env
from promptflow_lite.tools import ToolContext

logger = logging.getLogger("execution.flow")

MAX_NODES_AT_ONCE = 16
"""Nodes of one line that run together."""


class DagExecutor:
    """Executes one DAG flow; safe to use from several threads at once.

    Args:
        flow: The flow, with its variant chosen.
        context: Connections and overrides for its tools.

    Raises:
        ResolveToolError: a node's tool cannot be prepared.
    """

    def __init__(self, flow: DagFlow, context: ToolContext) -> None:
        self.flow = flow
        self.plan: ExecutionPlan = plan_flow(flow, context)
        self._coercion = InputCoercion(flow.inputs, root=flow.root, message_format=flow.message_format)
        self._aggregation_references = aggregation_references(flow)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()

    @property
    def input_specs(self) -> Mapping[str, Any]:
        return self.flow.inputs

    @property
    def has_aggregation(self) -> bool:
        return bool(self.plan.aggregation_nodes)

    @property
    def calls_models(self) -> bool:
        """Some node asks a model, so lines wait more than they compute."""
        return any(node.spec.type in ("llm", "custom_llm") for node in self.plan.nodes)

    def close(self) -> None:
        """Let idle pool threads end; running nodes are not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    # --- one line ---------------------------------------------------------------------------------------------------

    def run_line(
        self,
        inputs: Mapping[str, Any],
        *,
        line_number: int | None = None,
        run_id: str | None = None,
        allow_stream: bool = False,
        cancel: threading.Event | None = None,
        timeout_s: float | None = None,
    ) -> LineResult:
        """Run the flow once.

        Args:
            inputs: Flow input values, not yet coerced.
            line_number: Row number in a batch.
            run_id: Id of this execution; a UUID when not given.
            allow_stream: Outputs that stream are returned as iterators; finish them with `finish_streams`.
            cancel: When set, no further node starts and the line ends `Canceled`.
            timeout_s: Give up after this long; a node that is still running is left behind.

        Returns:
            The outcome; failures are values here, not exceptions.
        """
        if timeout_s is not None:
            return self._run_line_within(inputs, line_number, run_id, allow_stream, cancel, timeout_s)

        result = LineResult(line_number, Status.RUNNING, start_time=time.time(), run_id=run_id or str(uuid.uuid4()))
        try:
            coerced = self._coercion(inputs, line_number)
            result.inputs = coerced
            progress = _LineRun(self, result, coerced, allow_stream, cancel).execute()
            result.output = self._outputs(progress, coerced, allow_stream)
            result.status = Status.COMPLETED
        except RunCanceledError as error:
            result.status = Status.CANCELED
            result.error = error_to_dict(error)
        except Exception as error:  # one bad line is a value; it never takes the run down
            result.status = Status.FAILED
            result.exception = error
            result.error = without_secrets(error_to_dict(error))

        result.usage = total_usage(result.nodes)
        result.end_time = time.time()
        return result

    def _run_line_within(
        self,
        inputs: Mapping[str, Any],
        line_number: int | None,
        run_id: str | None,
        allow_stream: bool,
        cancel: threading.Event | None,
        timeout_s: float,
    ) -> LineResult:
        start_time = time.time()
        stop = cancel or threading.Event()
        context = copy_context()
        future: Future[LineResult] = Future()

        def work() -> None:
            future.set_result(
                context.run(
                    self.run_line,
                    inputs,
                    line_number=line_number,
                    run_id=run_id,
                    allow_stream=allow_stream,
                    cancel=stop,
                )
            )

        threading.Thread(target=work, name="pfl-line", daemon=True).start()
        try:
            return future.result(timeout_s)
        except TimeoutError:
            stop.set()
            return timed_out_line(dict(inputs), line_number, run_id, start_time, timeout_s)

    def _outputs(self, progress: Progress, inputs: Mapping[str, Any], allow_stream: bool) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        for spec in self.plan.outputs:
            if spec.reference is None:
                value = spec.literal
            elif spec.reference.kind == "input":
                value = inputs.get(spec.reference.name)
            else:
                source = self.plan.index_by_name[spec.reference.name]
                if progress.bypassed[source]:
                    logger.warning("The node referenced by output %r is bypassed; the output is null.", spec.name)

                value = value_of(spec.reference, progress, inputs, source)
            outputs[spec.name] = value
        return finish_outputs(outputs, allow_stream=allow_stream)

    # --- aggregation ------------------------------------------------------------------------------------------------

    def aggregation_values(self, line: LineResult) -> LineValues:
        """What aggregation nodes will need of one finished line."""
        return line_values(self._aggregation_references, line)

    def run_aggregation(self, lines: Sequence[LineValues]) -> AggregationResult:
        """Run the aggregation nodes over the succeeded lines, given in line order."""
        return run_aggregation(self.plan, lines)

    def pool(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max_workers=256, thread_name_prefix="pfl-node")

            return self._pool


class _LineRun:
    """One line while it is being executed."""

    __slots__ = ("allow_stream", "cancel", "executor", "inputs", "nodes", "progress", "result")

    def __init__(
        self,
        executor: DagExecutor,
        result: LineResult,
        inputs: Mapping[str, Any],
        allow_stream: bool,
        cancel: threading.Event | None,
    ) -> None:
        self.executor = executor
        self.nodes = executor.plan.nodes
        self.progress = Progress(self.nodes)
        self.result = result
        self.inputs = inputs
        self.allow_stream = allow_stream
        self.cancel = cancel

    def execute(self) -> Progress:
        """Run until every node is finished. Raises the first node's failure."""
        ready = deque(self.executor.plan.roots)
        while ready:
            runnable = self._bypass_or_bind(ready)
            if len(runnable) == 1:
                node, arguments = runnable[0]
                ready.extend(self._collect(node, run_node(node, arguments)))
            elif runnable:
                self._run_concurrently(runnable)

        if self.progress.n_open:
            waiting = [node.name for node in self.nodes if self.result.node(node.name) is None]
            raise NoNodeExecutedError(f"No node is ready, but the flow is not completed; waiting: {waiting}.")

        return self.progress

    def _bypass_or_bind(self, ready: deque[int]) -> list[tuple[PlannedNode, dict[str, Any]]]:
        """Bypass what must be bypassed, which may make more nodes ready, and bind the inputs of the rest."""
        self._check_cancelled()
        runnable = []
        while ready:
            node = self.nodes[ready.popleft()]
            reason = bypass_reason(node, self.progress, self.inputs)
            if reason is None:
                runnable.append((node, self._bind(node)))
            else:
                logger.debug("The node %r will be bypassed because %s.", node.name, reason)
                now = time.time()
                bypassed = NodeResult(node.name, Status.BYPASSED, start_time=now, end_time=now)
                self.result.nodes.append(bypassed)
                tell(bypassed)
                ready.extend(self.progress.complete(node.index, None, is_bypassed=True))
        return runnable

    def _check_cancelled(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise RunCanceledError("The line was cancelled.", hint="Resume the run to execute the remaining lines.")

    def _bind(self, node: PlannedNode) -> dict[str, Any]:
        arguments = dict(node.tool.literals)
        for binding in node.bindings:
            if binding.source >= 0 and self.progress.bypassed[binding.source]:
                if binding.has_default:
                    continue

                arguments[binding.parameter] = None
            else:
                arguments[binding.parameter] = value_of(binding.reference, self.progress, self.inputs, binding.source)
        if node.is_streamable and node.tool.stream_parameter:
            arguments[node.tool.stream_parameter] = self.allow_stream

        return arguments

    def _collect(self, node: PlannedNode, outcome: NodeResult) -> list[int]:
        """Keep a node's outcome; returns the nodes that became ready."""
        self.result.nodes.append(outcome)
        if outcome.exception is not None:
            raise outcome.exception

        return self.progress.complete(node.index, outcome.output)

    def _run_concurrently(self, runnable: list[tuple[PlannedNode, dict[str, Any]]]) -> None:
        """Run ready nodes on the pool, starting their successors as soon as those become ready."""
        pool = self.executor.pool()
        waiting = deque(runnable)
        running: dict[Future[NodeResult], PlannedNode] = {}
        while waiting or running:
            while waiting and len(running) < MAX_NODES_AT_ONCE:
                node, arguments = waiting.popleft()
                call = copy_context().run
                running[pool.submit(call, run_node, node, arguments)] = node

            done, _ = wait(running, timeout=0.5 if self.cancel else None, return_when=FIRST_COMPLETED)
            self._check_cancelled()
            for future in sorted(done, key=lambda item: running[item].index):
                ready = deque(self._collect(running.pop(future), future.result()))
                waiting.extend(self._bypass_or_bind(ready))


def finish_outputs(outputs: dict[str, Any], *, allow_stream: bool) -> dict[str, Any]:
    """Join iterator outputs (unless the caller streams them) and refuse what cannot be written as JSON.

    Raises:
        FlowOutputUnserializable: an output has no JSON form.
    """
    for name, value in outputs.items():
        if isinstance(value, RecordingIterator):
            if not allow_stream:
                outputs[name] = value.text()
        elif not isinstance(value, str | int | float | bool | type(None)):
            _check_serializable(name, value)
    return outputs


def _check_serializable(name: str, value: Any) -> None:
    if env("PF_SKIP_SERIALIZATION_CHECK"):
        return

    try:
        dumps_strict(value)
    except (TypeError, ValueError) as error:
        raise FlowOutputUnserializable(
            f"The output {name!r} of the flow is not JSON serializable: ({type(error).__name__}) {error}",
            hint="Return text, numbers, lists or dicts from the node that this output refers to.",
            output=name,
        ) from error


def streamed_outputs(line: LineResult) -> Iterator[tuple[str, RecordingIterator]]:
    """The outputs of a line that are still iterators."""
    for name, value in (line.output or {}).items():
        if isinstance(value, RecordingIterator):
            yield name, value


def finish_streams(line: LineResult) -> None:
    """Bring a streamed line's record up to date once its iterators are consumed or closed; outputs become text."""
    outputs = line.output if line.output is not None else {}
    for name, stream in list(streamed_outputs(line)):
        if not stream.is_exhausted:
            stream.close()

        outputs[name] = "".join(str(item) for item in stream.items)
    failed = next((node for node in line.nodes if node.status is Status.FAILED), None)
    if failed is not None and line.status is Status.COMPLETED:
        line.status = Status.FAILED
        line.error = failed.error

    line.usage = total_usage(line.nodes)
    line.end_time = time.time()


def total_usage(nodes: Sequence[NodeResult]) -> Usage:
    """Tokens of all nodes together."""
    usage = Usage()
    for node in nodes:
        if node.usage is not None and node.usage.calls:
            usage.add(node.usage)
    return usage


def timed_out_line(
    inputs: dict[str, Any] | None, line_number: int | None, run_id: str | None, start_time: float, timeout_s: float
) -> LineResult:
    """The record of a line that was given up."""
    error = LineExecutionTimeoutError(
        f"Line {line_number if line_number is not None else 0} execution timeout for exceeding {timeout_s:g} seconds.",
        hint="Set PF_LINE_TIMEOUT_SEC (or --line-timeout) to allow more time.",
        line_number=line_number,
        timeout=timeout_s,
    )
    return LineResult(
        line_number,
        Status.FAILED,
        inputs=inputs,
        error=error_to_dict(error),
        start_time=start_time,
        end_time=time.time(),
        run_id=run_id,
        exception=error,
    )


__all__ = ["DagExecutor", "finish_outputs", "finish_streams", "streamed_outputs", "timed_out_line"]
