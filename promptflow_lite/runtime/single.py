"""Flows without nodes: one call takes a line's inputs and returns its outputs (flex flows and prompties)."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from promptflow_lite.connections import without_secrets
from promptflow_lite.errors import RunCanceledError, error_to_dict
from promptflow_lite.flow import InputSpec
from promptflow_lite.records import LineResult, Status
from promptflow_lite.runtime.aggregation import AggregationResult, LineValues
from promptflow_lite.runtime.aio import iterate
from promptflow_lite.runtime.executor import finish_outputs, timed_out_line
from promptflow_lite.runtime.plain import PlainOutput, unwrap_output
from promptflow_lite.runtime.size import check_size
from promptflow_lite.runtime.stream import RecordingIterator
from promptflow_lite.tracing import Scope


class SingleCallExecutor(ABC):
    """Everything about a line that does not depend on what is called."""

    calls_models = True

    name: str

    @property
    @abstractmethod
    def input_specs(self) -> Mapping[str, InputSpec]:
        """Declared or inferred inputs."""

    @property
    def has_aggregation(self) -> bool:
        return False

    @abstractmethod
    def arguments(self, inputs: Mapping[str, Any], line_number: int | None) -> dict[str, Any]:
        """The line's inputs, selected and typed."""

    @abstractmethod
    def call(self, arguments: dict[str, Any], *, allow_stream: bool) -> Any:
        """Run the flow; a failure of user code is raised as an error of this package."""

    def failure(self, error: Exception) -> Exception:
        """An error that came out of a stream while it was read, as an error of this package."""
        return error

    def close(self) -> None:  # noqa: B027  # nothing is held open
        """Release what the flow holds."""

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
        """Run the flow once; failures are values here. See `DagExecutor.run_line` for the arguments."""
        result = LineResult(line_number, Status.RUNNING, start_time=time.time(), run_id=run_id or str(uuid.uuid4()))
        if cancel is not None and cancel.is_set():
            _fail(result, RunCanceledError("The line was cancelled."), Status.CANCELED)
            return result

        if timeout_s is None:
            self._run(result, inputs, allow_stream)
            return result

        finished: Future[None] = Future()
        context = copy_context()

        def work() -> None:
            context.run(self._run, result, inputs, allow_stream)
            finished.set_result(None)

        threading.Thread(target=work, name="pfl-line", daemon=True).start()
        try:
            finished.result(timeout_s)
        except TimeoutError:
            return timed_out_line(dict(inputs), line_number, result.run_id, result.start_time, timeout_s)

        return result

    def _run(self, result: LineResult, inputs: Mapping[str, Any], allow_stream: bool) -> None:
        scope = Scope(self.name)
        result.usage = scope.usage
        result.spans = scope.spans
        try:
            arguments = self.arguments(inputs, result.line_number)
            result.inputs = dict(arguments)
            if "line_number" in inputs:
                result.inputs["line_number"] = inputs["line_number"]

            with scope:
                result.output = self._outputs(self.call(arguments, allow_stream=allow_stream), allow_stream)
            result.status = Status.COMPLETED
        except (Exception, SystemExit) as error:  # one bad line is a value; it never takes the run down
            _fail(result, error, Status.FAILED)

        result.end_time = time.time()

    def _outputs(self, output: Any, allow_stream: bool) -> dict[str, Any]:
        if dataclasses.is_dataclass(output) and not isinstance(output, type):
            output = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}

        outputs = dict(output) if isinstance(output, Mapping) else PlainOutput(output=output)
        check_size(outputs, self.name)
        for name, value in outputs.items():
            if is_stream(value):
                source = iterate(value) if inspect.isasyncgen(value) else iter(value)
                outputs[name] = RecordingIterator(source, name=self.name)
        try:
            return finish_outputs(outputs, allow_stream=allow_stream)
        except Exception as error:  # a generator runs user code while its output is joined
            raise self.failure(error) from error

    def aggregation_values(self, line: LineResult) -> LineValues:
        """The line's own result, as the flow returned it."""
        return LineValues(line.line_number or 0, {"output": unwrap_output(line.output)})

    def run_aggregation(self, lines: Sequence[LineValues]) -> AggregationResult:
        """Nothing is aggregated."""
        return AggregationResult()


def is_stream(value: Any) -> bool:
    """Whether a value yields its items one by one."""
    return isinstance(value, collections.abc.Iterator) or inspect.isasyncgen(value)


def _fail(result: LineResult, error: BaseException, status: Status) -> None:
    result.status = status
    result.exception = error
    result.error = without_secrets(error_to_dict(error))
    result.end_time = time.time()
