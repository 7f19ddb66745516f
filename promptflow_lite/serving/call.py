"""One HTTP request as far as running a flow needs it: its headers read once, its body read within limits."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from promptflow_lite.errors import PayloadTooLargeError, RequestTimeoutError
from promptflow_lite.serving.access import bearer_credential
from promptflow_lite.tracing import TraceContext, parse_traceparent

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_MAX_ID = 128


class ClientGoneError(Exception):
    """The client closed the connection before it had its answer; nobody is left to tell."""


class SlowBodyError(RequestTimeoutError):
    """The client did not send its body in time."""


class Call:
    """The headers that matter, of one request. Cost: one pass over the headers."""

    __slots__ = ("_headers", "is_recorded", "request_id")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._headers = dict(headers)
        self.is_recorded = False
        self.request_id = self._request_id()

    def header(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def credential(self) -> str | None:
        headers = self._headers
        return bearer_credential(headers.get(b"authorization"), headers.get(b"x-api-key") or headers.get(b"api-key"))

    @property
    def accept(self) -> str | None:
        return self.header(b"accept")

    @property
    def session(self) -> str | None:
        return self.header(b"x-session-id")

    @property
    def wanted_deployment(self) -> str | None:
        return self.header(b"x-deployment")

    @property
    def content_length(self) -> int | None:
        text = self._headers.get(b"content-length", b"")
        return int(text) if text.isdigit() else None

    def trace_context(self) -> TraceContext | None:
        """The trace that the caller continues, if it says so."""
        if b"traceparent" not in self._headers:
            return None

        return parse_traceparent(self.header(b"traceparent"), self.header(b"baggage"))

    def _request_id(self) -> str:
        """`x-request-id`, else `x-ms-client-request-id`, else a new one; odd ones are replaced: they go into logs."""
        text = self.header(b"x-request-id") or self.header(b"x-ms-client-request-id")
        return text if text and len(text) <= _MAX_ID and text.isascii() and text.isprintable() else str(uuid.uuid4())


async def read_body(receive: Receive, call: Call, *, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body.

    Raises:
        PayloadTooLargeError: it is, or says it will be, larger than `max_bytes`.
        SlowBodyError: it did not arrive in time.
        ClientGoneError: the client left while sending.
    """
    if (call.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)

    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)

        return body

    try:
        async with asyncio.timeout(timeout_s):
            return await _read_parts(receive, message, max_bytes)
    except TimeoutError as error:
        raise SlowBodyError(f"The request body did not arrive within {timeout_s:g} seconds.") from error


async def _read_parts(receive: Receive, message: Message, max_bytes: int) -> bytes:
    parts, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError

        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)

        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)

        message = await receive()


def _too_large(max_bytes: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The request body is larger than {max_bytes} bytes.", hint="The limit is set with --max-body-mb."
    )


async def wait_until_gone(receive: Receive) -> None:
    """Return when the client closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
