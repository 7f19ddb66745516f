"""A flow described for people and screens: nodes, edges, variants, files and drawings. Imports no user code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from promptflow_lite._utils.jsonable import dumps_bytes, loads
from promptflow_lite.errors import PromptflowException
from promptflow_lite.flow.chat import ChatRoles, chat_roles
from promptflow_lite.flow.loader import load_flow
from promptflow_lite.flow.model import DagFlow, FlexFlow, Flow, InputSpec, NodeSpec, OutputSpec
from promptflow_lite.flow.node_checks import FlowFiles
from promptflow_lite.flow.references import Reference
from promptflow_lite.flow.yaml_io import load_yaml

_DRAWN = {
    "llm": ("[[", "]]"),
    "prompt": ("[/", "/]"),
    "python": ("[", "]"),
    "flow": ("[[", "]]"),
    "prompty": ("[[", "]]"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSnapshot:
    """Data or a condition that goes from one place to another."""

    source: str
    target: str
    label: str = ""
    """The input of the target that receives it."""
    kind: Literal["data", "condition", "for_each"] = "data"
    source_kind: Literal["input", "node"] = "node"
    target_kind: Literal["node", "output"] = "node"
    path: str = ""
    """The property path behind the source's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSnapshot:
    """One node as it stands in the file."""

    name: str
    type: str
    source: str = ""
    """File or package tool."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """References as their text."""
    connection: str = ""
    api: str = ""
    is_aggregation: bool = False
    condition: str = ""
    variants: tuple[str, ...] = ()
    default_variant: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    """Set ones among enable_cache, retry, timeout_s, for_each, concurrency and repeat."""
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSnapshot:
    """A flow, described."""

    kind: Literal["dag", "flex", "prompty"]
    name: str
    path: str
    type: str
    description: str
    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]
    nodes: tuple[NodeSnapshot, ...] = ()
    edges: tuple[EdgeSnapshot, ...] = ()
    files: tuple[str, ...] = ()
    """Source files that exist, relative to the flow's folder."""
    chat: ChatRoles = field(default_factory=ChatRoles)
    entry: str = ""
    template: str = ""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        data: dict[str, Any] = loads(dumps_bytes(self))
        return data


def describe_flow(path: str | os.PathLike[str] | Flow, *, variant: str | None = None) -> FlowSnapshot:
    """Describe a flow, given as a path or loaded.

    Raises:
        PromptflowException: the flow cannot be loaded.
    """
    if isinstance(path, str | os.PathLike):
        flow = load_flow(path, variant=variant, allow_prompty_folder=True, include=False)
    else:
        flow = path

    common: dict[str, Any] = {
        "name": flow.name,
        "path": str(flow.path or flow.root),
        "type": flow.type,
        "description": flow.description,
        "inputs": {name: _declaration(spec) for name, spec in (flow.inputs or {}).items()},
        "outputs": {name: _declaration(spec) for name, spec in (flow.outputs or {}).items()},
        "chat": chat_roles(flow),
        "warnings": flow.warnings,
    }
    if isinstance(flow, DagFlow):
        variants = _variants(flow)
        nodes = tuple(_node(node, variants) for node in flow.nodes)
        return FlowSnapshot(kind="dag", nodes=nodes, edges=edges_of(flow), files=_files(flow), **common)

    if isinstance(flow, FlexFlow):
        file = f"{flow.entry.partition(':')[0].replace('.', '/')}.py"
        files = (file,) if (flow.root / file).is_file() else ()
        return FlowSnapshot(kind="flex", entry=flow.entry, files=files, **common)

    return FlowSnapshot(kind="prompty", template=flow.template, files=(flow.path.name,), **common)


def _declaration(spec: InputSpec | OutputSpec) -> dict[str, Any]:
    data: dict[str, Any] = {"type": spec.type}
    if spec.description:
        data["description"] = spec.description

    if isinstance(spec, InputSpec):
        flags = {"default": spec.default, "is_chat_input": spec.is_chat_input, "is_chat_history": spec.is_chat_history}
    else:
        flags = {
            "reference": _text(spec.reference) if spec.reference else spec.literal,
            "is_chat_output": spec.is_chat_output,
            "evaluation_only": spec.evaluation_only,
        }

    return {**data, **{key: value for key, value in flags.items() if value is not None and value is not False}}


def _text(value: Any) -> Any:
    return value.text if isinstance(value, Reference) else value


def _node(node: NodeSpec, variants: dict[str, tuple[tuple[str, ...], str]]) -> NodeSnapshot:
    names, default = variants.get(node.name, ((), ""))
    source = node.source
    condition = ""
    if node.activate:
        condition = f"{_text(node.activate.when)} {node.activate.operator} {node.activate.equals!r}"

    options = {
        "enable_cache": node.enable_cache or None,
        "retry": node.retry.max_attempts if node.retry else None,
        "timeout_s": node.timeout_s,
        "for_each": node.for_each.text if node.for_each else None,
        "concurrency": node.concurrency if node.for_each else None,
        "repeat": {"until": _text(node.repeat.until), "max": node.repeat.max} if node.repeat else None,
    }
    return NodeSnapshot(
        name=node.name,
        type=node.type,
        source=(source.tool or source.path or "") if source else node.tool or "",
        inputs={name: _text(value) for name, value in node.inputs.items()},
        connection=node.connection or "",
        api=node.api or "",
        is_aggregation=node.aggregation,
        condition=condition,
        variants=names,
        default_variant=default,
        options={key: value for key, value in options.items() if value is not None},
        line=node.where.line if node.where else None,
    )


def _variants(flow: DagFlow) -> dict[str, tuple[tuple[str, ...], str]]:
    """Node name -> variant names and the default one."""
    try:
        groups = load_yaml(flow.path).value.get("node_variants")
    except (PromptflowException, AttributeError):
        return {}

    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for name, group in groups.items() if isinstance(groups, dict) else ():
        variants = group.get("variants") if isinstance(group, dict) else None
        if isinstance(variants, dict):
            found[str(name)] = (tuple(map(str, variants)), str(group.get("default_variant_id") or ""))

    return found


def edges_of(flow: DagFlow) -> tuple[EdgeSnapshot, ...]:
    """Every edge of a DAG flow, in the order of its nodes, outputs last."""
    edges: list[EdgeSnapshot] = []
    for node in flow.nodes:
        edges.extend(
            _edge(value, node.name, name)
            for name, value in node.inputs.items()
            if isinstance(value, Reference) and value.kind != "item"
        )
        if node.activate and isinstance(node.activate.when, Reference):
            edges.append(_edge(node.activate.when, node.name, "activate", kind="condition"))

        if node.for_each:
            edges.append(_edge(node.for_each, node.name, "for_each", kind="for_each"))

    edges.extend(
        _edge(output.reference, name, target_kind="output") for name, output in flow.outputs.items() if output.reference
    )
    return tuple(edges)


def _edge(reference: Reference, target: str, label: str = "", **rest: Any) -> EdgeSnapshot:
    path = reference.property_text
    kind: Literal["input", "node"] = "input" if reference.kind == "input" else "node"
    return EdgeSnapshot(source=reference.name, target=target, label=label, source_kind=kind, path=path, **rest)


def _files(flow: DagFlow) -> tuple[str, ...]:
    files = FlowFiles.of(flow.path.parent, flow.additional_includes)
    named = [node.source.path for node in flow.nodes if node.source and node.source.path]
    return tuple(name for name in dict.fromkeys(named) if files.find(name))


# --- drawings ------------------------------------------------------------------------------------------------------


def render_mermaid(flow: FlowSnapshot, *, direction: Literal["TB", "LR"] = "TB") -> str:
    """The flow as a Mermaid flowchart."""
    lines = [f"flowchart {direction}"]
    ids: dict[tuple[str, str], str] = {}

    def declare(kind: str, name: str, shape: tuple[str, str], caption: str) -> None:
        ids[(kind, name)] = f"{kind}_{len(ids)}"
        lines.append(f'    {ids[(kind, name)]}{shape[0]}"{caption}"{shape[1]}')

    for name in flow.inputs:
        declare("input", name, ("([", "])"), _caption(name))

    for node in flow.nodes:
        shape = ("{{", "}}") if node.is_aggregation else _DRAWN.get(node.type, ("[", "]"))
        declare("node", node.name, shape, f"{_caption(node.name)}<br/><small>{_caption(node.type)}</small>")

    for name in flow.outputs:
        declare("output", name, ("([", "])"), _caption(name))

    if not flow.nodes:
        declare("node", flow.name, ("[", "]"), _caption(flow.entry or flow.name))
        whole = ids[("node", flow.name)]
        lines.extend(f"    {ids[('input', name)]} --> {whole}" for name in flow.inputs)
        lines.extend(f"    {whole} --> {ids[('output', name)]}" for name in flow.outputs)

    lines.extend(_mermaid_edges(flow.edges, ids))
    return "\n".join(lines) + "\n"


def _mermaid_edges(edges: Iterable[EdgeSnapshot], ids: dict[tuple[str, str], str]) -> list[str]:
    lines: dict[str, None] = {}
    for edge in edges:
        source = ids.get((edge.source_kind, edge.source))
        target = ids.get((edge.target_kind, edge.target))
        if source and target:
            arrow = "-.->" if edge.kind == "condition" else "-->"
            lines[f"    {source} {arrow} {target}"] = None

    return list(lines)


def _caption(text: str) -> str:
    escapes = {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;"}
    return re.sub(r'[&"<>#]', lambda match: escapes[match.group()], text)
