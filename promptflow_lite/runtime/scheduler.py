"""Decides which nodes may start and which are bypassed; pure, so that every rule is tested without running anything."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from promptflow_lite.errors import UnsupportedReference
from promptflow_lite.flow import Reference, resolve_path
from promptflow_lite.runtime.plan import PlannedNode

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "is": operator.eq,
    "not": operator.ne,
    "in": lambda value, choices: value in choices,
    "not_in": lambda value, choices: value not in choices,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


class Progress:
    """How far one line is: outputs so far, what was bypassed, and how many dependencies each node still waits for."""

    __slots__ = ("_waiting", "bypassed", "n_open", "nodes", "outputs")

    def __init__(self, nodes: Sequence[PlannedNode]) -> None:
        self.nodes = nodes
        self.outputs: list[Any] = [None] * len(nodes)
        self.bypassed: list[bool] = [False] * len(nodes)
        self.n_open = len(nodes)
        """Nodes neither completed nor bypassed."""
        self._waiting = [len(node.dependencies) for node in nodes]

    def complete(self, index: int, output: Any, *, is_bypassed: bool = False) -> list[int]:
        """Record a finished node; returns the nodes that became ready, in file order."""
        self.outputs[index] = output
        self.bypassed[index] = is_bypassed
        self.n_open -= 1
        ready = []
        for dependent in self.nodes[index].dependents:
            if dependent < len(self._waiting):
                self._waiting[dependent] -= 1
                if self._waiting[dependent] == 0:
                    ready.append(dependent)
        return ready


def bypass_reason(node: PlannedNode, progress: Progress, inputs: Mapping[str, Any]) -> str | None:
    """Why a ready node is bypassed, or None when it is executed (contract 3.3).

    Args:
        inputs: Flow input values of the line (lists for aggregation nodes).
    """
    activate = node.spec.activate
    if activate is not None:
        if node.activate_source >= 0 and progress.bypassed[node.activate_source]:
            source = progress.nodes[node.activate_source].name
            return f"it depends on the node {source!r}, which has already been bypassed in the activate config"

        value = value_of(activate.when, progress, inputs, node.activate_source)
        if _COMPARE[activate.operator](value, activate.equals):
            return None

        when = activate.when.text if isinstance(activate.when, Reference) else activate.when
        return f"the activate condition is not met: {when} {activate.operator} {activate.equals!r} does not hold"

    if node.input_sources and all(progress.bypassed[source] for source in node.input_sources):
        names = sorted({progress.nodes[source].name for source in node.input_sources})
        return f"all nodes {names} it depends on are bypassed"

    return None


def value_of(value: Any, progress: Progress, inputs: Mapping[str, Any], source: int) -> Any:
    """The value of a reference (or the literal itself) at this point of the line.

    Raises:
        UnsupportedReference: a node reference names something other than its output.
        InvalidReferenceProperty: the property path does not exist.
    """
    if not isinstance(value, Reference):
        return value

    if source < 0:
        return inputs.get(value.name)

    if value.section != "output":
        raise UnsupportedReference(
            f"Reference {value.text!r} reads {value.section!r} of node {value.name!r}; only 'output' can be read.",
            hint=f"Write ${{{value.name}.output}}.",
        )

    return resolve_path(progress.outputs[source], value) if value.path else progress.outputs[source]
