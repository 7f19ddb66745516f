"""Nodes that run a whole flow: `type: flow` (a folder, yaml or `.prompty`), once or until a condition holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite.errors import FlowDefinitionError, InvalidSource, PromptflowException, ResolveToolError
from promptflow_lite.flow import Flow, NodeSpec, Reference, load_flow, resolve_path
from promptflow_lite.records import LineResult, NodeResult, Span
from promptflow_lite.runtime.plain import unwrap_output
from promptflow_lite.tools import Parameter, ResolvedTool, ToolContext
from promptflow_lite.tools.base import NO_DEFAULT
from promptflow_lite.tracing import add_usage, close_span, open_span
from promptflow_lite.tracing.scope import detach_span

if TYPE_CHECKING:
    from promptflow_lite.runtime.base import LineExecutor

_being_prepared: ContextVar[tuple[Path, ...]] = ContextVar("pfl_flows_being_prepared", default=())


def is_subflow(node: NodeSpec) -> bool:
    """Whether a node runs a flow or a prompty."""
    is_prompty = node.source is not None and str(node.source.path or "").endswith(".prompty")
    return node.type in ("flow", "prompty") or (is_prompty and node.type in ("llm", "prompt"))


def resolve_subflow_tool(node: NodeSpec, context: ToolContext) -> ResolvedTool:
    """Load the flow that a node runs and prepare it.

    Raises:
        ResolveToolError: the flow does not exist, cannot be prepared, or contains itself.
    """
    try:
        return _resolve(node, context)
    except ResolveToolError:
        raise
    except PromptflowException as error:
        raise ResolveToolError(node.name, error) from error


def _resolve(node: NodeSpec, context: ToolContext) -> ResolvedTool:
    from promptflow_lite.runtime.create import create_executor

    if node.source is None or not node.source.path:
        raise InvalidSource(
            f"Node {node.name!r} names no flow.",
            hint="Add `source: {path: ../other_flow}` to the node.",
            where=node.where,
        )

    path = (context.root / node.source.path).resolve()
    with _guarded_against_cycles(path, node):
        flow = load_flow(path)
        executor = create_executor(flow, context.connections)
    return ResolvedTool(
        name=flow.name,
        call=_SubflowCall(flow, executor, node),
        parameters=_parameters(executor),
        literals={name: value for name, value in node.inputs.items() if not isinstance(value, Reference)},
        cache_parts=("flow", *_cache_parts(flow, executor)),
    )


@contextmanager
def _guarded_against_cycles(path: Path, node: NodeSpec) -> Iterator[None]:
    chain = _being_prepared.get()
    if path in chain:
        raise FlowDefinitionError(
            f"Node {node.name!r} runs the flow {path.name!r}, which contains this node.",
            hint="A flow cannot run itself; use `repeat` to run one again.",
            where=node.where,
        )

    token = _being_prepared.set((*chain, path))
    try:
        yield
    finally:
        _being_prepared.reset(token)


def _parameters(executor: LineExecutor) -> dict[str, Parameter]:
    return {
        name: Parameter(name=name, types=(spec.type,), default=NO_DEFAULT if spec.default is None else spec.default)
        for name, spec in executor.input_specs.items()
    }


def _cache_parts(flow: Flow, executor: LineExecutor) -> tuple[Any, ...]:
    """Everything that decides about the sub-flow's outputs beside its inputs."""
    plan = getattr(executor, "plan", None)
    if plan is None:
        return (repr(flow), flow.path.read_text(encoding="utf-8") if flow.path else "")

    return tuple((node.name, repr(node.spec), node.tool.cache_parts) for node in plan.nodes)


class _SubflowCall:
    """The callable of a sub-flow node."""

    def __init__(self, flow: Flow, executor: LineExecutor, node: NodeSpec) -> None:
        self._flow = flow
        self._executor = executor
        self._repeat = node.repeat

    def __call__(self, **inputs: Any) -> Any:
        output = self._run_once(inputs)
        if self._repeat is None:
            return output

        for _ in range(1, self._repeat.max):
            if _value(self._repeat.until, output):
                break

            inputs = {**inputs, **{name: _value(value, output) for name, value in self._repeat.carry.items()}}
            output = self._run_once(inputs)
        return output

    def _run_once(self, inputs: Mapping[str, Any]) -> Any:
        span, token = open_span(self._flow.name, "Flow", dict(inputs))
        detach_span(token)
        line = self._executor.run_line(inputs)
        span.children.extend(_children(line))
        output = unwrap_output(line.output)
        close_span(span, None, output=output, error=line.error)
        add_usage(line.usage)
        if line.exception is not None:
            raise line.exception

        return output


def _children(line: LineResult) -> list[Span]:
    return [*line.spans, *(_node_span(node) for node in line.nodes)]


def _node_span(node: NodeResult) -> Span:
    start = node.start_time or 0.0
    return Span(
        name=node.node,
        kind="Tool",
        start_time=start,
        end_time=node.end_time,
        inputs=node.inputs,
        output=node.output,
        error=node.error,
        usage=node.usage,
        attributes={"status": node.status.value},
        children=node.spans,
    )


def _value(value: Any, output: Any) -> Any:
    """A literal, or what `${outputs.NAME}` reads from the sub-flow's outputs."""
    if not isinstance(value, Reference):
        return value

    outputs = output if isinstance(output, Mapping) else {"output": output}
    if value.kind != "output" or value.name not in outputs:
        raise FlowDefinitionError(
            f"{value.text!r} reads no output of the sub-flow; it has {', '.join(sorted(outputs))}.",
            hint="Write ${outputs.NAME}.",
        )

    return resolve_path(outputs[value.name], value)
