"""A line's trace as rows for the waterfall: the line, its nodes, their calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptflow_lite.records import LineResult
from promptflow_lite.sdk.studio.tester_child import line_to_dict


def trace_of_line(line: LineResult, name: str) -> dict[str, Any]:
    """Rows of a recorded line; see `trace_rows`."""
    return trace_rows(line_to_dict(line, line.nodes), name)


def trace_rows(line: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Rows for the waterfall, and what each of them received and gave.

    Returns:
        `spans` for the component, `total_ms`, and `details` by span id.
    """
    nodes = [node for node in line.get("nodes") or [] if node.get("start_time")]
    start = min([line.get("start_time") or _INFINITY, *(node["start_time"] for node in nodes)])
    total = float(line.get("duration_ms") or 0.0)
    rows: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    _add(rows, details, "line", 0, name, "Flow", 0.0, total, line)
    for index, span in enumerate(line.get("spans") or []):
        _add_span(rows, details, f"line/{index}", 1, span, start)
    for node in nodes:
        key = f"line/{node['node']}"
        note = "cached" if node.get("is_cached") else ""
        offset = (node["start_time"] - start) * 1000
        _add(rows, details, key, 1, node["node"], "Node", offset, float(node.get("ms") or 0.0), node, note)
        for index, span in enumerate(node.get("spans") or []):
            _add_span(rows, details, f"{key}/{index}", 2, span, start)

    total = max([total, *(row["start_ms"] + row["duration_ms"] for row in rows)])
    return {"spans": rows, "total_ms": total, "details": details}


_INFINITY = float("inf")


def _add_span(
    rows: list[dict[str, Any]], details: dict[str, Any], key: str, depth: int, span: Mapping[str, Any], start: float
) -> None:
    begin = span.get("start_time") or start
    end = span.get("end_time") or begin
    status = "Failed" if span.get("error") else "Completed"
    record = {**span, "status": status, "tokens": _tokens(span.get("usage"))}
    _add(rows, details, key, depth, str(span.get("name")), str(span.get("kind") or "Function"),
         (begin - start) * 1000, (end - begin) * 1000, record)  # fmt: skip
    for index, child in enumerate(span.get("children") or []):
        _add_span(rows, details, f"{key}/{index}", depth + 1, child, start)


def _tokens(usage: Any) -> int:
    if not isinstance(usage, Mapping):
        return 0

    return int(usage.get("prompt_tokens") or 0) + int(usage.get("completion_tokens") or 0)


def _add(
    rows: list[dict[str, Any]],
    details: dict[str, Any],
    key: str,
    depth: int,
    name: str,
    kind: str,
    start_ms: float,
    duration_ms: float,
    record: Mapping[str, Any],
    note: str = "",
) -> None:
    rows.append(
        {
            "id": key,
            "depth": depth,
            "name": name,
            "kind": kind,
            "start_ms": max(start_ms, 0.0),
            "duration_ms": duration_ms,
            "status": str(record.get("status") or ""),
            "tokens": record.get("tokens") or 0,
            "note": note,
        }
    )
    details[key] = {
        "name": name,
        "kind": kind,
        "inputs": record.get("inputs"),
        "output": record.get("output"),
        "error": record.get("error"),
        "log": record.get("log") or "",
        "attributes": record.get("attributes") or {},
    }
