"""Runs one node by itself, with given values in place of its upstream nodes (contract 8.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import SingleNodeValidationError, UserErrorException
from promptflow_lite.flow import DagFlow, InputCoercion, NodeSpec, Reference, resolve_path
from promptflow_lite.records import NodeResult
from promptflow_lite.runtime.node import run_node
from promptflow_lite.runtime.plan import PlannedNode, prepare_node
from promptflow_lite.tools import ToolContext


def run_node_alone(flow: DagFlow, name: str, given: Mapping[str, Any], context: ToolContext) -> NodeResult:
    """Run one node; no other node's code is loaded.

    Args:
        given: Values keyed by what the node refers to (`inputs.x`, `upstream.output`, `upstream.output.prop`) or by the
            node's own input names, which also override its literals.

    Raises:
        SingleNodeValidationError: there is no such node.
        UserErrorException: a value is missing.
        ResolveToolError: the node's tool cannot be prepared.
    """
    spec = flow.node(name)
    if spec is None:
        raise SingleNodeValidationError(
            f"Node {name!r} is not found in the flow.", hint=did_you_mean(name, [node.name for node in flow.nodes])
        )

    spec, tool = prepare_node(spec, context)
    arguments = _referenced_values(flow, spec, given)
    arguments = {**tool.literals, **{key: given[key] for key in tool.parameters if key in given}, **arguments}
    node = PlannedNode(index=0, spec=spec, tool=tool, bindings=(), dependencies=(), input_sources=())
    return run_node(node, arguments, metrics={} if spec.aggregation else None)


def _referenced_values(flow: DagFlow, spec: NodeSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    flow_inputs = _flow_inputs(flow, spec, given)
    values: dict[str, Any] = {}
    missing = []
    for name, reference in spec.inputs.items():
        if not isinstance(reference, Reference):
            if name in given:
                values[name] = given[name]
        elif name in given:
            values[name] = given[name]
        elif reference.kind == "input" and reference.name in flow_inputs:
            values[name] = flow_inputs[reference.name]
        elif reference.kind == "node" and (found := _upstream_value(reference, given)) is not _MISSING:
            values[name] = found
        else:
            missing.append(name)
    if missing:
        raise UserErrorException(
            f'Required input(s) {missing} are missing for "{spec.name}".',
            hint="Give them as --inputs name=value, or under the name that the node refers to.",
        )

    return values


_MISSING: Any = object()


def _upstream_value(reference: Reference, given: Mapping[str, Any]) -> Any:
    exact = reference.text[2:-1]
    if exact in given:
        return given[exact]

    for key in (f"{reference.name}.output", reference.name):
        if key in given:
            return resolve_path(given[key], reference)

    return _MISSING


def _flow_inputs(flow: DagFlow, spec: NodeSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """Typed values of the flow inputs that the node refers to: given ones, else defaults."""
    names = {ref.name for ref in spec.references() if ref.kind == "input" and ref.name in flow.inputs}
    values = {}
    for name in names:
        for key in (f"inputs.{name}", f"flow.{name}", name):
            if key in given:
                values[name] = given[key]
                break
    specs = {name: flow.inputs[name] for name in names if name in values or flow.inputs[name].default is not None}
    return InputCoercion(specs, root=flow.root, message_format=flow.message_format)(values)
