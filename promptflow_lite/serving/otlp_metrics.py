"""Metrics of served requests to an OpenTelemetry collector: OTLP over HTTP, with the contract's names (10.4), which the
OpenTelemetry SDK sends in lower case.

`serving.metrics` is the same for servers that are scraped; this is for dashboards that were made for prompt flow.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from promptflow_lite import settings
from promptflow_lite._utils.imports import require
from promptflow_lite._utils.jsonable import loads
from promptflow_lite.records import NodeResult, ServedRequest, Span, Status

logger = logging.getLogger(__name__)

_METER = "Promptflow Standard Metrics"
_LATENCY_BUCKETS_MS = (1, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000)
_MODEL_CALLS = ("LLM", "Embedding")


def metric_exporter_from_environment() -> MetricExporter | None:
    """The exporter that the standard variables ask for; None when they name no collector.

    `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` is used as it is, `OTEL_EXPORTER_OTLP_ENDPOINT` with `/v1/metrics` added.
    `PF_SERVING_METRICS_COMMON_DIMENSIONS`, a JSON object, adds attributes to every value.
    """
    exact = settings.env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    base = settings.env("OTEL_EXPORTER_OTLP_ENDPOINT")
    url = exact or (f"{base.rstrip('/')}/v1/metrics" if base else None)
    return MetricExporter(url, dimensions=_common_dimensions()) if url else None


def _common_dimensions() -> dict[str, str]:
    text = settings.env("PF_SERVING_METRICS_COMMON_DIMENSIONS")
    try:
        value = loads(text) if text else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        logger.warning("PF_SERVING_METRICS_COMMON_DIMENSIONS is not a JSON object; it is ignored.")
        return {}

    return {str(key): str(item) for key, item in value.items()}


class MetricExporter:
    """Counts finished requests and sends the sums to a collector now and then (`OTEL_METRIC_EXPORT_INTERVAL`, ms).

    Args:
        url: Address of the OTLP/HTTP metrics receiver.
        dimensions: Attributes of every value.

    Thread: `export_requests` is called by the recorder's thread; sending happens on a thread of the library.
    """

    def __init__(self, url: str, *, dimensions: Mapping[str, str] | None = None) -> None:
        sdk = require("opentelemetry.sdk.metrics", extra="otel", feature="Exporting metrics")
        http = require(
            "opentelemetry.exporter.otlp.proto.http.metric_exporter", extra="otel", feature="Exporting metrics"
        )
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource

        reader = PeriodicExportingMetricReader(http.OTLPMetricExporter(endpoint=url, timeout=5))
        resource = Resource.create({"service.name": settings.env("OTEL_SERVICE_NAME") or "promptflow"})
        self._provider = sdk.MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._dimensions = dict(dimensions or {})

        meter = self._provider.get_meter(_METER)
        self._tokens = meter.create_counter("Token_Consumption")
        self._flow_requests = meter.create_counter("Flow_Request")
        self._node_requests = meter.create_counter("Node_Request")
        self._call_requests = meter.create_counter("RPC_Request")

        def histogram(name: str) -> Any:
            return meter.create_histogram(name, unit="ms", explicit_bucket_boundaries_advisory=_LATENCY_BUCKETS_MS)

        self._flow_latency = histogram("Flow_Latency")
        self._node_latency = histogram("Node_Latency")
        self._call_latency = histogram("RPC_Latency")
        self._streaming_duration = histogram("Flow_Streaming_Response_Duration")

    def export_requests(self, records: Sequence[ServedRequest]) -> None:
        """Count finished requests; what a shadow deployment did is not what callers saw and is left out."""
        for record in records:
            if record.is_shadow:
                continue

            flow = {**self._dimensions, "flow": record.endpoint}
            self._count_request(record, flow)
            for node in record.nodes:
                if node.status is not Status.BYPASSED:
                    self._count_node(node, flow)

    def close(self) -> None:
        """Send what was counted and stop."""
        self._provider.shutdown(timeout_millis=10_000)

    def _count_request(self, record: ServedRequest, flow: Mapping[str, str]) -> None:
        first_token_ms = record.first_token_ms
        facts = {**flow, "response_code": str(record.status_code), "streaming": str(first_token_ms is not None)}
        self._flow_requests.add(1, {**facts, "exception": _error_name(record.error)})
        if first_token_ms is None:
            self._flow_latency.record(record.duration_ms, {**facts, "response_type": "default"})
        else:
            self._flow_latency.record(first_token_ms, {**facts, "response_type": "firstbyte"})
            self._flow_latency.record(record.duration_ms, {**facts, "response_type": "lastbyte"})
            self._streaming_duration.record(record.duration_ms - first_token_ms, flow)

    def _count_node(self, node: NodeResult, flow: Mapping[str, str]) -> None:
        named = {**flow, "node": node.node}
        facts = {**named, "run_status": node.status.value}
        self._node_requests.add(1, {**facts, "exception": _error_name(node.error)})
        if node.start_time is not None and node.end_time is not None:
            self._node_latency.record((node.end_time - node.start_time) * 1000, facts)

        for span in _model_calls(node.spans):
            self._count_call(span, named)

    def _count_call(self, span: Span, named: Mapping[str, str]) -> None:
        facts = {**named, "api_call": span.name}
        self._call_requests.add(1, {**facts, "exception": _error_name(span.error)})
        if span.end_time is not None:
            self._call_latency.record((span.end_time - span.start_time) * 1000, facts)

        if span.usage is not None:
            engine = {**named, "llm_engine": str(span.attributes.get("model") or "")}
            self._tokens.add(span.usage.prompt_tokens, {**engine, "token_type": "prompt_tokens"})
            self._tokens.add(span.usage.completion_tokens, {**engine, "token_type": "completion_tokens"})


def _model_calls(spans: Sequence[Span]) -> Iterator[Span]:
    for span in spans:
        if span.kind in _MODEL_CALLS:
            yield span
        else:
            yield from _model_calls(span.children)


def _error_name(error: Mapping[str, Any] | None) -> str:
    return str(error.get("errorCode") or error.get("type") or error.get("code") or "") if error else ""
