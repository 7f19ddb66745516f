"""The token gate, the command's refusals, and a studio that keeps to itself."""

from __future__ import annotations

import asyncio
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.cli.ui import server_flags
from promptflow_lite.sdk.resources import bundled
from tests.support.studio import Studio

sys.path.insert(0, str(bundled("ui")))
from parts.gate import COOKIE, TokenGate

TOKEN = "a-long-random-token"


class Asked:
    """An ASGI call and what came back."""

    def __init__(self, kind: str, path: str, query: str = "", cookie: str = "", gate_token: str = TOKEN) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reached = False
        headers = [(b"cookie", cookie.encode())] if cookie else []
        scope = {"type": kind, "path": path, "query_string": query.encode("latin-1"), "headers": headers}

        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.reached = True

        async def receive() -> dict[str, Any]:
            return {"type": f"{kind}.connect"}

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        asyncio.run(TokenGate(app, gate_token)(scope, receive, send))


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("cookie", ["", f"{COOKIE}=wrong", f"{COOKIE}=", "other=1"])
def test_nothing_is_served_without_the_token(kind: str, cookie: str) -> None:
    asked = Asked(kind, "/_stcore/stream", cookie=cookie)

    assert not asked.reached
    assert asked.sent[0].get("status") == 401 or asked.sent[0]["type"] == "websocket.close"


@pytest.mark.parametrize("query", ["token=wrong", "token=\xff", "token=%ff", "\xff=1&token"])
def test_a_wrong_or_garbled_token_is_refused(query: str) -> None:
    assert Asked("http", "/", query=query).sent[0]["status"] == 401


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_cookie_opens_the_gate(kind: str) -> None:
    assert Asked(kind, "/", cookie=f"{COOKIE}={TOKEN}").reached


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address() -> None:
    asked = Asked("http", "/author", query=f"flow=a&token={TOKEN}")

    headers = dict(asked.sent[0]["headers"])
    assert asked.sent[0]["status"] == 303
    assert headers[b"location"] == b"/author?flow=a"
    assert b"HttpOnly" in headers[b"set-cookie"]
    assert b"SameSite=Strict" in headers[b"set-cookie"]


def test_a_gate_without_a_token_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="token"):
        TokenGate(None, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_other_addresses_are_refused_without_a_token(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", str(tmp_path), "--host", host, "--no-browser"]) == 2
    assert "PFL_UI_TOKEN" in capsys.readouterr().err


def test_a_workspace_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert main(["ui", str(tmp_path / "nowhere")]) == 2


def test_the_server_is_private_and_quiet() -> None:
    flags = server_flags("127.0.0.1", 8501)

    assert "--server.address=127.0.0.1" in flags
    assert "--browser.gatherUsageStats=false" in flags
    assert "--server.allowedHosts=127.0.0.1" in flags
    assert "--server.enableXsrfProtection=true" in flags


def _handshake(port: int, host: str) -> int:
    """The status that a websocket gets under a host name."""
    lines = [
        "GET /_stcore/stream HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Origin: http://{host}",
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(connection.recv(200).split()[1])


@pytest.mark.slow
def test_the_studio_listens_on_loopback_checks_hosts_and_stops_when_asked(workspace_folder: Path) -> None:
    studio = Studio(workspace_folder)
    try:
        assert _handshake(studio.port, "evil.example") == 403
        assert _handshake(studio.port, f"127.0.0.1:{studio.port}") == 101
    finally:
        code = studio.close()

    assert code in (0, -15)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", studio.port)) != 0


@pytest.mark.slow
def test_with_a_token_the_whole_studio_is_behind_the_gate(workspace_folder: Path) -> None:
    studio = Studio(workspace_folder, PFL_UI_TOKEN=TOKEN)
    try:
        for path in ("/", "/_stcore/health", "/_stcore/host-config"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(studio.url + path, timeout=5)
            refused.value.close()
            assert refused.value.code == 401
        request = urllib.request.Request(f"{studio.url}/_stcore/health", headers={"Cookie": f"{COOKIE}={TOKEN}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == 200
    finally:
        studio.close()
