"""Prometheus metrics of what was answered, per deployment and node.

The names follow the contract's meter (10.4) in Prometheus' spelling: seconds, `_total` for counters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from promptflow_lite._utils.imports import require
from promptflow_lite.records import ServedRequest

_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class ServingMetrics:
    """Counters and histograms of one endpoint, in a registry of its own.

    Thread: `observe` is called by the recorder's thread, `render` by any.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        in_flight: Callable[[], int],
        waiting: Callable[[], int],
        dropped: Callable[[], int] = lambda: 0,
    ) -> None:
        prometheus: Any = require("prometheus_client", extra="serve", feature="Metrics")
        self._prometheus = prometheus
        self.registry = prometheus.CollectorRegistry()
        labels = ("endpoint", "deployment")
        self._endpoint = endpoint

        def counter(name: str, text: str, *more: str) -> Any:
            return prometheus.Counter(name, text, (*labels, *more), registry=self.registry)

        def histogram(name: str, text: str, *more: str) -> Any:
            return prometheus.Histogram(name, text, (*labels, *more), registry=self.registry, buckets=_LATENCY_BUCKETS)

        self._child_by_key: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._metric_by_name = {
            "requests": counter("pfl_flow_requests", "Requests answered", "response_code", "shadow"),
            "latency": histogram("pfl_flow_latency_seconds", "From request to the last byte", "shadow"),
            "first_token": histogram("pfl_flow_first_token_seconds", "From request to the first chunk"),
            "tokens": counter("pfl_tokens", "Tokens consumed", "token_type"),
            "cost": counter("pfl_cost", "Cost of the tokens, in the currency of the deployment's prices"),
            "nodes": counter("pfl_node_requests", "Nodes executed", "node", "status"),
            "node_latency": histogram("pfl_node_latency_seconds", "Duration of a node", "node"),
        }
        self._gauge("pfl_requests_in_flight", "Requests being answered; scale on this", in_flight)
        self._gauge("pfl_requests_waiting_for_record", "Answered requests not yet committed", waiting)
        self._gauge("pfl_shadow_requests_dropped", "Requests that shadows were too busy to run", dropped)

    def _gauge(self, name: str, text: str, read: Callable[[], int]) -> None:
        gauge = self._prometheus.Gauge(name, text, ("endpoint",), registry=self.registry)
        gauge.labels(self._endpoint).set_function(read)

    def observe(self, records: Sequence[ServedRequest]) -> None:
        """Count a batch of finished requests; counters are raised once a batch."""
        counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        for record in records:
            labels = (record.endpoint, record.deployment)
            shadow = "true" if record.is_shadow else "false"
            counts["requests", (*labels, str(record.status_code), shadow)] += 1
            self._child("latency", (*labels, shadow)).observe(record.duration_ms / 1000)
            if record.first_token_ms is not None:
                self._child("first_token", labels).observe(record.first_token_ms / 1000)

            if record.model_calls:
                self._child("tokens", (*labels, "prompt")).inc(record.prompt_tokens)
                self._child("tokens", (*labels, "completion")).inc(record.completion_tokens)
                self._child("cost", labels).inc(record.cost)

            for node in record.nodes:
                counts["nodes", (*labels, node.node, node.status.value)] += 1
                if node.start_time is not None and node.end_time is not None:
                    self._child("node_latency", (*labels, node.node)).observe(node.end_time - node.start_time)
        for (name, label_values), n in counts.items():
            self._child(name, label_values).inc(n)

    def _child(self, name: str, label_values: tuple[str, ...]) -> Any:
        """The time series of these labels; looked up once."""
        key = (name, label_values)
        child = self._child_by_key.get(key)
        if child is None:
            child = self._child_by_key[key] = self._metric_by_name[name].labels(*label_values)

        return child

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        text: bytes = self._prometheus.generate_latest(self.registry)
        return text
