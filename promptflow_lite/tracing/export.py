"""Spans to OpenTelemetry: OTLP over HTTP, named by the GenAI semantic conventions.

**Why this shape.** Running flows collects plain `Span` records, which cost little; only when a collector is configured
are they turned into OpenTelemetry spans, after the request, on a thread of their own. A slow or absent collector
therefore never slows a flow down: batches that do not fit the queue are dropped and counted.

Source: OpenTelemetry semantic conventions for generative AI (`gen_ai.*`), W3C Trace Context, OTLP/HTTP.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from promptflow_lite import settings
from promptflow_lite._utils.imports import require
from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.records import NodeResult, ServedRequest, Span, Status
from promptflow_lite.tracing.context import new_span_id, new_trace_id

logger = logging.getLogger(__name__)

_QUEUE = 200
_OPERATION_BY_KIND = {"LLM": "chat", "Embedding": "embeddings", "Retrieval": "retrieval", "Function": "execute_tool"}


def exporter_from_environment() -> SpanExporter | None:
    """The exporter that the standard variables ask for; None when they name no collector.

    `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is used as it is, `OTEL_EXPORTER_OTLP_ENDPOINT` with `/v1/traces` added.
    `PF_BUILTIN_TRACE_EXPORTERS_DISABLE=true` and `PF_TRACING_SKIP_EXPORTER_SETUP=true` turn export off.
    """
    if any(map(settings.env_bool, ("PF_BUILTIN_TRACE_EXPORTERS_DISABLE", "PF_TRACING_SKIP_EXPORTER_SETUP"))):
        return None

    exact = settings.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    base = settings.env("OTEL_EXPORTER_OTLP_ENDPOINT")
    url = exact or (f"{base.rstrip('/')}/v1/traces" if base else None)
    return SpanExporter(url, with_content=not settings.env_bool("PFL_TRACE_WITHOUT_CONTENT")) if url else None


class SpanExporter:
    """Sends finished requests and traces to a collector.

    Args:
        url: Address of the OTLP/HTTP traces receiver.
        with_content: Whether inputs and outputs are sent along.
        resource: More facts about this process.

    Thread: any; sending happens on a thread of its own.
    """

    def __init__(self, url: str, *, with_content: bool = True, resource: dict[str, Any] | None = None) -> None:
        require("opentelemetry.sdk.trace", extra="otel", feature="Exporting traces")
        http = require(
            "opentelemetry.exporter.otlp.proto.http.trace_exporter", extra="otel", feature="Exporting traces"
        )
        from opentelemetry.sdk.resources import Resource

        self._with_content = with_content
        self._resource = Resource.create(
            {"service.name": settings.env("OTEL_SERVICE_NAME") or "promptflow", **(resource or {})}
        )
        self._sender = http.OTLPSpanExporter(endpoint=url, timeout=5)
        self._queue: queue.Queue[list[Any] | None] = queue.Queue(_QUEUE)
        self.n_dropped = 0
        self._thread = threading.Thread(target=self._work, name="pfl-otlp", daemon=True)
        self._thread.start()

    def export_requests(self, records: Sequence[ServedRequest]) -> None:
        """Queue the spans of served requests."""
        self._put([span for record in records for span in request_spans(record, with_content=self._with_content)])

    def export_trace(self, trace_id: str, span: Span) -> None:
        """Queue a tree of user code's spans."""
        self._put(list(_tree(span, trace_id, None, with_content=self._with_content)))

    def close(self) -> None:
        """Send what is queued and stop."""
        self._queue.put(None)
        self._thread.join(timeout=10)
        self._sender.shutdown()

    def _put(self, spans: list[FlatSpan]) -> None:
        try:
            self._queue.put_nowait(spans)
        except queue.Full:
            self.n_dropped += len(spans)

    def _work(self) -> None:
        while (spans := self._queue.get()) is not None:
            try:
                self._sender.export([_readable(span, self._resource) for span in spans])
            except Exception:  # a broken collector must not end the thread
                logger.warning("Spans could not be sent to the collector.", exc_info=True)


class FlatSpan:
    """A span ready to be sent: ids known, attributes final."""

    __slots__ = ("attributes", "end_time", "error", "name", "parent_id", "span_id", "start_time", "trace_id")

    def __init__(
        self,
        name: str,
        trace_id: str,
        parent_id: str | None,
        start_time: float,
        end_time: float,
        attributes: dict[str, Any],
        error: dict[str, Any] | None,
    ) -> None:
        self.name = name
        self.trace_id = trace_id
        self.span_id = new_span_id()
        self.parent_id = parent_id
        self.start_time = start_time
        self.end_time = end_time
        self.attributes = {key: value for key, value in attributes.items() if value is not None}
        self.error = error


def request_spans(record: ServedRequest, *, with_content: bool = True) -> Iterator[FlatSpan]:
    """The spans of one request: the flow, its nodes, and the calls inside them."""
    trace_id = record.trace_id or new_trace_id()
    attributes = {
        "framework": "promptflow",
        "span_type": "Flow",
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": record.endpoint,
        "request_id": record.request_id,
        "line_run_id": record.request_id,
        "session_id": record.session,
        "gen_ai.conversation.id": record.session,
        "promptflow.deployment": record.deployment,
        "promptflow.is_shadow": record.is_shadow,
        "http.response.status_code": record.status_code,
        "__computed__.cumulative_token_count.prompt": record.prompt_tokens,
        "__computed__.cumulative_token_count.completion": record.completion_tokens,
        "__computed__.cumulative_token_count.total": record.prompt_tokens + record.completion_tokens,
    }
    if with_content:
        attributes |= {"inputs": dumps(record.inputs), "output": dumps(record.output)}

    end_time = record.start_time + record.duration_ms / 1000
    root = FlatSpan(
        record.endpoint, trace_id, record.parent_span_id, record.start_time, end_time, attributes, record.error
    )
    yield root
    for node in record.nodes:
        yield from _node_spans(node, trace_id, root.span_id, with_content=with_content)


def _node_spans(node: NodeResult, trace_id: str, parent_id: str, *, with_content: bool) -> Iterator[FlatSpan]:
    if node.status is Status.BYPASSED or node.start_time is None:
        return

    attributes: dict[str, Any] = {
        "framework": "promptflow",
        "span_type": "Function",
        "node_name": node.node,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": node.node,
    }
    if with_content:
        attributes |= {"inputs": dumps(node.inputs), "output": dumps(node.output)}

    end_time = node.end_time or node.start_time
    flat = FlatSpan(node.node, trace_id, parent_id, node.start_time, end_time, attributes, node.error)
    yield flat
    for span in node.spans:
        yield from _tree(span, trace_id, flat.span_id, with_content=with_content)


def _tree(span: Span, trace_id: str, parent_id: str | None, *, with_content: bool) -> Iterator[FlatSpan]:
    flat = FlatSpan(
        span.name,
        trace_id,
        parent_id,
        span.start_time,
        span.end_time or span.start_time,
        span_attributes(span, with_content=with_content),
        span.error,
    )
    yield flat
    for child in span.children:
        yield from _tree(child, trace_id, flat.span_id, with_content=with_content)


def span_attributes(span: Span, *, with_content: bool = True) -> dict[str, Any]:
    """A span's attributes in both vocabularies: prompt flow's own and the GenAI conventions."""
    attributes: dict[str, Any] = {
        "framework": "promptflow",
        "span_type": span.kind,
        "function": span.name,
        "gen_ai.operation.name": _OPERATION_BY_KIND.get(span.kind, "execute_tool"),
    }
    attributes |= {
        key: value if isinstance(value, str | bool | int | float) else dumps(value)
        for key, value in span.attributes.items()
    }
    model = span.attributes.get("llm.response.model") or span.attributes.get("model")
    if span.kind in ("LLM", "Embedding"):
        attributes["gen_ai.provider.name"] = span.attributes.get("provider", "openai")
        attributes["gen_ai.request.model"] = span.attributes.get("model")
        attributes["gen_ai.response.model"] = model

    if span.usage is not None:
        attributes |= {
            "gen_ai.usage.input_tokens": span.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": span.usage.completion_tokens,
            "llm.usage.prompt_tokens": span.usage.prompt_tokens,
            "llm.usage.completion_tokens": span.usage.completion_tokens,
            "llm.usage.total_tokens": span.usage.total_tokens,
        }
    if with_content:
        attributes |= {"inputs": dumps(span.inputs), "output": dumps(span.output)}

    return attributes


def _readable(span: FlatSpan, resource: Any) -> Any:
    """The OpenTelemetry form of a span."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags
    from opentelemetry.trace import Status as SpanStatus

    def context(span_id: str, *, is_remote: bool) -> SpanContext:
        return SpanContext(int(span.trace_id, 16), int(span_id, 16), is_remote, TraceFlags(TraceFlags.SAMPLED))

    is_root = span.attributes.get("span_type") == "Flow"
    attributes = dict(span.attributes)
    status = SpanStatus(StatusCode.OK)
    if span.error is not None:
        attributes["error.type"] = str(span.error.get("errorCode") or span.error.get("type") or span.error.get("code"))
        status = SpanStatus(StatusCode.ERROR, str(span.error.get("message", "")))

    return ReadableSpan(
        name=span.name,
        context=context(span.span_id, is_remote=False),
        parent=context(span.parent_id, is_remote=is_root) if span.parent_id else None,
        resource=resource,
        attributes=attributes,
        kind=SpanKind.SERVER
        if is_root
        else SpanKind.CLIENT
        if "gen_ai.request.model" in attributes
        else SpanKind.INTERNAL,
        status=status,
        start_time=int(span.start_time * 1e9),
        end_time=int(span.end_time * 1e9),
        instrumentation_scope=InstrumentationScope("promptflow"),
    )
