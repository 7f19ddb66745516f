"""Flows: open one ready to run, test it or one of its nodes, validate it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import DagFlow, FlexFlow, Flow, InputSpec, PromptyFlow, load_flow
from promptflow_lite.flow.chat import history_input
from promptflow_lite.records import LineResult, NodeResult, Status
from promptflow_lite.runtime import (
    AggregationResult,
    LineExecutor,
    captured_prints,
    create_executor,
    flow_process,
    resolve_environment,
    run_node_alone,
    unwrap_output,
)
from promptflow_lite.settings import env_float
from promptflow_lite.tools import ToolContext

if TYPE_CHECKING:
    from promptflow_lite.connections import ConnectionSource


@dataclass(slots=True)
class TestResult:
    """What testing a flow gave."""

    line: LineResult
    aggregation: AggregationResult | None = None
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> dict[str, Any]:
        """The flow's outputs. Raises the error of a line that failed."""
        if self.line.exception is not None:
            raise self.line.exception

        return self.line.output or {}

    @property
    def plain_output(self) -> Any:
        """What the flow itself returned: its outputs, or the plain value of a flow without named outputs."""
        return unwrap_output(self.output)


@dataclass(slots=True)
class OpenFlow:
    """A flow whose code is loaded, inside its own working directory."""

    flow: Flow
    executor: LineExecutor

    def test(self, inputs: Mapping[str, Any], *, allow_stream: bool = False) -> TestResult:
        """Run the flow once, and its aggregation nodes over that one line.

        Raises:
            UserErrorException: required inputs are missing.
        """
        given = complete_inputs(self.executor.input_specs, inputs, self.flow)
        line = self.executor.run_line(given, allow_stream=allow_stream, timeout_s=env_float("PF_LINE_TIMEOUT_SEC"))
        result = TestResult(line)
        if self.executor.has_aggregation and line.status is Status.COMPLETED:
            line.line_number = 0
            result.aggregation = self.executor.run_aggregation([self.executor.aggregation_values(line)])
            result.metrics = result.aggregation.metrics
            line.line_number = None

        return result


class FlowOperations:
    """What a client can do with flows.

    Args:
        connections: Where flows find their connections.
    """

    def __init__(self, connections: ConnectionSource) -> None:
        self._connections = connections

    @contextmanager
    def open(
        self,
        flow: str | Path | Flow,
        *,
        variant: str | None = None,
        environment_variables: Mapping[str, str] | None = None,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        init: Mapping[str, Any] | None = None,
        show_prints: bool = True,
    ) -> Iterator[OpenFlow]:
        """Load a flow and its code for as long as the context lasts.

        Args:
            flow: Folder, file or `module:attr`.
            variant: `${node.variant}`.
            environment_variables: Set for the flow's code, over those that the flow declares.
            connections: Node name -> inputs to replace.
            init: Constructor values of a flex class, or overrides of a prompty.
            show_prints: Whether what user code prints is shown beside being recorded.

        Raises:
            PromptflowException: the flow cannot be loaded or prepared.
        """
        loaded = load_flow(flow, variant=variant) if isinstance(flow, str | Path) else flow
        environment = resolve_environment(loaded.environment_variables, environment_variables or {}, self._connections)
        with flow_process(loaded.root, environment), captured_prints(echo=show_prints):
            executor = create_executor(loaded, self._connections, connection_overrides=connections, init=init)
            try:
                yield OpenFlow(loaded, executor)
            finally:
                executor.close()

    def test(
        self,
        flow: str | Path | Flow,
        *,
        inputs: Mapping[str, Any] | None = None,
        variant: str | None = None,
        environment_variables: Mapping[str, str] | None = None,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        init: Mapping[str, Any] | None = None,
        show_prints: bool = True,
    ) -> TestResult:
        """Run a flow once.

        Returns:
            The outcome; a failing flow is in `result.line`, and `result.output` raises its error.

        Raises:
            PromptflowException: the flow cannot be loaded or prepared, or required inputs are missing.
        """
        with self.open(
            flow,
            variant=variant,
            environment_variables=environment_variables,
            connections=connections,
            init=init,
            show_prints=show_prints,
        ) as opened:
            return opened.test(inputs or {})

    def test_node(
        self,
        flow: str | Path | DagFlow,
        node: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        variant: str | None = None,
        environment_variables: Mapping[str, str] | None = None,
        show_prints: bool = True,
    ) -> NodeResult:
        """Run one node by itself; see `runtime.run_node_alone` for how its inputs are given.

        Raises:
            PromptflowException: the flow or the node cannot be prepared, or a value is missing.
        """
        loaded = load_flow(flow, variant=variant) if isinstance(flow, str | Path) else flow
        if not isinstance(loaded, DagFlow):
            raise UserErrorException("Only flows with nodes can have a node tested.", hint="Leave out --node.")

        environment = resolve_environment(loaded.environment_variables, environment_variables or {}, self._connections)
        context = ToolContext(root=loaded.root, connections=self._connections, message_format=loaded.message_format)
        with flow_process(loaded.root, environment), captured_prints(echo=show_prints):
            return run_node_alone(loaded, node, inputs or {}, context)


def _sample_inputs(flow: Flow) -> dict[str, Any]:
    """The inputs that a flex flow or a prompty uses when none are given."""
    if isinstance(flow, FlexFlow):
        return dict(flow.sample.get("inputs") or {})

    return dict(flow.sample or {}) if isinstance(flow, PromptyFlow) else {}


def complete_inputs(specs: Mapping[str, InputSpec], inputs: Mapping[str, Any], flow: Flow) -> dict[str, Any]:
    """Given inputs, with an empty chat history where none is given.

    Raises:
        UserErrorException: inputs without default are missing; names all of them.
    """
    given = dict(inputs) or _sample_inputs(flow)
    history = history_input(specs)
    if history and history not in given and history in specs and specs[history].default is None:
        given[history] = []

    missing = [name for name, spec in specs.items() if spec.default is None and name not in given]
    if missing:
        raise UserErrorException(
            f'Required input(s) {missing} are missing for "{flow.name}".',
            hint=f"Give them, for example: --inputs {missing[0]}=VALUE",
        )

    return given
