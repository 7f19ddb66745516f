"""Which requests a server without keys takes: those of programs and pages of this machine."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from promptflow_lite.serving.loopback import LoopbackGuard, is_loopback


async def _inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def call(headers: dict[str, str], allowed_origins: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]}
    asyncio.run(LoopbackGuard(_inner, allowed_origins)(scope, None, send))  # type: ignore[arg-type]
    return sent[0]["status"], orjson.loads(sent[1]["body"])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "127.0.0.1:8080"},
        {"host": "LOCALHOST"},
        {"host": "[::1]:8080"},
        {"host": "flow.localhost:8080"},
        {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080"},
        {"host": "localhost:8080", "origin": "https://localhost:8080"},
    ],
)
def test_programs_and_the_servers_own_pages_may_call(headers: dict[str, str]) -> None:
    assert call(headers)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:8080"},
        {"host": "evil.example", "origin": "http://evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "192.168.1.5:8080"},
        {"host": "127.0.0.1@evil.example"},
        {"host": "[::1"},
        {"host": ""},
        {"host": "127.0.0.1:8080", "origin": "http://evil.example"},
        {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:3000"},
        {"host": "127.0.0.1:8080", "origin": "null"},
    ],
)
def test_pages_of_other_sites_may_not(headers: dict[str, str]) -> None:
    status, body = call(headers)

    assert (status, body["error"]["errorCode"]) == (403, "serving.foreign_page")


@pytest.mark.parametrize(("allowed", "status"), [(("http://app.example",), 200), (("*",), 200), ((), 403)])
def test_an_operator_may_allow_pages(allowed: tuple[str, ...], status: int) -> None:
    assert call({"host": "127.0.0.1:8080", "origin": "http://app.example"}, allowed)[0] == status


def test_allowing_every_page_still_refuses_names_that_were_made_to_point_here() -> None:
    assert call({"host": "evil.example", "origin": "http://evil.example"}, ("*",))[0] == 403


@pytest.mark.parametrize(
    ("host", "is_local"), [("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)]
)
def test_loopback_addresses_are_known(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local
