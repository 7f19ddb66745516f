"""W3C trace context: reading and writing `traceparent` and `baggage`, and the context of the running request.

Source: W3C Trace Context (level 2) and W3C Baggage.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

_TRACEPARENT = re.compile(r"^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Identity of one span as it travels between processes."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    sampled: bool = True
    baggage: dict[str, str] = field(default_factory=dict)

    def to_headers(self) -> dict[str, str]:
        """The headers that continue this trace in another process."""
        headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"}
        if self.baggage:
            headers["baggage"] = ",".join(f"{quote(k)}={quote(v)}" for k, v in self.baggage.items())

        return headers

    def child(self) -> TraceContext:
        """A new span of the same trace."""
        return replace(self, span_id=new_span_id())


_current: ContextVar[TraceContext | None] = ContextVar("pfl_trace_context", default=None)


def new_trace_id() -> str:
    return os.urandom(16).hex()


def new_span_id() -> str:
    return os.urandom(8).hex()


def parse_traceparent(header: str | None, baggage: str | None = None) -> TraceContext | None:
    """The caller's context; None when the header is absent or malformed, as the standard asks."""
    match = _TRACEPARENT.match(header.strip().lower()) if header else None
    if match is None:
        return None

    version, trace_id, span_id, flags = match.groups()
    if version == "ff" or set(trace_id) == {"0"} or set(span_id) == {"0"}:
        return None

    return TraceContext(
        trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & 1), baggage=parse_baggage(baggage)
    )


def parse_baggage(header: str | None) -> dict[str, str]:
    """`a=1,b=two%20words;property` as a mapping; members without a value are dropped."""
    members: dict[str, str] = {}
    for member in (header or "").split(","):
        key, sign, value = member.split(";")[0].partition("=")
        if sign and key.strip():
            members[unquote(key.strip())] = unquote(value.strip())
    return members


def current_context() -> TraceContext | None:
    """The context to hand on to a called service, if a trace is running."""
    return _current.get()


@contextmanager
def use_context(context: TraceContext | None) -> Iterator[None]:
    """Run the block as part of the given trace."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
