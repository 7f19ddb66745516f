"""Grids: every combination of node variants, swept inputs and models, as cells of one experiment; runs nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promptflow_lite._utils.hashing import content_key
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import ExperimentError
from promptflow_lite.flow import DagFlow, NodeSpec, Reference, load_flow, load_yaml
from promptflow_lite.flow.topology import sort_nodes

ALL = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRequest:
    """What to combine."""

    variants: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Node -> variants; `["*"]` for all of the node's."""
    sweeps: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """`node.input` -> values."""
    models: Sequence[str] = ()
    """Models for every LLM node."""
    repeat: int = 1
    """How often each cell runs; the repeats of a row are averaged before any test."""
    all_variants: bool = False
    """All variants of every node that is not named in `variants`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination; everything that rebuilding its flow needs."""

    variants: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """`node.input` -> value."""
    model: str | None = None

    @property
    def label(self) -> str:
        parts = [f"{node}={variant}" for node, variant in self.variants.items()]
        parts += [f"{name}={value}" for name, value in self.inputs.items()]
        parts += [f"model={Path(self.model).name}"] if self.model else []
        return ", ".join(parts) or "default"

    def to_dict(self) -> dict[str, Any]:
        return {"variants": dict(self.variants), "inputs": dict(self.inputs), "model": self.model}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cell:
        return cls(variants=data.get("variants") or {}, inputs=data.get("inputs") or {}, model=data.get("model"))


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPlan:
    """The cells in the order they run, and what they cost."""

    flow: Path
    cells: tuple[Cell, ...]
    repeat: int
    n_rows: int
    naive_calls: int
    """Model calls if every cell ran all of its nodes."""
    shared_calls: int
    """Model calls when nodes with equal definitions and inputs run once; equal rows would save more."""
    naive_node_runs: int
    shared_node_runs: int
    prompt_tokens: int
    """A rough estimate: four characters a token of templates and rows."""
    completion_tokens: int
    """An upper bound where `max_tokens` or `choices` give one, else 64 a call."""
    naive_tokens: int

    def runs(self, experiment: str) -> list[tuple[Cell, int, str]]:
        """Cell, repeat and name of every run, in the order they run; a run that is alone needs no number."""
        if len(self.cells) * self.repeat == 1:
            return [(self.cells[0], 0, experiment)]

        return [
            (cell, repeat, f"{experiment}_{index:02d}" + (f"_r{repeat}" if self.repeat > 1 else ""))
            for repeat in range(self.repeat)
            for index, cell in enumerate(self.cells)
        ]


def parse_grid(items: Sequence[str]) -> dict[str, list[str]]:
    """`["classify=*", "summarize=v0|v2"]` (or one text with commas) -> node -> variants.

    Raises:
        ExperimentError: an item names no variants.
    """
    grid: dict[str, list[str]] = {}
    for item in (part for text in items for part in text.split(",")):
        node, equals, variants = item.strip().partition("=")
        if not equals or not node or not variants:
            raise ExperimentError(f"{item!r} is no axis of a grid.", hint="Write NODE=* or NODE=VARIANT|VARIANT.")

        grid[node] = [name.strip() for name in variants.split("|")]

    return grid


def parse_sweeps(items: Sequence[str]) -> dict[str, list[Any]]:
    """`["classify.temperature=0,0.7"]` -> `node.input` -> values, typed as YAML would.

    Raises:
        ExperimentError: an item is not `NODE.INPUT=VALUE,VALUE`.
    """
    import yaml

    sweeps: dict[str, list[Any]] = {}
    for item in items:
        name, equals, values = item.partition("=")
        if not equals or "." not in name:
            raise ExperimentError(f"{item!r} is no sweep.", hint="Write NODE.INPUT=VALUE,VALUE.")

        sweeps[name] = [yaml.safe_load(value) for value in values.split(",")]

    return sweeps


def plan_grid(
    flow: str | Path, request: GridRequest, *, n_rows: int = 0, sample: Sequence[Mapping[str, Any]] = ()
) -> GridPlan:
    """Lay out the cells, models outermost and nodes in the order they run, so that shared work meets.

    Args:
        flow: A DAG flow.
        request: What to combine.
        n_rows: Rows of data, for the estimate.
        sample: A few rows, for the estimate.
    Raises:
        ExperimentError: an unknown node, variant or input, or a flow without nodes.
    """
    base = load_flow(flow)
    if not isinstance(base, DagFlow):
        raise ExperimentError("Grids need a DAG flow: flex flows and prompties have no nodes.")

    known = _variants_of(base)
    chosen = _chosen_variants(base, known, request)
    _check_sweeps(base, request.sweeps)
    axes: list[list[tuple[str, str, Any]]] = []
    if request.models:
        axes.append([("model", "", model) for model in request.models])

    axes += [[("variant", node, name) for name in names] for node, names in chosen.items()]
    axes += [[("input", name, value) for value in values] for name, values in request.sweeps.items()]
    cells = tuple(_cell(combination) for combination in itertools.product(*axes))
    return _with_costs(base.path, cells, max(1, request.repeat), n_rows, sample)


def _variants_of(flow: DagFlow) -> dict[str, list[str]]:
    """Node -> names of its variants, for nodes that use them, in the order the nodes run."""
    document = load_yaml(flow.path).value
    declared = document.get("node_variants") or {}
    using = {node["name"] for node in document.get("nodes") or [] if node.get("use_variants")}
    return {
        node.name: list((declared.get(node.name) or {}).get("variants") or {})
        for node in flow.nodes
        if node.name in using
    }


def _chosen_variants(flow: DagFlow, known: Mapping[str, Sequence[str]], request: GridRequest) -> dict[str, list[str]]:
    for node, names in request.variants.items():
        if node not in known:
            raise ExperimentError(f"Node {node!r} has no variants.", hint=did_you_mean(node, known))

        for name in names:
            if name != ALL and name not in known[node]:
                raise ExperimentError(f"Node {node!r} has no variant {name!r}.", hint=did_you_mean(name, known[node]))

    wanted = {**({node: [ALL] for node in known} if request.all_variants else {}), **request.variants}
    if request.all_variants and not known:
        raise ExperimentError(f"Flow {flow.name!r} has no variants.", hint="Add node_variants to the flow.")

    return {node: list(known[node]) if ALL in wanted[node] else list(wanted[node]) for node in known if node in wanted}


def _check_sweeps(flow: DagFlow, sweeps: Mapping[str, Sequence[Any]]) -> None:
    for name in sweeps:
        node = name.partition(".")[0]
        if flow.node(node) is None:
            names = [spec.name for spec in flow.nodes]
            raise ExperimentError(f"There is no node {node!r}.", hint=did_you_mean(node, names))


def _cell(combination: Sequence[tuple[str, str, Any]]) -> Cell:
    return Cell(
        variants={name: value for kind, name, value in combination if kind == "variant"},
        inputs={name: value for kind, name, value in combination if kind == "input"},
        model=next((value for kind, _, value in combination if kind == "model"), None),
    )


# --- one cell as a flow ---


def load_cell(path: str | Path, cell: Cell, *, repeat: int = 0) -> DagFlow:
    """The flow of a cell: its variants, inputs and model in place.

    Args:
        path: The flow.
        cell: The combination.
        repeat: Which repeat; LLM nodes get it as their seed from the second one on.
    Raises:
        ExperimentError: the flow is no DAG flow.
    """
    flow = load_flow(path)
    if not isinstance(flow, DagFlow):
        raise ExperimentError("Grids need a DAG flow.")

    nodes = {node.name: node for node in flow.nodes}
    for name, variant in cell.variants.items():
        nodes[name] = _variant_node(path, name, variant)

    for dotted, value in cell.inputs.items():
        name, _, key = dotted.partition(".")
        nodes[name] = _with_inputs(nodes[name], {key: value})

    for name, node in nodes.items():
        if node.type == "llm" and cell.model:
            key = "deployment_name" if "deployment_name" in node.inputs else "model"
            nodes[name] = _with_inputs(nodes[name], {key: cell.model})

        if node.type == "llm" and repeat:
            nodes[name] = _with_inputs(nodes[name], {"seed": repeat})

    return replace(flow, nodes=sort_nodes(list(nodes.values())))


def _variant_node(path: str | Path, name: str, variant: str) -> NodeSpec:
    loaded = load_flow(path, variant=f"${{{name}.{variant}}}")
    node = loaded.node(name) if isinstance(loaded, DagFlow) else None
    if node is None:
        raise ExperimentError(f"There is no node {name!r}.")

    return node


def _with_inputs(node: NodeSpec, inputs: Mapping[str, Any]) -> NodeSpec:
    return replace(node, inputs={**node.inputs, **inputs})


# --- what it costs ---


def _with_costs(
    path: Path, cells: tuple[Cell, ...], repeat: int, n_rows: int, sample: Sequence[Mapping[str, Any]]
) -> GridPlan:
    row_chars = sum(len(str(value)) for row in sample for value in row.values()) / max(len(sample), 1)
    flows = [load_cell(path, cell) for cell in cells]
    line_nodes = [node for flow in flows for node in flow.nodes if not node.aggregation]
    distinct: dict[str, NodeSpec] = {}
    for flow in flows:
        keys = _definition_keys(flow)
        distinct |= {keys[node.name]: node for node in flow.nodes if not node.aggregation}

    calls = [node for node in distinct.values() if node.type == "llm"]
    every = n_rows * repeat
    naive_calls = [node for node in line_nodes if node.type == "llm"]
    return GridPlan(
        flow=path,
        cells=cells,
        repeat=repeat,
        n_rows=n_rows,
        naive_calls=len(naive_calls) * every,
        shared_calls=len(calls) * every,
        naive_node_runs=len(line_nodes) * every,
        shared_node_runs=len(distinct) * every,
        prompt_tokens=round(sum(_prompt_tokens(node, path.parent, row_chars) for node in calls) * every),
        completion_tokens=sum(_completion_tokens(node) for node in calls) * every,
        naive_tokens=round(
            sum(_prompt_tokens(node, path.parent, row_chars) + _completion_tokens(node) for node in naive_calls) * every
        ),
    )


def _definition_keys(flow: DagFlow) -> dict[str, str]:
    """Node -> a digest of its definition and of everything it reads: equal digests mean equal work on equal rows."""
    keys: dict[str, str] = {}
    for node in flow.nodes:
        inputs = {
            name: ["node", keys.get(value.name, ""), value.text] if isinstance(value, Reference) else ["literal", value]
            for name, value in node.inputs.items()
        }
        activate = [str(node.activate.when), node.activate.equals, node.activate.operator] if node.activate else None
        source = [node.source.path, node.source.tool] if node.source else None
        keys[node.name] = content_key(node.type, source, inputs, node.connection, node.api, node.provider, activate)

    return keys


def _prompt_tokens(node: NodeSpec, folder: Path, row_chars: float) -> int:
    template = 0
    if node.source and node.source.path:
        file = folder / node.source.path
        template = file.stat().st_size if file.is_file() else 0

    return math.ceil((template + row_chars) / 4)


def _completion_tokens(node: NodeSpec) -> int:
    if node.inputs.get("choices"):
        return 1

    limit = node.inputs.get("max_tokens")
    return int(limit) if isinstance(limit, int | str) and str(limit).isdigit() else 64
