"""Results of lines and nodes with the keys of the original's records (contract 3.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptflow_lite._utils.clock import iso_utc
from promptflow_lite._utils.jsonable import dumps_bytes, loads
from promptflow_lite.records import LineResult, NodeResult, Span, Usage


def flow_run_info(
    line: LineResult,
    *,
    run: str | None = None,
    flow_id: str = "default_flow_id",
    metrics: Mapping[str, Any] | None = None,
    message_format: str = "basic",
) -> dict[str, Any]:
    """The record of one line.

    Args:
        line: The line.
        run: Name of its batch run; None for a test or a call, which are runs of their own.
        flow_id: The flow's id.
        metrics: Metrics of the aggregation, in a test.
    """
    index = line.line_number if line.line_number is not None else 0
    root = run if run is not None else (line.run_id or "")
    is_batch = run is not None
    return {
        "run_id": f"{root}_{index}",
        "status": line.status.value,
        "error": _plain(line.error),
        "inputs": _plain(line.inputs),
        "output": _plain(line.output),
        "metrics": _plain(metrics),
        "request": None,
        "parent_run_id": root,
        "root_run_id": root,
        "source_run_id": None,
        "flow_id": flow_id,
        "start_time": iso_utc(line.start_time),
        "end_time": iso_utc(line.end_time),
        "index": index,
        "api_calls": [_root_trace(line)],
        "name": "",
        "description": "",
        "tags": None,
        "system_metrics": _system_metrics(line.start_time, line.end_time, line.usage),
        "result": None if is_batch else _plain(line.output),
        "upload_metrics": False,
        "otel_trace_id": None,
        "message_format": message_format,
    }


def node_run_info(
    node: NodeResult, line: LineResult | None, *, run: str | None = None, message_format: str = "basic"
) -> dict[str, Any]:
    """The record of one node in one line, or of an aggregation node when there is no line."""
    index = None if line is None else (line.line_number if line.line_number is not None else 0)
    root = run if run is not None else (line.run_id if line is not None else "") or ""
    suffix = "reduce" if line is None else str(index)
    output = _plain(node.output)
    return {
        "node": node.node,
        "flow_run_id": root,
        "run_id": f"{root}_{node.node}_{suffix}",
        "status": node.status.value,
        "inputs": _plain(node.inputs),
        "output": output,
        "metrics": None,
        "error": _plain(node.error),
        "parent_run_id": root if line is None else f"{root}_{index}",
        "start_time": iso_utc(node.start_time),
        "end_time": iso_utc(node.end_time),
        "index": index,
        "api_calls": [_node_trace(node)],
        "cached_run_id": None,
        "cached_flow_run_id": None,
        "logs": {"stdout": node.stdout, "stderr": node.stderr},
        "system_metrics": _system_metrics(node.start_time, node.end_time, node.usage),
        "result": None if run is not None else output,
        "message_format": message_format,
    }


def detail_of_test(
    line: LineResult,
    aggregation_nodes: list[NodeResult] | None = None,
    *,
    metrics: Mapping[str, Any] | None = None,
    flow_id: str = "default_flow_id",
    message_format: str = "basic",
) -> dict[str, Any]:
    """`flow.detail.json` of a test: the line's record and those of its nodes."""
    flow = flow_run_info(line, flow_id=flow_id, metrics=metrics, message_format=message_format)
    nodes = [node_run_info(node, line, message_format=message_format) for node in line.nodes]
    run = line.run_id or ""
    nodes += [node_run_info(node, None, run=run, message_format=message_format) for node in aggregation_nodes or []]
    return {"flow_runs": [flow], "node_runs": nodes}


def _system_metrics(start: float | None, end: float | None, usage: Usage | None) -> dict[str, Any]:
    duration = round(end - start, 6) if start is not None and end is not None else 0.0
    return {"duration": duration, **(usage or Usage()).to_dict()}


def _root_trace(line: LineResult) -> dict[str, Any]:
    children = [_node_trace(node) for node in line.nodes] + [_trace(span) for span in line.spans]
    return {
        "name": "flow",
        "node_name": "flow",
        "type": "Flow",
        "start_time": line.start_time,
        "end_time": line.end_time,
        "children": children,
        "system_metrics": _system_metrics(line.start_time, line.end_time, line.usage),
        "inputs": _plain(line.inputs),
        "output": _plain(line.output),
        "error": _plain(line.error),
    }


def _node_trace(node: NodeResult) -> dict[str, Any]:
    return {
        "name": node.node,
        "node_name": node.node,
        "type": "Tool",
        "start_time": node.start_time,
        "end_time": node.end_time,
        "children": [_trace(span, node.node) for span in node.spans],
        "system_metrics": _system_metrics(node.start_time, node.end_time, node.usage),
        "inputs": _plain(node.inputs),
        "output": _plain(node.output),
        "error": _plain(node.error),
    }


def _trace(span: Span, node: str | None = None) -> dict[str, Any]:
    return {
        "name": span.name,
        "node_name": node,
        "type": span.kind,
        "start_time": span.start_time,
        "end_time": span.end_time,
        "children": [_trace(child, node) for child in span.children],
        "system_metrics": _system_metrics(span.start_time, span.end_time, span.usage),
        "inputs": _plain(span.inputs),
        "output": _plain(span.output),
        "error": _plain(span.error),
    }


def _plain(value: Any) -> Any:
    """The value as it reads back from JSON; what has no JSON form is its `repr`."""
    if value is None or isinstance(value, bool | int | float):
        return value

    return loads(dumps_bytes(value))
