"""A DAG flow as the studio draws it, read from the parsed file alone.

Unlike the loader this reading is forgiving: a flow with unknown references, cycles or missing files must still be
shown, because the studio is where such flows are mended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.flow import Reference, parse_reference


@dataclass(slots=True, kw_only=True)
class GraphNode:
    """One node with the variant that is shown."""

    name: str
    kind: str
    body: dict[str, Any]
    """The node's mapping, or that of the shown variant."""
    source: str | None
    """Its file, relative to the flow."""
    inputs: dict[str, Any] = field(default_factory=dict)
    variants: list[str] = field(default_factory=list)
    variant: str | None = None
    default_variant: str | None = None
    is_aggregation: bool = False
    is_mapped: bool = False
    is_cached: bool = False

    @property
    def activate(self) -> dict[str, Any] | None:
        """Its condition."""
        found = self.body.get("activate")
        return found if isinstance(found, dict) else None

    @property
    def tool(self) -> str | None:
        """The package tool that it calls."""
        found = _mapping(self.body.get("source")).get("tool")
        return found if isinstance(found, str) else None

    def references(self) -> Iterator[tuple[str, Reference]]:
        """Input name and reference; `activate` and `for_each` under those names."""
        for name, value in self.inputs.items():
            reference = as_reference(value)
            if reference is not None:
                yield name, reference

        candidates = {"for_each": self.body.get("for_each"), "activate": (self.activate or {}).get("when")}

        for name, value in candidates.items():
            found = as_reference(value)
            if found is not None:
                yield name, found


@dataclass(slots=True, kw_only=True)
class Graph:
    """Inputs, nodes and outputs in file order."""

    inputs: dict[str, dict[str, Any]]
    nodes: dict[str, GraphNode]
    outputs: dict[str, Any]
    """Output name -> its reference text."""

    def ancestors(self, name: str) -> list[str]:
        """The nodes that a node needs, itself included, in file order."""
        wanted: set[str] = set()
        queue = [name]
        while queue:
            current = queue.pop()
            if current in wanted or current not in self.nodes:
                continue

            wanted.add(current)
            queue.extend(
                reference.name for _, reference in self.nodes[current].references() if reference.kind == "node"
            )

        return [node for node in self.nodes if node in wanted]

    def source_of(self, output: str) -> str:
        """The node that a flow output reads; the name itself when it is no output, as for a part of the flow."""
        reference = as_reference(self.outputs.get(output))
        return reference.name if reference is not None else output

    def edges(self) -> dict[tuple[str, str], list[str]]:
        """(source, target) -> names of the inputs that carry the reference; `inputs` and `outputs` are nodes here."""
        found: dict[tuple[str, str], list[str]] = {}
        for node in self.nodes.values():
            for name, reference in node.references():
                source = "inputs" if reference.kind == "input" else reference.name
                if source == "inputs" or source in self.nodes:
                    found.setdefault((source, node.name), []).append(name)

        for name, text in self.outputs.items():
            read = as_reference(text)
            if read is not None:
                source = "inputs" if read.kind == "input" else read.name
                if source == "inputs" or source in self.nodes:
                    found.setdefault((source, "outputs"), []).append(name)

        return found


def as_reference(value: Any) -> Reference | None:
    """The reference that a value is, if it is one."""
    parsed = parse_reference(value) if isinstance(value, str) else None
    return parsed if isinstance(parsed, Reference) else None


def read_graph(data: Any, shown: Mapping[str, str]) -> Graph:
    """The graph of a parsed `flow.dag.yaml`.

    Args:
        data: The parsed document.
        shown: Node name -> variant to show; default variants otherwise.
    """
    data = data if isinstance(data, dict) else {}
    groups = _mapping(data.get("node_variants"))
    nodes: dict[str, GraphNode] = {}
    entries = data.get("nodes")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            node = _node(entry, _mapping(groups.get(entry["name"])), shown.get(entry["name"]))
            nodes[node.name] = node

    outputs = {
        str(name): value.get("reference", "") if isinstance(value, dict) else value
        for name, value in _mapping(data.get("outputs")).items()
    }
    inputs = {str(name): _mapping(value) for name, value in _mapping(data.get("inputs")).items()}
    return Graph(inputs=inputs, nodes=nodes, outputs=outputs)


def _node(entry: dict[str, Any], group: dict[str, Any], shown: str | None) -> GraphNode:
    variants = {str(name): _mapping(value) for name, value in _mapping(group.get("variants")).items()}
    default = str(group.get("default_variant_id") or next(iter(variants), "")) or None
    body, variant = entry, None
    if entry.get("use_variants") and variants:
        variant = shown if shown in variants else default if default in variants else next(iter(variants))
        body = {**_mapping(variants[str(variant)].get("node")), "name": entry["name"]}

    source = _mapping(body.get("source"))
    return GraphNode(
        name=entry["name"],
        kind=_kind(body, source),
        body=body,
        source=source.get("path") if isinstance(source.get("path"), str) else None,
        inputs={str(name): value for name, value in _mapping(body.get("inputs")).items()},
        variants=list(variants) if entry.get("use_variants") else [],
        variant=variant,
        default_variant=default if entry.get("use_variants") else None,
        is_aggregation=bool(body.get("aggregation") or body.get("reduce")),
        is_mapped="for_each" in body,
        is_cached=bool(body.get("enable_cache")),
    )


def _kind(body: dict[str, Any], source: dict[str, Any]) -> str:
    kind = str(body.get("type") or "python")
    return "tool" if kind == "python" and source.get("type") == "package" else kind


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
