"""Guards a server without keys against web pages: only programs and pages of this machine may call it.

A browser sends the requests of every page it shows, also to loopback addresses. A page of another site is known by its
`Origin`; one that made its own name point here (DNS rebinding) by its `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from promptflow_lite._utils.jsonable import dumps_bytes
from promptflow_lite.errors import ForeignPageError
from promptflow_lite.serving.call import Receive, Scope, Send
from promptflow_lite.serving.faults import body_of, status_of

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """Whether an address or name can only be reached from this machine."""
    if host in ("localhost", "ip6-localhost") or host.endswith(".localhost"):
        return True

    try:
        return ipaddress.ip_address(host.strip("[]").split("%")[0]).is_loopback
    except ValueError:
        return False


class LoopbackGuard:
    """ASGI middleware that refuses requests which a page of another site made.

    Args:
        app: What to protect.
        allowed_origins: Pages that may call nevertheless; `*` allows all of them.
    """

    def __init__(self, app: App, allowed_origins: tuple[str, ...] = ()) -> None:
        self._app = app
        self._allowed_origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return

        body = dumps_bytes(body_of(refusal))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status_of(refusal), "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope) -> ForeignPageError | None:
        host = origin = None
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1").lower()
            elif name == b"origin":
                origin = value.decode("latin-1").lower()

        if host is not None and not is_loopback(_name_of(host)):
            return ForeignPageError(
                f"This server answers on loopback names only, not on {host[:100]!r}.",
                hint="Call it as 127.0.0.1 or localhost, or serve with --auth keys.",
            )

        if origin is None or "*" in self._allowed_origins or origin in self._allowed_origins:
            return None

        if origin in (f"http://{host}", f"https://{host}"):
            return None

        return ForeignPageError(
            f"Web pages of {origin[:100]!r} may not call this server.",
            hint="Allow them with --allow-origin, or serve with --auth keys.",
        )


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
