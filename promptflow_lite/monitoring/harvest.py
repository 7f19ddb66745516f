"""Recorded requests as data: failing or disliked ones to a data set, live traffic to runs that can be compared."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from promptflow_lite._utils.files import replace_file
from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.errors import ServingError
from promptflow_lite.records import LineResult, RunRecord, ServedRequest, Status, Usage
from promptflow_lite.store import Store


def worst_requests(
    store: Store,
    endpoint: str,
    *,
    deployment: str | None = None,
    since: float | None = None,
    metric: str | None = None,
    below: float | None = None,
) -> list[tuple[ServedRequest, str]]:
    """Requests worth looking at, oldest first, each with the reason: it failed, was disliked, or scored low."""
    reasons: dict[int, tuple[ServedRequest, str]] = {}
    records = store.requests.list(endpoint, deployment=deployment, since=since, limit=None, newest_first=False)
    disliked = {f.request_id for f in store.requests.feedback(endpoint, since=since) if f.is_dislike and f.request_id}
    for record in records:
        if record.id is None:
            continue

        if record.status_code >= 400:
            reasons[record.id] = (record, f"failed: {(record.error or {}).get('message', record.status_code)}")
        elif record.request_id in disliked and not record.is_shadow:
            reasons[record.id] = (record, "disliked")
    if metric is not None and below is not None:
        for record, score in store.requests.scores(endpoint, since=since):
            is_wanted = score.metric == metric and deployment in (None, record.deployment)
            if is_wanted and record.id is not None and score.value is not None and score.value < below:
                reasons.setdefault(record.id, (record, f"{metric} is {score.value:.3g}"))
    return [reasons[key] for key in sorted(reasons)]


def data_rows(found: Iterable[tuple[ServedRequest, str]]) -> list[dict[str, Any]]:
    """Rows of a data set: the inputs, what was answered, and why the row is here."""
    rows = []
    for record, reason in found:
        if record.inputs is not None:
            about = {"request_id": record.request_id, "deployment": record.deployment, "reason": reason}
            rows.append({**record.inputs, "_answer": record.output, "_about": about})
    return rows


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> int:
    """Write JSON lines; returns how many."""
    replace_file(path, "".join(dumps(row) + "\n" for row in rows))
    return len(rows)


def save_as_run(
    store: Store, endpoint: str, deployment: str, name: str, *, beside: str | None = None, since: float | None = None
) -> int:
    """Store a deployment's requests as a batch run, so that runs, comparisons and the gate work on live traffic.

    Scores become outputs of the line. With `beside`, only requests that both deployments ran are taken, and a request
    has the same line number in both runs.

    Returns:
        The number of lines.
    Raises:
        ServingError: there is no such request.
    """
    records = store.requests.list(endpoint, since=since, limit=None, newest_first=False)
    own = {r.request_id: r for r in records if r.deployment == deployment}
    other = {r.request_id for r in records if r.deployment == beside} if beside else own.keys()
    shared = sorted(own.keys() & other)
    if not shared:
        raise ServingError(f"Endpoint {endpoint!r} recorded no such requests of deployment {deployment!r}.")

    score_by_row: dict[int, dict[str, float | None]] = {}
    for _, score in store.requests.scores(endpoint, since=since):
        score_by_row.setdefault(score.request_row, {})[score.metric] = score.value
    lines = [_line(number, own[key], score_by_row.get(own[key].id or -1, {})) for number, key in enumerate(shared)]
    now = time.time()
    store.runs.create(
        RunRecord(
            name=name,
            flow=f"endpoint:{endpoint}/{deployment}",
            status=Status.RUNNING,
            created_on=now,
            start_time=lines[0].start_time,
            total_lines=len(lines),
            properties={"endpoint": endpoint, "deployment": deployment},
        )
    )
    store.runs.add_lines(name, lines)
    store.runs.update(name, status=Status.COMPLETED, end_time=now)
    return len(lines)


def _line(number: int, record: ServedRequest, scores: dict[str, float | None]) -> LineResult:
    output = record.output if isinstance(record.output, dict) else {"output": record.output}
    is_failed = record.status_code >= 400
    return LineResult(
        line_number=number,
        status=Status.FAILED if is_failed else Status.COMPLETED,
        inputs={**(record.inputs or {}), "line_number": number},
        output=None if is_failed else {**output, **scores},
        error=record.error,
        start_time=record.start_time,
        end_time=record.start_time + record.duration_ms / 1000,
        usage=Usage(record.prompt_tokens, record.completion_tokens, record.model_calls),
    )
