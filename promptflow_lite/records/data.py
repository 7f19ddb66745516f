"""Results as plain JSON data and back: the form in which nodes are stored and lines cross process borders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptflow_lite.records.results import LineResult, NodeResult, Span
from promptflow_lite.records.status import Status
from promptflow_lite.records.usage import Usage


def line_to_data(line: LineResult) -> dict[str, Any]:
    """A line's result as JSON data."""
    return {
        "line_number": line.line_number,
        "status": line.status.value,
        "inputs": line.inputs,
        "output": line.output,
        "error": line.error,
        "start_time": line.start_time,
        "end_time": line.end_time,
        "usage": _usage_to_data(line.usage),
        "nodes": [node_to_data(node) for node in line.nodes],
        "spans": [span_to_data(span) for span in line.spans],
        "run_id": line.run_id,
    }


def line_from_data(data: Mapping[str, Any]) -> LineResult:
    return LineResult(
        line_number=data["line_number"],
        status=Status(data["status"]),
        inputs=data["inputs"],
        output=data["output"],
        error=data["error"],
        start_time=data["start_time"],
        end_time=data["end_time"],
        usage=_usage_from_data(data["usage"]) or Usage(),
        nodes=[node_from_data(node) for node in data["nodes"]],
        spans=[span_from_data(span) for span in data.get("spans", ())],
        run_id=data["run_id"],
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
        data["spans"] = [span_to_data(span) for span in node.spans]

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
        spans=[span_from_data(span) for span in data.get("spans", ())],
        is_cached=data.get("is_cached", False),
        attempts=data.get("attempts", 1),
    )


def _usage_to_data(usage: Usage) -> dict[str, int]:
    return {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens, "calls": usage.calls}


def _usage_from_data(data: Mapping[str, int] | None) -> Usage | None:
    return None if data is None else Usage(data["prompt_tokens"], data["completion_tokens"], data["calls"])


def span_to_data(span: Span) -> dict[str, Any]:
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
        data["children"] = [span_to_data(child) for child in span.children]

    return data


def span_from_data(data: Mapping[str, Any]) -> Span:
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
        children=[span_from_data(child) for child in data.get("children", ())],
    )
