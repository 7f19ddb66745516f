"""Spans of what ran: the scope of a running node, `@trace` for user code, W3C context and export."""

from promptflow_lite.tracing.api import (
    SpanSink,
    ThreadPoolExecutorWithContext,
    is_recording,
    start_trace,
    stop_trace,
    trace,
)
from promptflow_lite.tracing.context import TraceContext, current_context, parse_traceparent, use_context
from promptflow_lite.tracing.scope import (
    Scope,
    add_usage,
    close_span,
    current_scope,
    current_span,
    log_metric,
    open_span,
    resume_span,
)

__all__ = [
    "Scope",
    "SpanSink",
    "ThreadPoolExecutorWithContext",
    "TraceContext",
    "add_usage",
    "close_span",
    "current_context",
    "current_scope",
    "current_span",
    "is_recording",
    "log_metric",
    "open_span",
    "parse_traceparent",
    "resume_span",
    "start_trace",
    "stop_trace",
    "trace",
    "use_context",
]
