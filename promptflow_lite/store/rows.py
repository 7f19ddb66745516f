"""Records to database rows and back: which field is JSON text, and how nodes and spans look inside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.records import LineResult, NodeResult, RunRecord, Span, Status, Usage

RUN_FIELDS = frozenset(field.name for field in dataclasses.fields(RunRecord))
JSON_RUN_FIELDS = frozenset(
    ("tags", "column_mapping", "connections", "environment_variables", "init", "error", "metrics", "properties")
)
_NEVER_NULL_RUN_FIELDS = frozenset(("tags", "metrics", "properties"))

LINE_COLUMNS = (
    "run_id",
    "line_number",
    "status",
    "inputs",
    "output",
    "error",
    "nodes",
    "start_time",
    "end_time",
    "prompt_tokens",
    "completion_tokens",
    "model_calls",
)
"""Order of the values in `line_to_row`."""


def run_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a `RunRecord` as column values."""
    return {
        name: dumps(value) if name in JSON_RUN_FIELDS and value is not None else _plain(value)
        for name, value in fields.items()
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Status) else value


def run_from_row(row: Mapping[str, Any]) -> RunRecord:
    fields: dict[str, Any] = {name: row[name] for name in RUN_FIELDS}
    for name in JSON_RUN_FIELDS:
        if fields[name] is not None:
            fields[name] = loads(fields[name])
        elif name in _NEVER_NULL_RUN_FIELDS:
            fields[name] = {}
    fields["status"] = Status(fields["status"])
    return RunRecord(**fields)


def line_to_row(run_id: int, line: LineResult) -> tuple[Any, ...]:
    """Values in the order of `LINE_COLUMNS`. Cost: the hottest function of a batch; a few microseconds."""
    usage = line.usage
    return (
        run_id,
        line.line_number,
        line.status.value,
        None if line.inputs is None else dumps(line.inputs),
        None if line.output is None else dumps(line.output),
        None if line.error is None else dumps(line.error),
        dumps([node_to_data(node) for node in line.nodes]),
        line.start_time,
        line.end_time,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.calls,
    )


def line_from_row(run_name: str, row: Any) -> LineResult:
    """The line of a row with `LINE_COLUMNS` in order."""
    _, number, status, inputs, output, error, nodes, start, end, prompt, completion, calls = row
    return LineResult(
        line_number=number,
        status=Status(status),
        inputs=None if inputs is None else loads(inputs),
        output=None if output is None else loads(output),
        error=None if error is None else loads(error),
        start_time=start or 0.0,
        end_time=end,
        usage=Usage(prompt, completion, calls),
        nodes=[node_from_data(data) for data in loads(nodes)] if nodes else [],
        run_id=f"{run_name}_{number}",
    )


def node_to_data(node: NodeResult) -> dict[str, Any]:
    """A node's result as JSON data; fields at their default are left out."""
    data: dict[str, Any] = {
        "node": node.node,
        "status": node.status.value,
        "inputs": node.inputs,
        "output": node.output,
        "start_time": node.start_time,
        "end_time": node.end_time,
    }
    if node.error is not None:
        data["error"] = node.error

    if node.usage is not None:
        data["usage"] = _usage_to_data(node.usage)

    if node.stdout:
        data["stdout"] = node.stdout

    if node.stderr:
        data["stderr"] = node.stderr

    if node.spans:
        data["spans"] = [_span_to_data(span) for span in node.spans]

    if node.is_cached:
        data["is_cached"] = True

    if node.attempts != 1:
        data["attempts"] = node.attempts

    return data


def node_from_data(data: Mapping[str, Any]) -> NodeResult:
    return NodeResult(
        node=data["node"],
        status=Status(data["status"]),
        inputs=data["inputs"],
        output=data["output"],
        error=data.get("error"),
        start_time=data["start_time"],
        end_time=data["end_time"],
        usage=_usage_from_data(data.get("usage")),
        stdout=data.get("stdout", ""),
        stderr=data.get("stderr", ""),
        spans=[_span_from_data(span) for span in data.get("spans", ())],
        is_cached=data.get("is_cached", False),
        attempts=data.get("attempts", 1),
    )


def _usage_to_data(usage: Usage) -> dict[str, int]:
    return {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens, "calls": usage.calls}


def _usage_from_data(data: Mapping[str, int] | None) -> Usage | None:
    return None if data is None else Usage(data["prompt_tokens"], data["completion_tokens"], data["calls"])


def _span_to_data(span: Span) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": span.name,
        "kind": span.kind,
        "start_time": span.start_time,
        "end_time": span.end_time,
        "inputs": span.inputs,
        "output": span.output,
    }
    if span.error is not None:
        data["error"] = span.error

    if span.usage is not None:
        data["usage"] = _usage_to_data(span.usage)

    if span.attributes:
        data["attributes"] = span.attributes

    if span.children:
        data["children"] = [_span_to_data(child) for child in span.children]

    return data


def _span_from_data(data: Mapping[str, Any]) -> Span:
    return Span(
        name=data["name"],
        kind=data["kind"],
        start_time=data["start_time"],
        end_time=data["end_time"],
        inputs=data["inputs"],
        output=data["output"],
        error=data.get("error"),
        usage=_usage_from_data(data.get("usage")),
        attributes=data.get("attributes", {}),
        children=[_span_from_data(child) for child in data.get("children", ())],
    )
