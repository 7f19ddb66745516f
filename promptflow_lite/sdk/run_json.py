"""A run as the original prints it: the JSON of `pfl run show`, and the summary after streaming."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from promptflow_lite.records import RunRecord


def run_to_json(record: RunRecord, *, with_error_details: bool = True) -> dict[str, Any]:
    """The run with the original's keys, in its order; `properties.lines` and `properties.metrics` are additions."""
    properties: dict[str, Any] = {"flow_path": record.flow, "output_path": record.output_path}
    optional = {
        "node_variant": record.variant,
        "run": record.run,
        "column_mapping": record.column_mapping,
        "resume_from": record.resume_from,
        "init_kwargs": record.init,
    }
    properties.update({key: value for key, value in optional.items() if value is not None})
    properties["system_metrics"] = {
        "total_tokens": record.prompt_tokens + record.completion_tokens,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "duration": duration_s(record),
    }
    properties["lines"] = {
        "total": record.total_lines,
        "completed": record.completed_lines,
        "failed": record.failed_lines,
    }
    properties.update(record.properties)
    result: dict[str, Any] = {
        "name": record.name,
        "created_on": dt.datetime.fromtimestamp(record.created_on, dt.UTC).isoformat(),
        "status": record.status.value,
        "display_name": record.display_name or record.name,
        "description": record.description,
        "tags": record.tags,
        "properties": properties,
        "flow_name": record.flow_name,
        "data": record.data,
        "output": record.output_path and str(Path(record.output_path) / "flow_outputs"),
    }
    if record.run:
        result["run"] = record.run

    if record.error:
        result["error"] = record.error if with_error_details else _brief(record.error)

    return result


def _brief(error: dict[str, Any]) -> dict[str, Any]:
    return {key: error[key] for key in ("message", "code") if key in error}


def duration_s(record: RunRecord) -> float | None:
    """Seconds from the first line to the end of the run; None while it has not ended."""
    if record.start_time is None or record.end_time is None:
        return None

    return round(record.end_time - record.start_time, 6)


def run_summary(record: RunRecord) -> str:
    """The lines printed when a streamed run has ended."""
    start = None if record.start_time is None else dt.datetime.fromtimestamp(record.start_time).astimezone()
    duration = duration_s(record)
    return "\n".join(
        [
            "======= Run Summary =======",
            "",
            f'Run name: "{record.name}"',
            f'Run status: "{record.status}"',
            f'Start time: "{start}"',
            f'Duration: "{dt.timedelta(seconds=duration) if duration is not None else None}"',
            f'Output path: "{record.output_path}"',
            "",
        ]
    )
