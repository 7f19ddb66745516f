"""The graph of a DAG flow: reference checks, cycles and the order of nodes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import (
    DuplicateNodeName,
    InputReferenceNotFound,
    InvalidFlowRequest,
    InvalidNodeReference,
    Location,
    NodeCircularDependency,
    NodeReferenceNotFound,
)
from promptflow_lite.flow.model import InputSpec, NodeSpec
from promptflow_lite.flow.references import Reference

Report = Callable[[InvalidFlowRequest, NodeSpec, Reference | None], None]
"""Told about each error: the error, the node it is in, and the reference behind it."""


def dependencies(nodes: Iterable[NodeSpec]) -> dict[str, list[str]]:
    """Node name -> names of the nodes it refers to, without repeats, in the order of the file."""
    return {
        node.name: list(dict.fromkeys(ref.name for ref in node.references() if ref.kind == "node")) for node in nodes
    }


def check_references(
    nodes: Sequence[NodeSpec],
    inputs: Mapping[str, InputSpec],
    report: Report,
    *,
    known_nodes: Iterable[str] = (),
) -> None:
    """Report duplicate names, references that lead nowhere, and misuse of aggregation nodes.

    Args:
        nodes: The nodes, in file order.
        inputs: The flow's inputs.
        report: Receives the errors.
        known_nodes: Names of nodes that exist beside `nodes`, such as ones too broken to parse.
    """
    by_name: dict[str, NodeSpec] = {}
    for node in nodes:
        if node.name in by_name:
            message = f"Two nodes are named {node.name!r}."
            hint = "Every node needs a name of its own."
            report(DuplicateNodeName(message, hint=hint, where=node.where, node=node.name), node, None)
        by_name.setdefault(node.name, node)

    names = [*by_name, *known_nodes]
    for node in nodes:
        for reference in node.references():
            if reference.kind == "input":
                _check_input(node, reference, inputs, report)
            elif reference.name not in names:
                _report_unknown_node(node, reference, names, inputs, report)
            elif reference.name in by_name:
                _check_aggregation(node, by_name[reference.name], reference, report)


def _check_input(node: NodeSpec, reference: Reference, inputs: Mapping[str, InputSpec], report: Report) -> None:
    if reference.name in inputs:
        return

    head = reference.name.split(".")[0].split("[")[0]
    if head in inputs and head != reference.name:
        hint: str | None = f"A flow input has no properties to reach; pass ${{inputs.{head}}} whole."
    else:
        hint = did_you_mean(reference.name, inputs) or "The flow declares no inputs."

    message = f"Node {node.name!r} reads {reference.text!r}, but the flow has no input named {reference.name!r}."
    report(
        InputReferenceNotFound(message, hint=hint, where=node.where, node=node.name, reference=reference.text),
        node,
        reference,
    )


def _report_unknown_node(
    node: NodeSpec, reference: Reference, names: Sequence[str], inputs: Mapping[str, InputSpec], report: Report
) -> None:
    if reference.name in inputs:
        hint: str | None = f"{reference.name!r} is a flow input: write ${{inputs.{reference.name}}}."
    else:
        hint = did_you_mean(reference.name, [name for name in names if name != node.name])

    message = f"Node {node.name!r} reads {reference.text!r}, but no node is named {reference.name!r}."
    report(
        NodeReferenceNotFound(message, hint=hint, where=node.where, node=node.name, reference=reference.text),
        node,
        reference,
    )


def _check_aggregation(node: NodeSpec, target: NodeSpec, reference: Reference, report: Report) -> None:
    if not node.aggregation and target.aggregation:
        message = f"Node {node.name!r} reads {reference.text!r}, but {target.name!r} aggregates over all lines."
        hint = f"Only aggregation nodes can read it: set 'aggregation: true' on {node.name!r}."
    elif node.aggregation and not target.aggregation and node.activate and node.activate.when is reference:
        message = (
            f"The condition of aggregation node {node.name!r} reads {reference.text!r}, which has a value per line."
        )
        hint = "The condition of an aggregation node may read flow inputs and other aggregation nodes."
    else:
        return

    report(
        InvalidNodeReference(message, hint=hint, where=node.where, node=node.name, reference=reference.text),
        node,
        reference,
    )


def find_cycle(graph: Mapping[str, Sequence[str]]) -> list[str] | None:
    """A shortest way around the first loop found, such as `["a", "b", "a"]`; None when there is none."""
    remaining = _unplaced(graph)
    if not remaining:
        return None

    best: list[str] | None = None
    for start in sorted(remaining):
        loop = _loop_through(start, graph, remaining)
        if loop and (best is None or len(loop) < len(best)):
            best = loop

    return best


def _loop_through(start: str, graph: Mapping[str, Sequence[str]], allowed: set[str]) -> list[str] | None:
    """Breadth-first from `start` along dependencies, back to `start`; the loop in the direction of the data."""
    came_from: dict[str, str] = {}
    queue = [start]
    for name in queue:
        for dependency in graph[name]:
            if dependency == start:
                loop = [start, name]
                while name != start:
                    name = came_from[name]
                    loop.append(name)

                return loop

            if dependency in allowed and dependency not in came_from:
                came_from[dependency] = name
                queue.append(dependency)

    return None


def _unplaced(graph: Mapping[str, Sequence[str]]) -> set[str]:
    placed = set(order_names(graph))
    return {name for name in graph if name not in placed}


def order_names(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """Names in an order in which dependencies come first: repeatedly the first name whose dependencies are placed.

    Names on or behind a loop are left out. Cost: `O((nodes + edges) log nodes)`.
    """
    names = list(graph)
    rank = {name: index for index, name in enumerate(names)}
    missing = {name: sum(dependency in rank for dependency in graph[name]) for name in names}
    readers: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for dependency in graph[name]:
            if dependency in rank:
                readers[dependency].append(name)

    ready = [rank[name] for name in names if not missing[name]]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for reader in readers[name]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, rank[reader])

    return order


def cycle_error(nodes: Sequence[NodeSpec]) -> NodeCircularDependency | None:
    """The error of a flow whose nodes depend on each other in a loop, else None."""
    graph = dependencies(nodes)
    loop = find_cycle(graph)
    if loop is None:
        return None

    where: Location | None = next((node.where for node in nodes if node.name == loop[0]), None)
    return NodeCircularDependency(
        f"The nodes depend on each other in a loop: {' -> '.join(loop)}.",
        hint="Remove one of these references.",
        where=where,
        cycle=loop,
        nodes=sorted(_unplaced(graph)),
    )


def sort_nodes(nodes: Sequence[NodeSpec]) -> tuple[NodeSpec, ...]:
    """Nodes in an order in which dependencies come first; a file in good order keeps it."""
    by_name = {node.name: node for node in nodes}
    return tuple(by_name[name] for name in order_names(dependencies(nodes)))
