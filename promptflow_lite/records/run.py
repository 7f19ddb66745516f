"""A run as stored: one flow over many rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.records.status import Status


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """One batch run: its request, its status and its summary; lines are read from the store."""

    name: str
    flow: str
    """Path of the flow, or `module:attr`."""
    status: Status
    created_on: float
    """Seconds since the epoch."""
    start_time: float | None = None
    end_time: float | None = None
    display_name: str | None = None
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    flow_name: str | None = None
    data: str | None = None
    run: str | None = None
    """Name of the base run whose outputs this run reads."""
    variant: str | None = None
    column_mapping: dict[str, Any] | None = None
    connections: dict[str, Any] | None = None
    environment_variables: dict[str, str] | None = None
    init: dict[str, Any] | None = None
    resume_from: str | None = None
    output_path: str | None = None
    is_archived: bool = False
    error: dict[str, Any] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    """Everything else worth keeping: engine settings, model checksums, experiment and cell."""
    total_lines: int | None = None
    completed_lines: int = 0
    failed_lines: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    pid: int | None = None
    """Process that executes the run, to notice when it died."""
    heartbeat: float | None = None
