"""Records to database rows and back: which field is JSON text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.records import LineResult, NodeResult, RunRecord, Span, Status, Usage
from promptflow_lite.records.data import node_from_data, node_to_data, span_from_data, span_to_data

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
        _steps_to_text(line),
        line.start_time,
        line.end_time,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.calls,
    )


def line_from_row(run_name: str, row: Any) -> LineResult:
    """The line of a row with `LINE_COLUMNS` in order."""
    _, number, status, inputs, output, error, steps, start, end, prompt, completion, calls = row
    nodes, spans = _steps_from_text(steps)
    return LineResult(
        line_number=number,
        status=Status(status),
        inputs=None if inputs is None else loads(inputs),
        output=None if output is None else loads(output),
        error=None if error is None else loads(error),
        start_time=start or 0.0,
        end_time=end,
        usage=Usage(prompt, completion, calls),
        nodes=nodes,
        spans=spans,
        run_id=f"{run_name}_{number}",
    )


def _steps_to_text(line: LineResult) -> str:
    """Nodes as a JSON list; traced calls outside any node make it an object with both."""
    nodes = [node_to_data(node) for node in line.nodes]
    return dumps({"nodes": nodes, "spans": [span_to_data(span) for span in line.spans]} if line.spans else nodes)


def _steps_from_text(text: str | None) -> tuple[list[NodeResult], list[Span]]:
    data = loads(text) if text else []
    if isinstance(data, list):
        return [node_from_data(item) for item in data], []

    return [node_from_data(item) for item in data["nodes"]], [span_from_data(item) for item in data["spans"]]
