"""Aggregation nodes: what they need of each line, and their execution over all succeeded lines (contract 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.errors import InvalidReferenceProperty
from promptflow_lite.flow import DagFlow, Reference, resolve_path
from promptflow_lite.records import LineResult, NodeResult, Status
from promptflow_lite.runtime.node import run_node
from promptflow_lite.runtime.observe import tell
from promptflow_lite.runtime.plan import ExecutionPlan, PlannedNode
from promptflow_lite.runtime.scheduler import Progress, bypass_reason


@dataclass(frozen=True, slots=True)
class LineValues:
    """One line's share of the lists that aggregation nodes receive."""

    line_number: int
    values: Mapping[str, Any]
    """Reference text -> value; an `InvalidReferenceProperty` instead of a value where the property was missing."""


@dataclass(slots=True)
class AggregationResult:
    """Outcome of all aggregation nodes."""

    nodes: list[NodeResult] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> NodeResult | None:
        return next((node for node in self.nodes if node.status is Status.FAILED), None)


def aggregation_references(flow: DagFlow) -> tuple[Reference, ...]:
    """What a flow's aggregation nodes read of every line: flow inputs and outputs of its other nodes."""
    aggregating = {node.name for node in flow.nodes if node.aggregation}
    found = [reference for node in flow.nodes if node.aggregation for reference in node.references()]
    return tuple({ref.text: ref for ref in found if ref.kind == "input" or ref.name not in aggregating}.values())


def line_values(references: Sequence[Reference], line: LineResult) -> LineValues:
    """Collect from a finished line, fresh or read back from the store, what aggregation nodes refer to."""
    values = {reference.text: _value_in(line, reference) for reference in references}
    return LineValues(line.line_number or 0, values)


def _value_in(line: LineResult, reference: Reference) -> Any:
    if reference.kind == "input":
        return (line.inputs or {}).get(reference.name)

    node = line.node(reference.name)
    if node is None or node.status is Status.BYPASSED:
        return None

    try:
        return resolve_path(node.output, reference)
    except InvalidReferenceProperty as error:
        return error


def run_aggregation(plan: ExecutionPlan, lines: Sequence[LineValues]) -> AggregationResult:
    """Run aggregation nodes in order over lists with one element a line.

    A failing node fails nothing else than the aggregation nodes after it, which are cancelled.
    """
    result = AggregationResult()
    progress = Progress([*plan.nodes, *plan.aggregation_nodes])
    for node in plan.aggregation_nodes:
        if result.failed is not None:
            result.nodes.append(NodeResult(node.name, Status.CANCELED))
            continue

        inputs = _flow_input_lists(node, lines)
        if bypass_reason(_aggregation_view(node, plan), progress, inputs) is not None:
            bypassed = NodeResult(node.name, Status.BYPASSED)
            result.nodes.append(bypassed)
            tell(bypassed)
            progress.complete(node.index, None, is_bypassed=True)
            continue

        outcome = _run_one(node, plan, lines, progress, result.metrics)
        result.nodes.append(outcome)
        result.outputs[node.name] = outcome.output
        progress.complete(node.index, outcome.output)
    return result


def _aggregation_view(node: PlannedNode, plan: ExecutionPlan) -> PlannedNode:
    """Only other aggregation nodes count when deciding about a bypass; line nodes arrive as lists."""
    return PlannedNode(
        index=node.index,
        spec=node.spec,
        tool=node.tool,
        bindings=node.bindings,
        dependencies=node.dependencies,
        input_sources=tuple(source for source in node.input_sources if source >= len(plan.nodes))
        if all(source >= len(plan.nodes) for source in node.input_sources)
        else (),
        activate_source=node.activate_source,
    )


def _flow_input_lists(node: PlannedNode, lines: Sequence[LineValues]) -> dict[str, Any]:
    when = node.spec.activate.when if node.spec.activate else None
    if isinstance(when, Reference) and when.kind == "input":
        return {when.name: [line.values.get(when.text) for line in lines]}

    return {}


def _run_one(
    node: PlannedNode,
    plan: ExecutionPlan,
    lines: Sequence[LineValues],
    progress: Progress,
    metrics: dict[str, Any],
) -> NodeResult:
    arguments = dict(node.tool.literals)
    for binding in node.bindings:
        if binding.source >= len(plan.nodes):
            if progress.bypassed[binding.source] and binding.has_default:
                continue

            arguments[binding.parameter] = resolve_path(progress.outputs[binding.source], binding.reference)
        else:
            values = [line.values[binding.reference.text] for line in lines]
            broken = next((value for value in values if isinstance(value, InvalidReferenceProperty)), None)
            if broken is not None:
                return _failed(node, broken)

            arguments[binding.parameter] = values
    return run_node(node, arguments, metrics=metrics)


def _failed(node: PlannedNode, error: InvalidReferenceProperty) -> NodeResult:
    from promptflow_lite.errors import error_to_dict

    return NodeResult(node.name, Status.FAILED, error=error_to_dict(error), exception=error)
