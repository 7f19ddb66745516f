"""From a row back to the prompt: run a recorded line again with an edit, and keep the edit as a variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import RunOperationParameterError
from promptflow_lite.evals.grid import Cell, load_cell
from promptflow_lite.flow import DagFlow, SourceSpec, load_flow
from promptflow_lite.flow.edit import AddVariant, SetNodeField, SetNodeInput, apply, read_for_edit, save
from promptflow_lite.flow.topology import sort_nodes
from promptflow_lite.records import LineResult, RunRecord, Status
from promptflow_lite.runtime import DagExecutor, create_executor, flow_process, resolve_environment

if TYPE_CHECKING:
    from promptflow_lite.connections import ConnectionSource
    from promptflow_lite.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """Which line to run again, and what to change."""

    run: str
    line: int
    node: str | None = None
    """Start here: nodes before it keep their recorded outputs. None runs the whole line."""
    variant: str | None = None
    """Variant of `node`."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of `node` to replace."""
    template: str | Path | None = None
    """A file that replaces the template or code of `node`."""
    line_inputs: Mapping[str, Any] = field(default_factory=dict)
    """Flow inputs to replace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The line as it was and as it is now."""

    before: LineResult
    after: LineResult
    reused: tuple[str, ...]
    """Nodes that kept their recorded output."""

    @property
    def is_changed(self) -> bool:
        return self.before.output != self.after.output or self.before.status is not self.after.status


class ReplayOperations:
    """Runs recorded lines again; nothing is recorded.

    Args:
        store: Where lines are recorded.
        connections: Where flows find their connections.
    """

    def __init__(self, store: Store, connections: ConnectionSource) -> None:
        self._store = store
        self._connections = connections

    def run(self, request: ReplayRequest) -> Replay:
        """Run a recorded line again.

        Raises:
            RunNotFoundError: there is no such run.
            RunOperationParameterError: there is no such line or node, or the flow has no nodes.
        """
        record = self._store.runs.get(request.run)
        before = self._line(record, request.line)
        flow = _edited(_recorded_flow(record), request)
        environment = resolve_environment(
            flow.environment_variables, record.environment_variables or {}, self._connections
        )
        with flow_process(flow.root, environment):
            executor = create_executor(flow, self._connections, connection_overrides=record.connections)
            if not isinstance(executor, DagExecutor):
                raise _no_nodes(record)

            try:
                reused = _reuse(executor, before, request.node)
                inputs = {**(before.inputs or {}), **request.line_inputs}
                after = executor.run_line(inputs, line_number=request.line)
            finally:
                executor.close()

        return Replay(before=before, after=after, reused=tuple(reused))

    def promote(self, request: ReplayRequest, name: str) -> Path:
        """Write the edit of a replay into the flow as a new variant of its node; comments and order stay.

        Args:
            request: The edit; `node` must be given.
            name: Of the new variant.
        Returns:
            The flow's file.
        Raises:
            FlowEditError: the node or the variant's name does not fit the flow.
        """
        if request.node is None:
            raise RunOperationParameterError("A variant belongs to a node.", hint="Name the node with --node.")

        record = self._store.runs.get(request.run)
        flow = _recorded_flow(record)
        cell = record.properties.get("cell") or {}
        copied = request.variant or (cell.get("variants") or {}).get(request.node) or _variant_of(record, request.node)
        path = flow.path
        text, digest = read_for_edit(path)
        text = apply(text, AddVariant(node=request.node, variant=name, copy_of=copied))
        for key, value in request.inputs.items():
            text = apply(text, SetNodeInput(node=request.node, input=key, value=value, variant=name))

        if request.template is not None:
            copy = _copy_template(Path(request.template), path.parent, request.node, name)
            text = apply(text, SetNodeField(node=request.node, key="source.path", value=copy, variant=name))

        save(path, text, digest)
        return path

    def _line(self, record: RunRecord, number: int) -> LineResult:
        line = self._store.runs.line(record.name, number)
        if line is None:
            raise RunOperationParameterError(
                f"Run {record.name!r} has no line {number}.",
                hint=f"It has {record.completed_lines + record.failed_lines} lines.",
            )

        return line


def _recorded_flow(record: RunRecord) -> DagFlow:
    if record.properties.get("cell"):
        cell = Cell.from_dict(record.properties["cell"])
        return load_cell(record.flow, cell, repeat=record.properties.get("repeat") or 0)

    flow = load_flow(record.flow, variant=record.variant)
    if not isinstance(flow, DagFlow):
        raise _no_nodes(record)

    return flow


def _no_nodes(record: RunRecord) -> RunOperationParameterError:
    return RunOperationParameterError(f"The flow of run {record.name!r} has no nodes to replay.")


def _variant_of(record: RunRecord, node: str) -> str | None:
    """The variant that a run selected for a node."""
    chosen, _, variant = (record.variant or "").strip("${}").partition(".")
    return variant if chosen == node and variant else None


def _edited(flow: DagFlow, request: ReplayRequest) -> DagFlow:
    """The flow with the edit of its node in place."""
    if request.node is None:
        return flow

    nodes = {node.name: node for node in flow.nodes}
    if request.node not in nodes:
        raise RunOperationParameterError(f"There is no node {request.node!r}.", hint=did_you_mean(request.node, nodes))

    if request.variant:
        flow_with = load_cell(flow.path, Cell(variants={request.node: request.variant}))
        nodes[request.node] = next(node for node in flow_with.nodes if node.name == request.node)

    node = nodes[request.node]
    if request.template is not None:
        source = replace(node.source or SourceSpec(), path=str(Path(request.template).absolute()))
        node = replace(node, source=source)

    nodes[request.node] = replace(node, inputs={**node.inputs, **request.inputs})
    return replace(flow, nodes=sort_nodes(list(nodes.values())))


def _reuse(executor: DagExecutor, before: LineResult, start: str | None) -> list[str]:
    """Let nodes that do not depend on `start` give their recorded output; returns their names."""
    if start is None:
        return []

    fresh = {executor.plan.index_by_name[start]}
    reused = []
    for node in executor.plan.nodes:
        if fresh & set(node.dependencies):
            fresh.add(node.index)

        recorded = before.node(node.name)
        if node.index in fresh or recorded is None or recorded.status is not Status.COMPLETED:
            continue

        node.tool.call = lambda output=recorded.output, **_: output
        reused.append(node.name)

    return reused


def _copy_template(source: Path, folder: Path, node: str, variant: str) -> str:
    target = folder / f"{node}__{variant}{source.suffix}"
    if target.resolve() != source.resolve():
        target.write_text(source.read_text("utf-8"), "utf-8")

    return target.name
