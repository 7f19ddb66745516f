"""What an endpoint did in a window of time: counts, latencies, tokens and cost per deployment and node. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.evals.stats import Interval, wilson_interval
from promptflow_lite.records import NodeResult, ServedRequest, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTraffic:
    """One node of a deployment."""

    node: str
    n: int
    n_failed: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentTraffic:
    """One deployment."""

    deployment: str
    is_shadow: bool
    n: int
    n_failed: int
    error_rate: float
    error_interval: Interval | None
    """Wilson's, 95 %."""
    requests_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    first_token_p50_ms: float | None
    first_token_p95_ms: float | None
    prompt_tokens: int
    completion_tokens: int
    model_calls: int
    cost: float
    nodes: tuple[NodeTraffic, ...] = field(default=())


def summarize_traffic(records: Sequence[ServedRequest], *, window_s: float | None = None) -> list[DeploymentTraffic]:
    """One summary a deployment, shadows apart from what was answered.

    Args:
        records: Requests of one endpoint.
        window_s: Length of the window; default: from the first request to the end of the last.
    """
    groups: dict[tuple[str, bool], list[ServedRequest]] = {}
    for record in records:
        groups.setdefault((record.deployment, record.is_shadow), []).append(record)
    return [_summarize(name, is_shadow, rows, window_s) for (name, is_shadow), rows in sorted(groups.items())]


def _summarize(name: str, is_shadow: bool, rows: list[ServedRequest], window_s: float | None) -> DeploymentTraffic:
    latencies = sorted(row.duration_ms for row in rows)
    first_tokens = sorted(row.first_token_ms for row in rows if row.first_token_ms is not None)
    n_failed = sum(row.status_code >= 400 for row in rows)
    starts = [row.start_time for row in rows]
    ends = [row.start_time + row.duration_ms / 1000 for row in rows]
    seconds = window_s or max(max(ends) - min(starts), 1e-3)
    return DeploymentTraffic(
        deployment=name,
        is_shadow=is_shadow,
        n=len(rows),
        n_failed=n_failed,
        error_rate=n_failed / len(rows),
        error_interval=wilson_interval(n_failed, len(rows)),
        requests_per_s=len(rows) / seconds,
        p50_ms=quantile(latencies, 0.5),
        p95_ms=quantile(latencies, 0.95),
        p99_ms=quantile(latencies, 0.99),
        first_token_p50_ms=quantile(first_tokens, 0.5),
        first_token_p95_ms=quantile(first_tokens, 0.95),
        prompt_tokens=sum(row.prompt_tokens for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
        model_calls=sum(row.model_calls for row in rows),
        cost=sum(row.cost for row in rows),
        nodes=_summarize_nodes(rows),
    )


def _summarize_nodes(rows: Iterable[ServedRequest]) -> tuple[NodeTraffic, ...]:
    durations: dict[str, list[float]] = {}
    failures: dict[str, int] = {}
    for row in rows:
        for node in row.nodes:
            name, status, start, end = _node_facts(node)
            if status == Status.BYPASSED:
                continue

            durations.setdefault(name, []).append(((end or 0) - (start or 0)) * 1000 if start and end else 0.0)
            failures[name] = failures.get(name, 0) + (status == Status.FAILED)
    return tuple(
        NodeTraffic(
            node=name,
            n=len(values),
            n_failed=failures[name],
            p50_ms=quantile(sorted(values), 0.5),
            p95_ms=quantile(sorted(values), 0.95),
        )
        for name, values in durations.items()
    )


def _node_facts(node: Any) -> tuple[str, str, float | None, float | None]:
    """Name, status, start and end of a fresh result or of one read from the store."""
    if isinstance(node, NodeResult):
        return node.node, node.status, node.start_time, node.end_time

    return node["node"], node["status"], node.get("start_time"), node.get("end_time")


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The nearest-rank quantile of ordered values; None without values."""
    if not ordered:
        return None

    return ordered[min(len(ordered) - 1, max(0, math.ceil(q * len(ordered)) - 1))]
