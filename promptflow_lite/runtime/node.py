"""Runs one node once: calls its tool inside a scope, and turns whatever happens into a `NodeResult`."""

from __future__ import annotations

import collections.abc
import inspect
import threading
import time
import traceback
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from promptflow_lite._utils.clock import iso_utc
from promptflow_lite.connections import without_secrets
from promptflow_lite.errors import NodeTimeoutError, PromptflowException, ToolExecutionError, error_to_dict
from promptflow_lite.records import NodeResult, Status
from promptflow_lite.runtime.aio import iterate, run_coroutine
from promptflow_lite.runtime.long_running import warned_while_running
from promptflow_lite.runtime.observe import tell, tell_start
from promptflow_lite.runtime.plan import PlannedNode
from promptflow_lite.runtime.size import check_size
from promptflow_lite.runtime.stream import RecordingIterator
from promptflow_lite.tracing import Scope

_PACKAGE = __name__.split(".")[0]


def run_node(node: PlannedNode, arguments: dict[str, Any], *, metrics: dict[str, Any] | None = None) -> NodeResult:
    """Call a node's tool, trying again as its `retry` says.

    Args:
        arguments: Everything the tool receives.
        metrics: Receives `log_metric` values; given for aggregation nodes only.

    Returns:
        The outcome; a failure is a value here, not an exception.
    """
    tell_start(node.name)
    result = _attempts(node, arguments, metrics)
    tell(result)
    return result


def _attempts(node: PlannedNode, arguments: dict[str, Any], metrics: dict[str, Any] | None) -> NodeResult:
    retry = node.spec.retry
    max_attempts = retry.max_attempts if retry else 1
    delay_s = retry.delay_s if retry else 0.0
    for attempt in range(1, max_attempts + 1):
        result = _attempt(node, arguments, metrics)
        result.attempts = attempt
        if result.status is not Status.FAILED or attempt == max_attempts:
            return result

        time.sleep(delay_s)
        delay_s *= retry.backoff if retry else 1.0
    raise AssertionError("a node is attempted at least once")


def _attempt(node: PlannedNode, arguments: dict[str, Any], metrics: dict[str, Any] | None) -> NodeResult:
    result = NodeResult(node.spec.name, Status.RUNNING, inputs=arguments, start_time=time.time())
    scope = Scope(node.spec.name, metrics=metrics)
    result.usage = scope.usage
    result.spans = scope.spans
    try:
        with scope:
            output = call_tool(node, arguments)
            if isinstance(output, collections.abc.Iterator) or inspect.isasyncgen(output):
                output = _recorded(output, result, scope)
            else:
                check_size(output, node.name)
    except (Exception, SystemExit) as error:  # any failure of user code becomes this node's record
        _fail(result, node, error)
    else:
        result.output = output
        result.status = Status.COMPLETED
        result.is_cached = scope.is_cached

    result.end_time = time.time()
    if scope.stdout or scope.stderr:
        result.stdout = _stamped(scope.stdout, result.start_time)
        result.stderr = _stamped(scope.stderr, result.start_time)

    return result


def call_tool(node: PlannedNode, arguments: dict[str, Any]) -> Any:
    """Call the tool in this thread, or in another when the node limits its time."""
    if node.spec.timeout_s is None:
        return _call(node, arguments)

    return _call_within(node, arguments, node.spec.timeout_s)


def _call(node: PlannedNode, arguments: dict[str, Any]) -> Any:
    with warned_while_running(node.name):
        output = node.tool.call(**arguments)
        return run_coroutine(output) if inspect.iscoroutine(output) else output


def _call_within(node: PlannedNode, arguments: dict[str, Any], timeout_s: float) -> Any:
    future: Future[Any] = Future()
    context = copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(_call, node, arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name=f"pfl-node-{node.name}", daemon=True).start()
    try:
        return future.result(timeout_s)
    except TimeoutError as error:
        if future.done():
            raise

        raise NodeTimeoutError(
            f"Node {node.name!r} did not finish within {timeout_s:g} seconds.",
            hint="Raise the node's timeout_s, or find out what it waits for.",
            where=node.spec.where,
            node=node.name,
        ) from error


def _recorded(output: Any, result: NodeResult, scope: Scope) -> RecordingIterator:
    def on_end(error: BaseException | None) -> None:
        result.end_time = time.time()
        if error is not None:
            result.status = Status.FAILED
            result.error = without_secrets(error_to_dict(error))

        result.stdout = _stamped(scope.stdout, result.start_time)
        tell(result)

    return RecordingIterator(iterate(output) if inspect.isasyncgen(output) else output, on_end, name=result.node)


def _fail(result: NodeResult, node: PlannedNode, error: BaseException) -> None:
    failure = error if isinstance(error, PromptflowException) else tool_failure(node, error)
    result.status = Status.FAILED
    result.exception = failure
    result.error = without_secrets(error_to_dict(failure))


def tool_failure(node: PlannedNode, error: BaseException) -> ToolExecutionError:
    """The error record of an exception that a tool raised; its traceback starts in the user's code."""
    details = failure_details(error)
    at = f" at {details['filename']}:{details['lineno']}" if details["filename"] else ""
    hint = f"The tool raised it{at}."
    if isinstance(error, TypeError) and details["filename"] == __file__:
        hint = "The tool was not entered: compare the node's inputs with the parameters of its function."

    failure = ToolExecutionError(
        without_secrets(f"Execution failure in {node.name!r}: ({type(error).__name__}) {error}"),
        message_format="Execution failure in {node_name!r}.",
        hint=hint,
        module="__pf_main__",
        node_name=node.name,
        details=details,
    )
    failure.__cause__ = error
    return failure


def failure_details(error: BaseException) -> dict[str, Any]:
    """Type, message and place of an exception that user code raised."""
    frames = user_frames(error)
    last = frames[-1] if frames else None
    return {
        "type": type(error).__name__,
        "message": without_secrets(str(error)),
        "traceback": without_secrets(
            "".join(
                [
                    "Traceback (most recent call last):\n",
                    *traceback.format_list(frames),
                    *traceback.format_exception_only(error),
                ]
            )
        ),
        "filename": last.filename if last else None,
        "lineno": last.lineno if last else None,
        "name": last.name if last else None,
    }


def user_frames(error: BaseException) -> traceback.StackSummary:
    """Frames of an exception without ours at the top, so that a traceback starts where the user's code starts."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((i for i, frame in enumerate(frames) if f"/{_PACKAGE}/" not in frame.filename.replace("\\", "/")), 0)
    return traceback.StackSummary.from_list(frames[first:])


def _stamped(parts: list[str], start_time: float | None) -> str:
    """Printed text with the time in front of each line, as the original records it, and without secrets."""
    text = without_secrets("".join(parts))
    stamp = (iso_utc(start_time) or "")[:19] + "+0000"
    return "".join(f"[{stamp}] {line}" for line in text.splitlines(keepends=True))
