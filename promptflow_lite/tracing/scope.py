"""What happens inside one node while it runs: traced calls, token usage and printed text.

A scope is bound to the current context (`contextvars`), so threads and tasks started with a copied context report into
the node that started them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

from promptflow_lite.records import Span, Usage

_current: ContextVar[Scope | None] = ContextVar("pfl_scope", default=None)


class Scope:
    """Collects spans and usage of one node execution; use as a context manager."""

    def __init__(self, node: str, *, metrics: dict[str, Any] | None = None) -> None:
        self.node = node
        self.spans: list[Span] = []
        self.usage = Usage()
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self.is_cached = False
        """The output came from the cache."""
        self.metrics = metrics
        """Receives `log_metric` values while an aggregation node runs; None otherwise."""
        self._token: Token[Scope | None] | None = None

    def __enter__(self) -> Scope:
        self._token = _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._token is not None:
            _current.reset(self._token)


_open_span: ContextVar[Span | None] = ContextVar("pfl_open_span", default=None)


def current_scope() -> Scope | None:
    """The scope of the node that is running in this context, if any."""
    return _current.get()


def open_span(name: str, kind: str, inputs: Any = None) -> tuple[Span, Token[Span | None]]:
    """Start a span below the currently open one; close it with `close_span`."""
    span = Span(name=name, kind=kind, start_time=time.time(), inputs=inputs)
    parent = _open_span.get()
    scope = _current.get()
    if parent is not None:
        parent.children.append(span)
    elif scope is not None:
        scope.spans.append(span)
    return span, _open_span.set(span)


def close_span(
    span: Span, token: Token[Span | None] | None, *, output: Any = None, error: dict[str, Any] | None = None
) -> None:
    """End a span. `token` is None when another context closes it, as a consumed generator does."""
    span.end_time = time.time()
    span.output = output
    span.error = error
    if token is not None:
        _open_span.reset(token)


def current_span() -> Span | None:
    """The span that is open in this context, if any."""
    return _open_span.get()


def detach_span(token: Token[Span | None]) -> None:
    """Leave a span open but no longer current, as a generator does between two items."""
    _open_span.reset(token)


@contextmanager
def resume_span(span: Span) -> Iterator[None]:
    """Make an open span current again for the duration of the block."""
    token = _open_span.set(span)
    try:
        yield
    finally:
        _open_span.reset(token)


def add_usage(usage: Usage, span: Span | None = None) -> None:
    """Count tokens for the running node, and on the span of the call that used them."""
    scope = _current.get()
    if scope is not None:
        scope.usage.add(usage)

    if span is not None:
        span.usage = usage


def log_metric(key: str, value: Any, variant_id: str | None = None) -> None:
    """Record a metric of the run; effective only while an aggregation node runs.

    Args:
        key: Name of the metric.
        value: A number.
        variant_id: Accepted for compatibility and ignored.
    """
    scope = _current.get()
    if scope is not None and scope.metrics is not None:
        scope.metrics[key] = value
