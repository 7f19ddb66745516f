"""What the canvas and the cells show of a flow: plain data, made from a document and the last results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.errors import PromptflowException
from promptflow_lite.flow import INPUT_TYPES, Problem, render_template, resolve_path
from promptflow_lite.flow.dag import OPERATORS
from promptflow_lite.sdk.studio.document import FlowDocument
from promptflow_lite.sdk.studio.edits import value_text
from promptflow_lite.sdk.studio.graph import Graph, GraphNode, as_reference
from promptflow_lite.sdk.studio.palette import flow_parameters, tool_choices, tool_parameters
from promptflow_lite.sdk.studio.sources import Mark, Parameter, language_of, marks_of, parameters_of

Results = Mapping[str, Mapping[str, Any]]
"""Node name -> its last outcome, as the tester gives it."""

WAITING = "Waiting"
"""The status of a node whose turn comes later in the test that runs."""

MAX_TEXT = 20_000
_SETTINGS = {
    "response_format": ["", "text", "json_object"],
}


def canvas_data(document: FlowDocument, results: Results, flows: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """Nodes and edges for the canvas.

    Args:
        document: The flow.
        results: The last outcomes, or how far the nodes are.
        flows: Flows to offer as nodes.
    """
    graph = document.graph
    problems = problems_by_node(document)
    positions = document.layout.positions
    nodes = [_end("inputs", _counted(graph.inputs, "input"))]
    for node in graph.nodes.values():
        result = results.get(node.name, {})
        nodes.append(
            {
                "id": node.name,
                "kind": node.kind,
                "label": node.name,
                "note": note_of(node),
                **_run_facts(result),
                "variants": len(node.variants),
                "problems": len(problems.get(node.name, [])),
                "conditional": node.activate is not None,
                "for_each": node.is_mapped,
                "free": free_inputs(document, node),
            }
        )
    nodes.append({**_end("outputs", _counted(graph.outputs, "output")), "free": _free_outputs(graph)})
    for item in nodes:
        item["position"] = positions.get(item["id"])

    edges = [
        {
            "id": f"{source}->{target}",
            "source": source,
            "target": target,
            "inputs": names,
            "conditional": names == ["activate"],
        }
        for (source, target), names in graph.edges().items()
    ]
    return {
        "nodes": nodes,
        "edges": edges,
        "direction": document.layout.direction,
        "tools": tool_choices(),
        "flows": flows or [],
    }


def notebook_data(
    document: FlowDocument,
    results: Results,
    *,
    inputs: Mapping[str, Any],
    connections: list[str] | None = None,
) -> dict[str, Any]:
    """Everything that the cells show.

    Args:
        document: The flow.
        results: The last outcomes, or how far the nodes are.
        inputs: Test values of the flow's inputs.
        connections: Names to offer.
    """
    graph = document.graph
    problems = problems_by_node(document)
    cells = [
        _cell(document, node, results, inputs, problems.get(node.name, []), connections or [])
        for node in graph.nodes.values()
    ]
    return {
        "mode": "notebook",
        "cells": cells,
        "inputs": [
            {
                "name": name,
                "type": str(spec.get("type") or "string"),
                "default": value_text(spec.get("default")),
                "test": value_text(inputs.get(name)),
            }
            for name, spec in graph.inputs.items()
        ],
        "outputs": [{"name": name, "reference": value_text(text)} for name, text in graph.outputs.items()],
        "types": list(INPUT_TYPES),
        "operators": list(OPERATORS),
        "references": references(graph),
        "connections": connections or [],
    }


def _run_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    status = result.get("status", "")
    has_ended = status not in ("Running", WAITING)
    return {
        "status": status,
        "ms": result.get("ms") if has_ended else None,
        "since": result.get("start_time") if status == "Running" else None,
        "tokens": result.get("tokens") if has_ended else None,
    }


def references(graph: Graph) -> list[str]:
    """Everything that an input can read."""
    return [f"${{inputs.{name}}}" for name in graph.inputs] + [f"${{{name}.output}}" for name in graph.nodes]


def note_of(node: GraphNode) -> str:
    """The kind of a node as shown."""
    kind = {"custom_llm": "llm tool", "tool": "package tool", "flow": "sub-flow"}.get(node.kind, node.kind)
    return f"{kind}, aggregation" if node.is_aggregation else kind


def parameters(document: FlowDocument, node: GraphNode) -> list[Parameter]:
    """The inputs that the node's source asks for."""
    if node.kind in ("flow", "prompty"):
        return flow_parameters(document.folder / (node.source or ""))

    declared = parameters_of(node.kind, document.project.sources.get(node.source or "", ""))
    return declared + tool_parameters(node.tool) if node.tool else declared


def free_inputs(document: FlowDocument, node: GraphNode) -> list[str]:
    """Inputs that the source asks for and nothing feeds."""
    return [
        parameter.name
        for parameter in parameters(document, node)
        if parameter.is_shown and node.inputs.get(parameter.name) in (None, "")
    ]


def problems_by_node(document: FlowDocument) -> dict[str, list[Problem]]:
    """Problems that belong to a node; those of the flow itself are under the empty name."""
    names = list(document.graph.nodes)
    found: dict[str, list[Problem]] = {}
    for problem in document.problems:
        found.setdefault(_node_of(problem, names, document.graph), []).append(problem)

    return found


def _node_of(problem: Problem, names: list[str], graph: Graph) -> str:
    parts = problem.yaml_path.split(".")
    if parts[0] == "nodes" and len(parts) > 1 and parts[1].isdigit() and int(parts[1]) < len(names):
        return names[int(parts[1])]

    if parts[0] == "node_variants" and len(parts) > 1 and parts[1] in names:
        return parts[1]

    file = Path(problem.where.path).name if problem.where else ""
    owner = (node.name for node in graph.nodes.values() if node.source and Path(node.source).name == file)
    return next(owner, "outputs" if parts[0] == "outputs" else "")


def rendered_prompt(document: FlowDocument, node: GraphNode, results: Results, inputs: Mapping[str, Any]) -> str | None:
    """The node's prompt with the values at hand; no model is called. None when it has none or values are missing."""
    template = document.project.sources.get(node.source or "")
    if node.kind not in ("llm", "prompt", "custom_llm") or template is None:
        return None

    values = dict(results.get(node.name, {}).get("inputs") or {})
    for name, value in node.inputs.items():
        found = known_value(value, results, inputs)
        if found is not MISSING:
            values[name] = found
    if any(parameter.name not in values for parameter in parameters_of(node.kind, template)):
        return None

    try:
        return render_template(template, values)[:MAX_TEXT]
    except PromptflowException as error:
        return f"{error}"


MISSING = object()


def known_value(value: Any, results: Results, inputs: Mapping[str, Any]) -> Any:
    """What an input stands for, from test values and last outputs; `MISSING` when that is not known."""
    reference = as_reference(value)
    if reference is None:
        return value

    if reference.kind == "input":
        return inputs.get(reference.name, MISSING)

    result = results.get(reference.name)
    if not result or result.get("status") not in ("Completed", "Bypassed"):
        return MISSING

    try:
        return resolve_path(result.get("output"), reference)
    except PromptflowException:
        return MISSING


def shown_value(value: Any) -> tuple[str, str]:
    """A value as text and the language it is in."""
    if isinstance(value, str):
        return value[:MAX_TEXT], "text"

    return dumps(value, indent=True)[:MAX_TEXT], "json"


def _end(name: str, note: str) -> dict[str, Any]:
    return {"id": name, "kind": name, "label": name, "note": note, "status": "", "position": None}


def _counted(items: Mapping[str, Any], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def _free_outputs(graph: Graph) -> list[str]:
    return [name for name, text in graph.outputs.items() if not text]


def _cell(
    document: FlowDocument,
    node: GraphNode,
    results: Results,
    inputs: Mapping[str, Any],
    problems: list[Problem],
    connections: list[str],
) -> dict[str, Any]:
    result = results.get(node.name, {})
    source = document.project.sources.get(node.source or "")
    language = language_of(node.source or "")
    has_output = result.get("status") == "Completed" or (result.get("status") == "Running" and result.get("output"))
    output, output_language = shown_value(result.get("output")) if has_output else (None, "text")

    return {
        "id": node.name,
        "kind": node.kind,
        "note": note_of(node),
        **_run_facts(result),
        "cached": node.is_cached,
        "path": node.source or node.name,
        "language": language,
        "text": source,
        "lints": _lints(language, source or "", problems, node),
        "suggestions": _suggestions(document.graph, node),
        "inputs": _input_rows(document, node, connections),
        "addable": [parameter.name for parameter in parameters(document, node) if parameter.name not in node.inputs],
        "connection": node.body.get("connection"),
        "api": node.body.get("api"),
        "variants": node.variants,
        "variant": node.variant,
        "default_variant": node.default_variant,
        "activate": _activate(node),
        "for_each": value_text(node.body.get("for_each")),
        "concurrency": value_text(node.body.get("concurrency")),
        "aggregation": node.is_aggregation,
        "output": output,
        "output_language": output_language,
        "error": _error(node, result, problems),
        "log": str(result.get("log") or "")[:MAX_TEXT],
        "rendered": rendered_prompt(document, node, results, inputs),
    }


def _lints(language: str, source: str, problems: list[Problem], node: GraphNode) -> list[dict[str, Any]]:
    marks = list(marks_of(language, source))
    for problem in problems:
        where = problem.where
        if where and where.line and node.source and Path(where.path).name == Path(node.source).name:
            marks.append(Mark(where.line, problem.message, where.column, problem.severity))

    unique = {(mark.line, mark.message): mark for mark in marks}
    return [
        {"line": mark.line, "column": mark.column, "message": mark.message, "severity": mark.severity}
        for mark in unique.values()
    ]


def _suggestions(graph: Graph, node: GraphNode) -> list[dict[str, str]]:
    bound = [{"label": name, "detail": value_text(value)} for name, value in node.inputs.items() if as_reference(value)]
    names = {item["label"] for item in bound}
    offered = [(name, f"${{inputs.{name}}}") for name in graph.inputs]
    offered += [(name, f"${{{name}.output}}") for name in graph.nodes if node.name not in graph.ancestors(name)]
    return bound + [{"label": name, "detail": detail} for name, detail in offered if name not in names]


def _input_rows(document: FlowDocument, node: GraphNode, connections: list[str]) -> list[dict[str, Any]]:
    declared = {
        parameter.name: parameter
        for parameter in parameters(document, node)
        if parameter.is_shown or parameter.name in node.inputs
    }
    is_template = node.kind in ("llm", "prompt")
    rows = [_input_row(name, node.inputs.get(name), parameter, connections) for name, parameter in declared.items()]
    for name, value in node.inputs.items():
        if name not in declared:
            is_setting = is_template and as_reference(value) is None
            row = {"name": name, "value": value_text(value), "kind": "setting" if is_setting else _kind(value)}
            rows.append({**row, "options": _SETTINGS[name]} if name in _SETTINGS and isinstance(value, str) else row)
    return rows


def _input_row(name: str, value: Any, parameter: Parameter, connections: list[str]) -> dict[str, Any]:
    is_missing = value in (None, "") and parameter.is_required
    kind = "missing" if is_missing else _kind(value)
    type_ = "" if parameter.type == "string" else parameter.type
    row = {"name": name, "value": value_text(value), "kind": kind, "type": type_}
    options = connections if parameter.type == "connection" else list(parameter.options)
    return {**row, "options": ["", *options]} if options and kind != "reference" else row


def _kind(value: Any) -> str:
    return "reference" if as_reference(value) else "literal"


def _activate(node: GraphNode) -> dict[str, str] | None:
    activate = node.activate
    if activate is None:
        return None

    operator, value = next(((key, value) for key, value in activate.items() if key != "when"), ("is", ""))
    return {"when": value_text(activate.get("when")), "operator": str(operator), "value": value_text(value)}


def _error(node: GraphNode, result: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any] | None:
    error = result.get("error")
    if result.get("status") == "Failed" and isinstance(error, Mapping):
        return error_card(error, node.source)

    worst = next((problem for problem in problems if problem.severity == "error"), None)
    if worst is None or result.get("status") in ("Completed", "Running", WAITING):
        return None

    return {"message": worst.message, "hint": worst.hint, "where": str(worst.where or ""), "line": None}


def error_card(error: Mapping[str, Any], source: str | None = None) -> dict[str, Any]:
    """An error record as people read it, with the line of the node's own file where it is known."""
    details: dict[str, Any] = next(
        (item["info"] for item in error.get("additionalInfo") or [] if isinstance(item.get("info"), dict)), {}
    )
    message = str(error.get("message") or "Something failed.")
    file, line = str(details.get("filename") or ""), details.get("lineno")
    is_own = bool(source) and Path(file).name == Path(source or "").name
    return {
        "message": message,
        "hint": str(error.get("hint") or ""),
        "where": f"{Path(file).name}:{line}" if file and line else str(error.get("where") or ""),
        "line": line if is_own and isinstance(line, int) else None,
    }
