"""Prometheus metrics of a model server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptflow_lite._utils.imports import require

_LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_GAUGES = {
    "cells_used": "KV cells in use",
    "cells_total": "KV cells of the pool",
    "waiting_rows": "Rows that wait for a place",
    "running_rows": "Rows in the current steps",
    "evaluated_tokens": "Tokens given to the model since it was loaded",
    "generated_tokens": "Tokens generated since it was loaded",
}


class ServerMetrics:
    """Counters of one application, in a registry of its own."""

    def __init__(self) -> None:
        prometheus = require("prometheus_client", extra="serve", feature="Serving a model")
        self._text = prometheus.generate_latest
        self.content_type: str = prometheus.CONTENT_TYPE_LATEST
        self._registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "pfl_model_requests", "Requests by route and status", ["route", "status"], registry=self._registry
        )
        self._tokens = prometheus.Counter(
            "pfl_model_tokens", "Tokens of answered requests", ["kind"], registry=self._registry
        )
        self._latency = prometheus.Histogram(
            "pfl_model_latency_seconds",
            "Until the last byte",
            ["route"],
            buckets=_LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._gauges = {
            name: prometheus.Gauge(f"pfl_engine_{name}", text, registry=self._registry)
            for name, text in _GAUGES.items()
        }

    def count(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def count_usage(self, usage: Mapping[str, Any]) -> None:
        self._tokens.labels("prompt").inc(usage.get("prompt_tokens", 0))
        self._tokens.labels("completion").inc(usage.get("completion_tokens", 0))

    def render(self, stats: Any) -> bytes:
        """The exposition text, with the engine's own figures as of now."""
        for name, gauge in self._gauges.items():
            gauge.set(getattr(stats, name))
        return bytes(self._text(self._registry))
