"""Signing in with OpenID Connect, and pages that are opened by their own address."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from promptflow_lite.sdk.resources import bundled
from tests.support.oidc import CLIENT, SECRET, StandInProvider, serve_provider
from tests.support.studio import Studio, Watched, free_port
from tests.ui.test_pages import PAGES, texts

sys.path.insert(0, str(bundled("ui")))
from parts.root import AtRoot

PERSON = {"email": "ana@example.org", "email_verified": True, "name": "Ana"}


@contextmanager
def studio_with_sign_in(workspace: Path, home: Path, provider: StandInProvider, extra: str = "") -> Iterator[Studio]:
    port = free_port()
    with serve_provider(provider) as address:
        settings = home / "studio" / ".streamlit" / "secrets.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(
            f"""
[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "a long random text for signing cookies"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
server_metadata_url = "{address}/.well-known/openid-configuration"
{extra}
"""
        )
        running = Studio(workspace, port=port)
        try:
            yield running
        finally:
            running.close()


@pytest.mark.browser
def test_a_person_signs_in_and_out(workspace_folder: Path, home: Path, watched: Watched) -> None:
    provider = StandInProvider(**PERSON)
    with studio_with_sign_in(workspace_folder, home, provider, '[studio]\nemails = ["Ana@example.org"]') as studio:
        page = watched.page
        page.goto(f"{studio.url}/runs")
        page.get_by_text("Sign in to see the studio.").wait_for()
        assert page.get_by_text("No runs yet.").count() == 0

        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="New flow").wait_for()
        assert page.get_by_text("ana@example.org").is_visible()
        assert provider.refusals == []

        page.get_by_role("button", name="Sign out").click()
        page.get_by_text("Sign in to see the studio.").wait_for()
        assert watched.foreign == []


@pytest.mark.browser
@pytest.mark.parametrize(
    "claims", [{**PERSON, "email": "eve@example.org"}, {**PERSON, "email_verified": False}, {"name": "Nobody"}]
)
def test_an_account_that_is_not_named_sees_nothing(
    workspace_folder: Path, home: Path, watched: Watched, claims: dict[str, Any]
) -> None:
    provider = StandInProvider(**claims)
    with studio_with_sign_in(workspace_folder, home, provider, '[studio]\nemails = ["ana@example.org"]') as studio:
        page = watched.page
        page.goto(studio.url)
        page.get_by_role("button", name="Sign in").click()

        page.get_by_text("This account may not see the studio.").wait_for()
        assert page.get_by_role("button", name="New flow").count() == 0


@pytest.mark.parametrize("name", PAGES)
def test_no_page_shows_anything_before_signing_in(name: str, workspace_folder: Path) -> None:
    at = AppTest.from_file(str(bundled("ui") / "app.py"), default_timeout=30)
    at.secrets["auth"] = {"client_id": CLIENT}
    at.run()
    at.switch_page(f"screens/{name}.py").run()

    assert "Sign in to see the studio." in texts(at)
    assert [button.key for button in at.button] == ["sign_in"]


@pytest.mark.browser
@pytest.mark.parametrize("path", ["runs?status=x", "run?run=unknown", "batch?flow=a", "models"])
def test_a_page_opened_by_its_address_complains_about_nothing(studio: Studio, watched: Watched, path: str) -> None:
    watched.page.goto(f"{studio.url}/{path}")
    watched.page.locator("h2").first.wait_for()
    watched.settle()

    assert watched.complaints == []
    assert watched.foreign == []


def answered(body: bytes, kind: bytes, accept: bytes = b"text/html,*/*") -> tuple[dict[bytes, bytes], bytes, Any]:
    """What a page behind the hint looks like: headers, body and what the page itself was asked."""
    sent: list[dict[str, Any]] = []
    asked: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": body[5:]})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"accept", accept), (b"accept-encoding", b"gzip")]}
    asyncio.run(AtRoot(app)(scope, None, send))
    return dict(sent[0]["headers"]), b"".join(item.get("body", b"") for item in sent[1:]), asked[0]


def test_a_page_is_told_where_its_server_is() -> None:
    headers, body, asked = answered(b"<html><head><title>x</title></head></html>", b"text/html; charset=utf-8")

    assert body.startswith(b"<html><head><script>window.__streamlit = { BACKEND_BASE_URL")
    assert body.endswith(b"<title>x</title></head></html>")
    assert headers[b"content-length"] == str(len(body)).encode()
    assert b"accept-encoding" not in dict(asked["headers"]), "a compressed page could not be changed"


@pytest.mark.parametrize(("kind", "accept"), [(b"application/json", b"text/html"), (b"text/html", b"application/json")])
def test_other_answers_pass_as_they_are(kind: bytes, accept: bytes) -> None:
    assert answered(b'{"a": "<head>"}', kind, accept)[1] == b'{"a": "<head>"}'
