"""Tells the browser that the server is at the root, whatever page was opened first."""

from __future__ import annotations

from typing import Any

_SCRIPT = b"<script>window.__streamlit = { BACKEND_BASE_URL: window.location.origin }</script>"


class AtRoot:
    """ASGI middleware. Without it a page that is opened by its own address first asks for a server below that address,
    which the browser's console reports as errors.

    Args:
        app: Whose HTML pages get the hint.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not _wants_html(scope):
            await self.app(scope, receive, send)
            return

        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self.app({**scope, "headers": headers}, receive, _Hinted(send))


class _Hinted:
    """Passes an answer on; a page gets the hint first thing in its head."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._start: dict[str, Any] | None = None
        self._body = b""

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and _is_html(message):
            self._start = message
        elif self._start is not None and message["type"] == "http.response.body":
            await self._take(message)
        else:
            await self._send(message)

    async def _take(self, message: dict[str, Any]) -> None:
        self._body += message.get("body", b"")
        if message.get("more_body") or self._start is None:
            return

        body = self._body.replace(b"<head>", b"<head>" + _SCRIPT, 1)
        headers = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _wants_html(scope: Any) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def _is_html(message: dict[str, Any]) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in message["headers"])
