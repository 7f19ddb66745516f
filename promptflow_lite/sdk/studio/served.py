"""Endpoints as the studio shows them: traffic in numbers, and the trace behind a request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from promptflow_lite.records.data import node_from_data
from promptflow_lite.records.serving import EndpointSpec, ServedRequest
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.studio.tester_child import node_to_dict
from promptflow_lite.sdk.studio.traces import trace_rows

WINDOW_S = 3600.0
MAX_REQUESTS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """An endpoint's last hour."""

    n_requests: int
    n_failed: int
    per_minute: float
    p50_ms: float | None
    p95_ms: float | None
    tokens: int
    requests: list[ServedRequest]
    """The newest first."""


def endpoints(client: Client) -> list[EndpointSpec]:
    """The endpoints that are known here."""
    return list(client.store.endpoints.list())


def served_names(client: Client) -> list[str]:
    """Endpoints by name, those that only left requests behind included."""
    names = [spec.name for spec in endpoints(client)]
    recent = client.store.requests.list(limit=MAX_REQUESTS)
    return list(dict.fromkeys([*names, *(request.endpoint for request in recent)]))


def traffic(client: Client, endpoint: str, *, window_s: float = WINDOW_S) -> Traffic:
    """Requests of an endpoint within the window, in numbers; at most the newest 2,000 are looked at."""
    since = time.time() - window_s
    found = client.store.requests.list(endpoint, since=since, limit=MAX_REQUESTS)
    times = sorted(request.duration_ms for request in found if not request.is_shadow)
    oldest = min((request.start_time for request in found), default=since)
    minutes = max((time.time() - oldest) / 60, 1 / 60)
    return Traffic(
        n_requests=len(found),
        n_failed=sum(request.status_code >= 400 for request in found),
        per_minute=len(found) / minutes if found else 0.0,
        p50_ms=_quantile(times, 0.5),
        p95_ms=_quantile(times, 0.95),
        tokens=sum(request.prompt_tokens + request.completion_tokens for request in found),
        requests=list(found),
    )


def trace_of_request(request: ServedRequest) -> dict[str, Any]:
    """Rows for the waterfall of a stored request."""
    nodes = [node_to_dict(node_from_data(node) if isinstance(node, dict) else node) for node in request.nodes]
    line = {
        "status": "Completed" if request.status_code < 400 else "Failed",
        "inputs": request.inputs,
        "output": request.output,
        "error": request.error,
        "duration_ms": request.duration_ms,
        "start_time": request.start_time,
        "nodes": nodes,
    }
    return trace_rows(line, request.request_id)


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None
