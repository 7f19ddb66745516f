"""A stand-in for an OpenID Connect provider on loopback: discovery, authorization code with PKCE, signed ID tokens."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "studio"
SECRET = "a-client-secret"


class StandInProvider:
    """Signs everybody in as one person.

    Args:
        claims: What the ID token says beside what the protocol asks for.
    """

    def __init__(self, **claims: Any) -> None:
        self.claims = {"sub": "42", **claims}
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.address = ""
        self.codes: dict[str, dict[str, str]] = {}
        """Code -> the request that it answers; each can be used once."""
        self.refusals: list[str] = []

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser goes after signing in."""
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str], credentials: tuple[str, str]) -> dict[str, Any] | None:
        """Tokens for a code, or None when the request is not in order."""
        asked = self.codes.pop(form.get("code", ""), None)
        problem = self._problem(asked, form, credentials)
        if problem or asked is None:
            self.refusals.append(problem)
            return None

        now = int(time.time())
        claims = {**self.claims, "iss": self.address, "aud": CLIENT, "iat": now, "exp": now + 300}
        if "nonce" in asked:
            claims["nonce"] = asked["nonce"]
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def _problem(self, asked: dict[str, str] | None, form: dict[str, str], credentials: tuple[str, str]) -> str:
        if asked is None:
            return "unknown code"

        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if asked.get("code_challenge") != base64.urlsafe_b64encode(digest).decode().rstrip("="):
            return "wrong code verifier"

        if form.get("redirect_uri") != asked["redirect_uri"]:
            return "another redirect address"

        return "" if credentials == (CLIENT, SECRET) else "wrong client"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: StandInProvider

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/.well-known/openid-configuration":
            self._json(self.provider.discovery())
        elif address.path == "/jwks":
            self._json({"keys": [self.provider.key.as_dict(private=False)]})
        elif address.path == "/authorize":
            self._answer(302, b"", ("Location", self.provider.authorize(_first(address.query))))
        else:
            self._answer(404, b"")

    def do_POST(self) -> None:
        form = _first(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        text = base64.b64decode(encoded).decode() if scheme == "Basic" else ":"
        name, _, secret = text.partition(":")
        tokens = self.provider.token(form, (name, secret))
        if tokens is None:
            self._answer(400, b'{"error": "invalid_grant"}', ("Content-Type", "application/json"))
        else:
            self._json(tokens)

    def _json(self, data: dict[str, Any]) -> None:
        self._answer(200, json.dumps(data).encode(), ("Content-Type", "application/json"))

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _first(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@contextmanager
def serve_provider(provider: StandInProvider) -> Iterator[str]:
    """The address of a running stand-in."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": provider}))
    provider.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
