"""Flows as Python functions: `load_flow("folder")(question="...")`."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite._utils.attributes import AttributeDict
from promptflow_lite.connections import Connection, ConnectionSource, DictConnectionSource
from promptflow_lite.errors import MissingRequiredFlowInput, UserErrorException
from promptflow_lite.flow import FlexFlow
from promptflow_lite.flow import Flow as FlowData
from promptflow_lite.flow import load_flow as load_flow_data
from promptflow_lite.records import LineResult
from promptflow_lite.runtime import (
    LineExecutor,
    RecordingIterator,
    create_executor,
    resolve_environment,
    unwrap_output,
)
from promptflow_lite.sdk.local_connections import LocalConnections
from promptflow_lite.sdk.prompty import AsyncPrompty, Prompty, iterate_async
from promptflow_lite.settings import set_env


@dataclass
class FlowContext:
    """How a flow behaves when it is called.

    Args:
        connections: Node name -> inputs to replace; values are names or connection objects.
        variant: `${node.variant}`.
        overrides: Dotted path in the flow's yaml -> value; nodes by name (`nodes.fetch.inputs.url`).
        streaming: Outputs that stream are returned as generators.
        environment_variables: Set before the flow's code is loaded.
    """

    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    variant: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    streaming: bool = False
    environment_variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connections = dict(self.connections or {})
        self.overrides = dict(self.overrides or {})
        self.environment_variables = dict(self.environment_variables or {})


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """What one call of a flow gave, with its records."""

    output: dict[str, Any]
    run_info: AttributeDict
    node_run_infos: dict[str, AttributeDict]
    aggregation_inputs: dict[str, Any]


class Flow:
    """A flow that can be called with its inputs.

    Args:
        source: A flow's folder or file.
        always_streams: Whether outputs stream without being asked to.
    """

    def __init__(self, source: str | os.PathLike[str], *, always_streams: bool = False) -> None:
        self._source = Path(source).absolute()
        self._data: FlowData = load_flow_data(source)
        self._always_streams = always_streams
        self._context = FlowContext()
        self._prepared: tuple[Any, LineExecutor] | None = None

    @classmethod
    def load(cls, source: str | os.PathLike[str], **kwargs: Any) -> Any:
        """A flow, or a `Prompty` for a `.prompty` file.

        Raises:
            UserErrorException: there is no flow at `source`.
        """
        if Path(source).suffix == ".prompty":
            return (AsyncPrompty if issubclass(cls, AsyncFlow) else Prompty).load(source, **kwargs)

        return cls(source, always_streams=True)

    @property
    def path(self) -> Path:
        """The flow's file."""
        return self._data.path or self._source

    @property
    def code(self) -> Path:
        """The flow's folder."""
        return self._data.root

    @property
    def name(self) -> str:
        return self._data.name

    @property
    def display_name(self) -> str:
        return self._data.display_name or self.name

    @property
    def type(self) -> str:
        return self._data.type

    @property
    def inputs(self) -> dict[str, Any]:
        """Declared inputs."""
        return dict(self._data.inputs or {})

    @property
    def outputs(self) -> dict[str, Any]:
        """Declared outputs."""
        return dict(self._data.outputs or {})

    @property
    def context(self) -> FlowContext:
        """How the flow behaves when it is called; may be replaced or changed at any time."""
        return self._context

    @context.setter
    def context(self, value: FlowContext) -> None:
        self._context = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The flow's outputs for these inputs.

        Raises:
            UserErrorException: positional arguments, or a flex flow.
            MissingRequiredFlowInput: an input without default is missing.
            PromptflowException: the flow failed.
        """
        if args:
            raise UserErrorException("Flow can only be called with keyword arguments.", hint="Write flow(url='...').")

        return self._outputs(self._run(kwargs, None))

    def invoke(self, inputs: Mapping[str, Any], connections: Mapping[str, Any] | None = None) -> InvokeResult:
        """One call with its records.

        Args:
            inputs: Values of the flow's inputs.
            connections: Connection objects by name, used instead of the stored ones.
        """
        return self._invoke_result(self._run(inputs, connections))

    def _invoke_result(self, line: LineResult) -> InvokeResult:
        from promptflow_lite.sdk.run_info import flow_run_info, node_run_info

        return InvokeResult(
            output=self._outputs(line),
            run_info=AttributeDict(flow_run_info(line)),
            node_run_infos={node.node: AttributeDict(node_run_info(node, line)) for node in line.nodes},
            aggregation_inputs={},
        )

    def _outputs(self, line: LineResult) -> Any:
        return unwrap_output(line.output)

    def _run(self, inputs: Mapping[str, Any], connections: Mapping[str, Any] | None) -> LineResult:
        if isinstance(self._data, FlexFlow):
            raise UserErrorException(
                "FlexFlow can not be called as a function.",
                hint=f"Import the entry {self._data.entry!r} and call it directly.",
            )

        with _working_directory(self._data.root):
            executor = self._executor(connections)
            missing = [
                name for name, spec in executor.input_specs.items() if spec.default is None and name not in inputs
            ]
            if missing:
                raise MissingRequiredFlowInput(
                    f"Required input fields {missing} are missing in request data {dict(inputs)!r}.",
                    hint=f"Pass {', '.join(f'{name}=…' for name in missing)}.",
                )

            line = executor.run_line(inputs, allow_stream=self._always_streams or self._context.streaming)
        if line.exception is not None:
            raise line.exception

        return line

    def _executor(self, connections: Mapping[str, Any] | None) -> LineExecutor:
        """The executor for the present context; kept until the context changes."""
        key = (_key_of(self._context), {name: id(value) for name, value in (connections or {}).items()})
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = (key, self._make_executor(connections))

        return self._prepared[1]

    def _make_executor(self, connections: Mapping[str, Any] | None) -> LineExecutor:
        data = self._data
        context = self._context
        if context.variant or context.overrides:
            data = load_flow_data(self._source, variant=context.variant, overrides=context.overrides)

        source = _source_of(connections)
        set_env(resolve_environment(data.environment_variables, context.environment_variables, source))
        return create_executor(data, source, connection_overrides=context.connections)


class AsyncFlow(Flow):
    """A flow whose call is awaited; outputs that stream are async generators."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See `Flow.__call__`."""
        if args:
            raise UserErrorException("Flow can only be called with keyword arguments.", hint="Write flow(url='...').")

        return self._outputs(await asyncio.to_thread(self._run, kwargs, None))

    async def invoke(  # type: ignore[override]  # awaited, as the original's is
        self, inputs: Mapping[str, Any], connections: Mapping[str, Any] | None = None
    ) -> InvokeResult:
        """See `Flow.invoke`."""
        return self._invoke_result(await asyncio.to_thread(self._run, inputs, connections))

    def _outputs(self, line: LineResult) -> Any:
        outputs = unwrap_output(line.output)
        if not isinstance(outputs, Mapping):
            return outputs

        return {
            name: iterate_async(iter(value)) if isinstance(value, RecordingIterator) else value
            for name, value in outputs.items()
        }


def load_flow(
    source: str | os.PathLike[str], relative_origin: str | os.PathLike[str] | None = None, **overrides: Any
) -> Any:
    """A flow as a function, or a `Prompty` for a `.prompty` file.

    Args:
        source: A flow's folder or file.
        relative_origin: What a relative `source` is relative to, instead of the current folder.
        overrides: Merged over the front matter of a prompty, for example `model={"configuration": …}`; of no effect
            on other flows.

    Raises:
        UserErrorException: there is no flow at `source`.
    """
    path = Path(source)
    if relative_origin is not None and not path.is_absolute():
        origin = Path(relative_origin)
        path = (origin if origin.is_dir() else origin.parent) / path

    return Prompty.load(path, **overrides) if path.suffix == ".prompty" else Flow(path)


def _key_of(context: FlowContext) -> Any:
    """What of a context decides about the executor; connection objects count by identity."""
    replaced = [
        (node, name, id(value) if isinstance(value, Connection) else repr(value))
        for node, values in context.connections.items()
        for name, value in values.items()
    ]
    return context.variant, repr(context.overrides), repr(context.environment_variables), replaced


def _source_of(connections: Mapping[str, Any] | None) -> ConnectionSource:
    given = {name: value for name, value in (connections or {}).items() if isinstance(value, Connection)}
    return DictConnectionSource(given) if given else LocalConnections()


_folders_before: dict[str, tuple[int, str]] = {}
"""Flow folder -> calls in it that are under way, and the folder before the first of them."""
_folders_lock = threading.Lock()


@contextmanager
def _working_directory(root: Path) -> Iterator[None]:
    """Run in the flow's folder; calls of one flow may overlap, and the last to end restores the folder before them."""
    key = str(root)
    with _folders_lock:
        count, before = _folders_before.get(key, (0, os.getcwd()))
        _folders_before[key] = (count + 1, before)
        os.chdir(root)
    try:
        yield
    finally:
        with _folders_lock:
            count, before = _folders_before.pop(key)
            if count > 1:
                _folders_before[key] = (count - 1, before)
            else:
                os.chdir(before)
