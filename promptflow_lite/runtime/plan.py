"""A flow made ready to run: tools resolved, bindings and dependencies turned into indexes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptflow_lite.flow import DagFlow, NodeSpec, OutputSpec, Reference
from promptflow_lite.runtime.cache import cached_tool
from promptflow_lite.runtime.mapped import mapped_node
from promptflow_lite.runtime.subflow import is_subflow, resolve_subflow_tool
from promptflow_lite.tools import ResolvedTool, ToolContext, resolve_tool


@dataclass(frozen=True, slots=True)
class Binding:
    """One referenced input of a node."""

    parameter: str
    reference: Reference
    source: int
    """Index of the node it reads, or -1 for a flow input."""
    has_default: bool
    """The tool's parameter has a default, so the argument may be left out."""


@dataclass(slots=True, kw_only=True)
class PlannedNode:
    """A node with its tool and its place in the graph."""

    index: int
    spec: NodeSpec
    tool: ResolvedTool
    bindings: tuple[Binding, ...]
    dependencies: tuple[int, ...]
    """Nodes that must be finished first, activate's among them."""
    input_sources: tuple[int, ...]
    """Nodes that inputs refer to; all bypassed means this node is bypassed too."""
    dependents: tuple[int, ...] = ()
    activate_source: int = -1
    """Node that `activate.when` reads, or -1."""
    is_streamable: bool = False
    """An output reads this node and no other node does, so its tool may be told to stream."""

    @property
    def name(self) -> str:
        return self.spec.name


@dataclass(slots=True, kw_only=True)
class ExecutionPlan:
    """Everything needed to run lines of one flow; shared by all threads and never changed."""

    flow: DagFlow
    nodes: tuple[PlannedNode, ...]
    """Nodes of the line, in topological order."""
    aggregation_nodes: tuple[PlannedNode, ...]
    outputs: tuple[OutputSpec, ...]
    index_by_name: Mapping[str, int] = field(default_factory=dict)
    roots: tuple[int, ...] = ()

    @property
    def is_chain(self) -> bool:
        """No two nodes can ever be ready together."""
        return all(node.index == 0 or node.dependencies == (node.index - 1,) for node in self.nodes)


def plan_flow(flow: DagFlow, context: ToolContext) -> ExecutionPlan:
    """Resolve every node's tool and lay out the graph.

    Raises:
        ResolveToolError: a node's tool cannot be prepared.
    """
    line_specs = [node for node in flow.nodes if not node.aggregation]
    aggregation_specs = [node for node in flow.nodes if node.aggregation]
    index_by_name = {node.name: index for index, node in enumerate([*line_specs, *aggregation_specs])}
    planned = [
        _plan_node(index_by_name[spec.name], *prepare_node(spec, context), index_by_name)
        for spec in [*line_specs, *aggregation_specs]
    ]
    for node in planned:
        node.dependents = tuple(other.index for other in planned if node.index in other.dependencies)

    read_by_output = {output.reference.name for output in flow.outputs.values() if output.reference}
    for node in planned:
        node.is_streamable = node.name in read_by_output and not node.dependents

    line_nodes = tuple(planned[: len(line_specs)])
    return ExecutionPlan(
        flow=flow,
        nodes=line_nodes,
        aggregation_nodes=tuple(planned[len(line_specs) :]),
        outputs=tuple(flow.outputs.values()),
        index_by_name=index_by_name,
        roots=tuple(node.index for node in line_nodes if not node.dependencies),
    )


def prepare_node(spec: NodeSpec, context: ToolContext) -> tuple[NodeSpec, ResolvedTool]:
    """A node's tool, and the node as it is executed: cached, mapped over a list, or running a flow of its own.

    Raises:
        ResolveToolError: the tool cannot be prepared.
    """
    tool = resolve_subflow_tool(spec, context) if is_subflow(spec) else resolve_tool(spec, context)
    if spec.enable_cache:
        tool = cached_tool(spec.name, tool, context.root)

    return mapped_node(spec, tool)


def _plan_node(index: int, spec: NodeSpec, tool: ResolvedTool, index_by_name: Mapping[str, int]) -> PlannedNode:
    def source_of(reference: Reference) -> int:
        return index_by_name[reference.name] if reference.kind == "node" else -1

    bindings = tuple(
        Binding(
            parameter=name,
            reference=value,
            source=source_of(value),
            has_default=name in tool.parameters and tool.parameters[name].has_default,
        )
        for name, value in spec.inputs.items()
        if isinstance(value, Reference)
    )
    when = spec.activate.when if spec.activate else None
    activate_source = source_of(when) if isinstance(when, Reference) else -1
    input_sources = tuple(binding.source for binding in bindings if binding.source >= 0)
    return PlannedNode(
        index=index,
        spec=spec,
        tool=tool,
        bindings=bindings,
        dependencies=tuple(sorted({*input_sources, *([activate_source] if activate_source >= 0 else [])})),
        input_sources=input_sources,
        activate_source=activate_source,
    )
