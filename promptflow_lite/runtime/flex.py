"""Runs flex flows: a function, a class or a callable object takes the line's inputs and returns its outputs."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from promptflow_lite.connections import Connection, ConnectionSource, without_secrets
from promptflow_lite.errors import (
    FlowEntryInitializationError,
    InvalidAggregationFunction,
    PromptflowException,
    ScriptExecutionError,
    UserErrorException,
    error_to_dict,
)
from promptflow_lite.flow import FlexFlow, InputCoercion, InputSpec, coerce_literal
from promptflow_lite.runtime.aggregation import AggregationResult, LineValues
from promptflow_lite.runtime.aio import run_coroutine
from promptflow_lite.runtime.entry import (
    EntrySignature,
    annotation_members,
    infer_signature,
    init_annotations,
    load_entry,
    name_of,
)
from promptflow_lite.runtime.node import failure_details
from promptflow_lite.runtime.single import SingleCallExecutor, is_stream
from promptflow_lite.tools.model_configuration import ModelConfiguration, configuration_from_dict
from promptflow_lite.tracing import Scope, close_span, open_span

logger = logging.getLogger("execution")

AGGREGATION_NAME = "__aggregate__"


class FlexExecutor(SingleCallExecutor):
    """Executes one flex flow; safe to use from several threads at once if the entry is.

    Args:
        flow: The flow.
        connections: Where names among the init values are looked up.
        init: Arguments for the class's `__init__`; `sample.init` when none are given.

    Raises:
        PythonLoadError: the entry cannot be imported.
        FlowEntryInitializationError: the class cannot be instantiated.
        InvalidAggregationFunction: `__aggregate__` does not take exactly one argument.
    """

    def __init__(
        self,
        flow: FlexFlow,
        connections: ConnectionSource,
        *,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        self.flow = flow
        self.name = flow.name
        self.init_values: dict[str, Any] = {}
        entry = load_entry(flow.entry, flow.root) if flow.target is None else flow.target
        if inspect.isclass(inspect.unwrap(entry)):
            entry = inspect.unwrap(entry)  # a decorator made a function of the class

        self.signature: EntrySignature = infer_signature(entry)
        self._function: Callable[..., Any] = entry
        self._instance: Any = None
        if inspect.isclass(entry):
            self._instance = self._instantiate(entry, connections, init)
            self._function = self._instance
        elif not inspect.isfunction(entry):
            self._instance = entry

        if init and not inspect.isclass(entry):
            logger.warning("Init values are ignored: the entry %r is not a class.", flow.entry)

        self._aggregate = _checked_aggregate(self._instance)
        self._coerce = _LineCoercion(flow, self.signature) if flow.target is None else None

    @property
    def input_specs(self) -> Mapping[str, InputSpec]:
        """Declared inputs, or those of the Python signature, without the ones that may stay away."""
        specs = self.signature.inputs if self.flow.inputs is None else self.flow.inputs
        parameters = self.signature.parameters
        wanted = {
            name: spec
            for name, spec in specs.items()
            if spec.default is not None or name not in parameters or not parameters[name].has_default
        }
        return wanted or specs

    @property
    def has_aggregation(self) -> bool:
        return self._aggregate is not None

    def arguments(self, inputs: Mapping[str, Any], line_number: int | None) -> dict[str, Any]:
        """The inputs that the function names, typed; `sample.inputs` when there are none, but not for a row of data."""
        given = inputs or self.flow.sample.get("inputs") or {}
        parameters = self.signature.parameters
        known = {name: value for name, value in given.items() if name in parameters and name != "line_number"}
        return known if self._coerce is None else self._coerce(known, line_number)

    def call(self, arguments: dict[str, Any], *, allow_stream: bool) -> Any:
        """Call the entry and wait for it if it is async."""
        name = name_of(self._function)
        span, token = open_span(name, "Function", arguments)
        try:
            output = self._function(**arguments)
            if inspect.iscoroutine(output):
                output = run_coroutine(output)
        except Exception as error:  # any failure of user code becomes this line's record
            failure = self.failure(error)
            close_span(span, token, error=without_secrets(error_to_dict(failure, include_debug_info=False)))
            raise failure from error

        close_span(span, token, output=None if is_stream(output) else output)
        return output

    def failure(self, error: Exception) -> Exception:
        """What user code raised, as the error that is recorded; errors of this package stay as they are."""
        if isinstance(error, PromptflowException):
            return error

        name = name_of(self._function)
        return ScriptExecutionError(
            without_secrets(f"Execution failure in {name!r}: ({type(error).__name__}) {error}"),
            message_format="Execution failure in '{node_name}'.",
            hint="The flow's own code raised it.",
            node_name=name,
            details=failure_details(error),
        )

    # --- aggregation ------------------------------------------------------------------------------------------------

    def run_aggregation(self, lines: Sequence[LineValues]) -> AggregationResult:
        """Call `__aggregate__` with the outputs of all succeeded lines; a failure only costs the metrics."""
        result = AggregationResult()
        if self._aggregate is None:
            return result

        values = [_attribute_access(line.values["output"]) for line in lines]
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

        return result

    def _take_metrics(self, metrics: Any, result: AggregationResult) -> None:
        if isinstance(metrics, Mapping):
            result.metrics.update({str(name): value for name, value in metrics.items()})
        elif metrics is not None:
            logger.error(
                "The aggregation of %r returned %r instead of a dict.", self.flow.entry, type(metrics).__name__
            )

    # --- init -------------------------------------------------------------------------------------------------------

    def _instantiate(self, cls: type, connections: ConnectionSource, init: Mapping[str, Any] | None) -> Any:
        declared = self.flow.init or {}
        values = {name: spec.default for name, spec in declared.items() if spec.default is not None}
        values.update(init if init else self.flow.sample.get("init") or {})
        self.init_values = dict(values)
        resolved = resolve_init(cls, values, declared or self.signature.init or {}, connections)
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
    cls: type, values: Mapping[str, Any], declared: Mapping[str, InputSpec], connections: ConnectionSource
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
            resolved[name] = connections.get(value)
        elif isinstance(value, Mapping) and configurations:
            resolved[name] = configuration_from_dict(value, _concrete(configurations), connections)
        elif isinstance(value, str):
            spec = declared.get(name) or inferred.get(name)
            resolved[name] = _coerce_init_text(name, value, spec)
        else:
            resolved[name] = value
    return resolved


def _concrete(classes: tuple[type[ModelConfiguration], ...]) -> tuple[type[ModelConfiguration], ...]:
    if ModelConfiguration not in classes:
        return classes

    return tuple(ModelConfiguration.__subclasses__())


def _coerce_init_text(name: str, value: str, spec: InputSpec | None) -> Any:
    if spec is None or spec.type not in ("int", "double", "bool", "list", "object"):
        return value

    try:
        return coerce_literal(value, spec.type)
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
        specs = {name: spec for name, spec in self._specs.items() if not self._may_stay_away(name, spec, inputs)}
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
