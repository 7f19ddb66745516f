"""Lets only those in who know the token: pages, files and the websocket alike."""

from __future__ import annotations

import hmac
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

COOKIE = "pfl_ui_token"


class TokenGate:
    """ASGI middleware. `?token=…` sets a cookie and is taken out of the address; without it, nothing is served.

    Args:
        app: What to protect.
        token: The token; never empty.
    """

    def __init__(self, app: Any, token: str) -> None:
        if not token:
            raise ValueError("The gate needs a token.")

        self.app = app
        self._token = token.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or self._is_known(_cookie(scope)):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4401})
        elif self._is_known(_query(scope).get("token", "")):
            await _answer(send, 303, b"", self._headers(scope))
        else:
            await _answer(send, 401, b"This studio needs a token: add ?token=... to the address.", [])

    def _is_known(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token)

    def _headers(self, scope: Any) -> list[tuple[bytes, bytes]]:
        rest = {name: value for name, value in _query(scope).items() if name != "token"}
        target = scope["path"] + (f"?{urlencode(rest)}" if rest else "")
        cookie = f"{COOKIE}={self._token.decode()}; HttpOnly; SameSite=Strict; Path=/"
        return [(b"location", target.encode()), (b"set-cookie", cookie.encode())]


def _query(scope: Any) -> dict[str, str]:
    return dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))


def _cookie(scope: Any) -> str:
    jar = SimpleCookie()
    for name, value in scope.get("headers", []):
        if name == b"cookie":
            jar.load(value.decode("latin-1"))
    return jar[COOKIE].value if COOKIE in jar else ""


async def _answer(send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    content = [(b"content-type", b"text/plain; charset=utf-8"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": content})
    await send({"type": "http.response.body", "body": body})
