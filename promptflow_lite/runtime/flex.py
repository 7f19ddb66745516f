"""Runs flex flows: a function, a class or a callable object takes the line's inputs and returns its outputs."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from promptflow_lite.connections import Connection
from promptflow_lite.errors import (
    FlowEntryInitializationError,
    InvalidAggregationFunction,
    PromptflowException,
    RunCanceledError,
    ScriptExecutionError,
    UserErrorException,
    error_to_dict,
)
from promptflow_lite.flow import FlexFlow, InputCoercion, InputSpec, coerce_literal
from promptflow_lite.records import LineResult, NodeResult, Status
from promptflow_lite.runtime.aggregation import AggregationResult, LineValues
from promptflow_lite.runtime.aio import iterate, run_coroutine
from promptflow_lite.runtime.entry import (
    EntrySignature,
    annotation_members,
    callable_of,
    infer_signature,
    init_annotations,
    load_entry,
)
from promptflow_lite.runtime.executor import finish_outputs, timed_out_line
from promptflow_lite.runtime.model_configuration import ModelConfiguration, configuration_from_dict
from promptflow_lite.runtime.plain import PlainOutput, unwrap_output
from promptflow_lite.runtime.stream import RecordingIterator
from promptflow_lite.runtime.user_errors import failure_details
from promptflow_lite.tools import ToolContext
from promptflow_lite.tracing import Scope, close_span, open_span

logger = logging.getLogger("execution")

AGGREGATION_NAME = "__aggregate__"


class FlexExecutor:
    """Executes one flex flow; safe to use from several threads at once if the entry is.

    Args:
        flow: The flow.
        context: Connections that init values may name.
        init: Arguments for the class's `__init__`; `sample.init` when none are given.
        target: A Python callable to run instead of importing the entry; its inputs are not coerced.

    Raises:
        PythonLoadError: the entry cannot be imported.
        FlowEntryInitializationError: the class cannot be instantiated.
        InvalidAggregationFunction: `__aggregate__` does not take exactly one argument.
    """

    calls_models = True

    def __init__(
        self,
        flow: FlexFlow,
        context: ToolContext,
        *,
        init: Mapping[str, Any] | None = None,
        target: Any = None,
    ) -> None:
        self.flow = flow
        self.init_values: dict[str, Any] = {}
        entry = load_entry(flow.entry, flow.root) if target is None else target
        self.signature: EntrySignature = infer_signature(entry)
        self._function: Callable[..., Any] = entry
        self._instance: Any = None
        if inspect.isclass(entry):
            self._instance = self._instantiate(entry, context, init)
            self._function = self._instance
        elif not inspect.isfunction(entry):
            self._instance = entry

        if init and not inspect.isclass(entry):
            logger.warning("Init values are ignored: the entry %r is not a class.", flow.entry)

        self._aggregate = _checked_aggregate(self._instance)
        self._coerce = _LineCoercion(flow, self.signature) if target is None or flow.path is not None else None

    @property
    def input_specs(self) -> Mapping[str, InputSpec]:
        """Declared inputs, or those of the Python signature."""
        return self.flow.inputs if self.flow.inputs is not None else self.signature.inputs

    @property
    def required_inputs(self) -> list[str]:
        """Parameters that a batch must map: those without any default."""
        return [
            name
            for name, parameter in self.signature.parameters.items()
            if not parameter.has_default and (self.input_specs.get(name) or InputSpec(name=name)).default is None
        ]

    @property
    def has_aggregation(self) -> bool:
        return self._aggregate is not None

    def close(self) -> None:
        """Nothing is held open."""

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
        """Run the entry once; see `DagExecutor.run_line`."""
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
        scope = Scope(self.flow.name)
        result.usage = scope.usage
        result.spans = scope.spans
        try:
            arguments = self._arguments(inputs, result)
            with scope:
                output = self._call(arguments)
                result.output = self._outputs(output, allow_stream)
            result.status = Status.COMPLETED
        except Exception as error:  # one bad line is a value; it never takes the run down
            _fail(result, error, Status.FAILED)

        result.end_time = time.time()

    def _arguments(self, inputs: Mapping[str, Any], result: LineResult) -> dict[str, Any]:
        given = {name: value for name, value in inputs.items() if name != "line_number"}
        if not given:
            given = dict(self.flow.sample.get("inputs") or {})

        known = {name: value for name, value in given.items() if name in self.signature.parameters}
        result.inputs = dict(known)
        if self._coerce is not None:
            known = self._coerce(known, result.line_number)
            result.inputs = dict(known)

        if "line_number" in inputs:
            result.inputs["line_number"] = inputs["line_number"]

        return known

    def _call(self, arguments: dict[str, Any]) -> Any:
        name = callable_of(self._function).__qualname__
        span, token = open_span(name, "Function", arguments)
        try:
            output = self._function(**arguments)
            if inspect.iscoroutine(output):
                output = run_coroutine(output)
        except Exception as error:  # any failure of user code becomes this line's record
            failure = _script_failure(error, name)
            close_span(span, token, error=error_to_dict(failure, include_debug_info=False))
            raise failure from error

        close_span(span, token, output=None if _is_stream(output) else output)
        return output

    def _outputs(self, output: Any, allow_stream: bool) -> dict[str, Any]:
        if dataclasses.is_dataclass(output) and not isinstance(output, type):
            output = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}

        outputs = dict(output) if isinstance(output, Mapping) else PlainOutput(output=output)
        for name, value in outputs.items():
            if _is_stream(value):
                outputs[name] = RecordingIterator(iterate(value) if inspect.isasyncgen(value) else iter(value))
        try:
            return finish_outputs(outputs, allow_stream=allow_stream)
        except PromptflowException:
            raise
        except Exception as error:  # a generator runs user code while its output is joined
            raise _script_failure(error, self.flow.entry) from error

    # --- aggregation ------------------------------------------------------------------------------------------------

    def aggregation_values(self, line: LineResult) -> LineValues:
        """What `__aggregate__` will get of one finished line."""
        return LineValues(line.line_number or 0, {"output": unwrap_output(line.output)})

    def run_aggregation(self, lines: Sequence[LineValues]) -> AggregationResult:
        """Call `__aggregate__` with the outputs of all succeeded lines; a failure only costs the metrics."""
        result = AggregationResult()
        if self._aggregate is None:
            return result

        values = [_attribute_access(line.values["output"]) for line in lines]
        outcome = NodeResult(AGGREGATION_NAME, Status.COMPLETED, start_time=time.time())
        try:
            with Scope(AGGREGATION_NAME, metrics=result.metrics):
                metrics = self._aggregate(values)
                if inspect.iscoroutine(metrics):
                    metrics = run_coroutine(metrics)
        except Exception as error:  # user code; the run stays completed
            logger.warning("The aggregation of %r failed: (%s) %s", self.flow.entry, type(error).__name__, error)
            result.metrics.clear()
        else:
            self._take_metrics(metrics, result)

        outcome.end_time = time.time()
        return result

    def _take_metrics(self, metrics: Any, result: AggregationResult) -> None:
        if isinstance(metrics, Mapping):
            result.metrics.update({str(name): value for name, value in metrics.items()})
        elif metrics is not None:
            logger.error("The aggregation of %r returned %r instead of a dict.", self.flow.entry, type(metrics).__name__)

    # --- init -------------------------------------------------------------------------------------------------------

    def _instantiate(self, cls: type, context: ToolContext, init: Mapping[str, Any] | None) -> Any:
        declared = self.flow.init or {}
        values = {name: spec.default for name, spec in declared.items() if spec.default is not None}
        values.update(init if init else self.flow.sample.get("init") or {})
        self.init_values = dict(values)
        resolved = resolve_init(cls, values, declared or self.signature.init or {}, context)
        try:
            return cls(**resolved)
        except PromptflowException:
            raise
        except Exception as error:  # user code
            raise FlowEntryInitializationError(
                f"Failed to initialize flow entry with {self.init_values!r}, ex: {error!r}.",
                hint="Give the values with --init name=value, or as `init` in the SDK.",
            ) from error


def resolve_init(
    cls: type, values: Mapping[str, Any], declared: Mapping[str, InputSpec], context: ToolContext
) -> dict[str, Any]:
    """Arguments for `__init__`: names of connections looked up, configurations built, texts coerced by type.

    Raises:
        ConnectionNotFoundError: a value names a connection that does not exist.
        InvalidModelConfigValueType: a mapping does not fit the annotated configuration class.
        FlowEntryInitializationError: a text cannot be read as the declared type.
    """
    annotations = init_annotations(cls)
    inferred = infer_signature(cls).init or {}
    resolved: dict[str, Any] = {}
    for name, value in values.items():
        members = annotation_members(annotations.get(name))
        configurations = tuple(m for m in members if isinstance(m, type) and issubclass(m, ModelConfiguration))
        if isinstance(value, str) and any(isinstance(m, type) and issubclass(m, Connection) for m in members):
            resolved[name] = context.connections.get(value)
        elif isinstance(value, Mapping) and configurations:
            resolved[name] = configuration_from_dict(value, _concrete(configurations), context.connections)
        elif isinstance(value, str):
            spec = declared.get(name) or inferred.get(name)
            resolved[name] = _coerce_init_text(name, value, spec, context)
        else:
            resolved[name] = value
    return resolved


def _concrete(classes: tuple[type[ModelConfiguration], ...]) -> tuple[type[ModelConfiguration], ...]:
    if ModelConfiguration not in classes:
        return classes

    return tuple(ModelConfiguration.__subclasses__())


def _coerce_init_text(name: str, value: str, spec: InputSpec | None, context: ToolContext) -> Any:
    if spec is None or spec.type not in ("int", "double", "bool", "list", "object"):
        return value

    try:
        return coerce_literal(value, spec.type, root=context.root)
    except (ValueError, TypeError, PromptflowException) as error:
        raise FlowEntryInitializationError(
            f"Init value {value!r} of {name!r} is not of type {spec.type}.", hint="Correct the value."
        ) from error


class _LineCoercion:
    """Types a line's values by the declared or inferred signature; an optional parameter may stay away or be null."""

    def __init__(self, flow: FlexFlow, signature: EntrySignature) -> None:
        specs = dict(signature.inputs if flow.inputs is None else flow.inputs)
        specs = {name: spec for name, spec in specs.items() if name in signature.parameters}
        self._optional = {
            name
            for name in specs
            if signature.parameters[name].has_default and signature.parameters[name].default is None
        }
        self._specs = specs
        self._root = flow.root
        self._python_defaults = {name for name, parameter in signature.parameters.items() if parameter.has_default}

    def __call__(self, inputs: dict[str, Any], line_number: int | None) -> dict[str, Any]:
        specs = {
            name: spec
            for name, spec in self._specs.items()
            if not self._may_stay_away(name, spec, inputs)
        }
        untouched = {name: inputs[name] for name in inputs if name not in specs}
        typed = {name: value for name, value in inputs.items() if name in specs}
        return {**untouched, **InputCoercion(specs, root=self._root)(typed, line_number)}

    def _may_stay_away(self, name: str, spec: InputSpec, inputs: Mapping[str, Any]) -> bool:
        if name not in inputs:
            return spec.default is None and name in self._python_defaults

        return inputs[name] is None and name in self._optional


class _AttributeDict(dict[str, Any]):
    """A line's outputs as `__aggregate__` reads them: `x["a"]` and `x.a`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _attribute_access(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _AttributeDict({key: _attribute_access(item) for key, item in value.items()})

    return [_attribute_access(item) for item in value] if isinstance(value, list) else value


def _checked_aggregate(instance: Any) -> Callable[[list[Any]], Any] | None:
    aggregate = getattr(instance, AGGREGATION_NAME, None)
    if aggregate is None:
        return None

    if len(inspect.signature(aggregate).parameters) != 1:
        raise InvalidAggregationFunction(
            f"{AGGREGATION_NAME!r} of {type(instance).__name__!r} must take exactly one argument besides self.",
            hint="Write `def __aggregate__(self, line_results: list)`.",
        )

    return aggregate  # type: ignore[no-any-return]  # user code


def _is_stream(value: Any) -> bool:
    return isinstance(value, collections.abc.Iterator) or inspect.isasyncgen(value)


def _script_failure(error: Exception, name: str) -> PromptflowException:
    if isinstance(error, PromptflowException):
        return error

    return ScriptExecutionError(
        f"Execution failure in {name!r}: ({type(error).__name__}) {error}",
        message_format="Execution failure in '{node_name}'.",
        hint="The flow's own code raised it.",
        node_name=name,
        details=failure_details(error),
    )


def _fail(result: LineResult, error: Exception, status: Status) -> None:
    result.status = status
    result.exception = error
    result.error = error_to_dict(error)
    result.end_time = time.time()


def parse_init(value: Any) -> dict[str, Any]:
    """Init values from what a user gave: a mapping, or the path of a JSON file.

    Raises:
        UserErrorException: the file cannot be read.
    """
    if value is None or isinstance(value, Mapping):
        return dict(value or {})

    try:
        with open(value, encoding="utf-8") as handle:
            loaded = json.load(handle)
    except (OSError, ValueError) as error:
        raise UserErrorException(f"Init values cannot be read from {str(value)!r}: {error}") from error

    if not isinstance(loaded, dict):
        raise UserErrorException(f"{str(value)!r} must hold a JSON object with init values.")

    return loaded
