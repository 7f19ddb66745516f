"""Bearer tokens of an identity provider: JWTs checked against the provider's public keys (OIDC)."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptflow_lite._utils.imports import require
from promptflow_lite._utils.jsonable import loads
from promptflow_lite.errors import AuthenticationError, ServingError
from promptflow_lite.serving.roles import Role

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric only: with a shared-secret algorithm the published key would be the signing key."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """Which tokens an operator trusts."""

    jwks: str
    """File or https URL of the provider's JSON Web Key Set."""
    issuer: str
    audience: str
    roles_claim: str = "roles"
    """Claim with one role or a list of them; dots reach into objects (`realm_access.roles`)."""
    default_role: Role | None = None
    """Role of a valid token without a known one; None refuses it."""
    leeway_s: float = 30.0
    refresh_s: float = 300.0
    """How long fetched keys are used before they are fetched again."""


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Who a valid token speaks for."""

    subject: str
    role: Role
    expires_at: float


class TokenChecker:
    """Checks tokens against one policy.

    Thread: any. A token once checked is remembered until it expires, at most a minute.
    """

    _REMEMBER_S = 60.0
    _REMEMBER_N = 1024

    def __init__(self, policy: TokenPolicy) -> None:
        require("jwt", extra="serve", feature="Checking JWT bearer tokens")
        if policy.jwks.startswith("http://"):
            raise ServingError(f"The key set {policy.jwks!r} would travel unprotected.", hint="Use https or a file.")

        self._policy = policy
        self._lock = threading.Lock()
        self._key_by_id: dict[str | None, Any] = {}
        self._loaded_at: float | None = None
        self._identity_by_token: dict[str, tuple[TokenIdentity, float]] = {}

    def check(self, token: str) -> TokenIdentity:
        """Who the token speaks for.

        Raises:
            AuthenticationError: it is expired, forged, for another audience, or carries no known role.
        """
        now = time.time()
        remembered = self._identity_by_token.get(token)
        if remembered and now < remembered[1]:
            return remembered[0]

        identity = self._verify(token)
        if len(self._identity_by_token) >= self._REMEMBER_N:
            self._identity_by_token.clear()

        self._identity_by_token[token] = (identity, min(identity.expires_at, now + self._REMEMBER_S))
        return identity

    def _verify(self, token: str) -> TokenIdentity:
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in ALGORITHMS:
                raise AuthenticationError(f"The token is signed with {algorithm!r}, which is not accepted.")

            claims = jwt.decode(
                token,
                self._signing_key(header.get("kid")),
                algorithms=[algorithm],
                audience=self._policy.audience,
                issuer=self._policy.issuer,
                leeway=self._policy.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise AuthenticationError(f"The bearer token is not valid: {error}") from error

        return TokenIdentity(str(claims["sub"]), self._role_of(claims), float(claims["exp"]))

    def _role_of(self, claims: dict[str, Any]) -> Role:
        value: Any = claims
        for part in self._policy.roles_claim.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        granted = [role for role in reversed(Role) if role.value in names]
        if granted:
            return granted[0]

        if self._policy.default_role is None:
            raise AuthenticationError(f"The token grants no role in its claim {self._policy.roles_claim!r}.")

        return self._policy.default_role

    def _signing_key(self, key_id: str | None) -> Any:
        with self._lock:
            is_old = self._loaded_at is None or time.monotonic() - self._loaded_at > self._policy.refresh_s
            may_be_new = key_id not in self._key_by_id and self._age_s() > 10.0
            if is_old or may_be_new:
                self._load()

            keys = self._key_by_id
        if key_id in keys:
            return keys[key_id]

        if key_id is None and len(keys) == 1:
            return next(iter(keys.values()))

        raise AuthenticationError("The token is signed with a key that its issuer does not publish.")

    def _age_s(self) -> float:
        return float("inf") if self._loaded_at is None else time.monotonic() - self._loaded_at

    def _load(self) -> None:
        import jwt

        try:
            document = loads(_read(self._policy.jwks))
            keys = jwt.PyJWKSet.from_dict(document).keys
            self._key_by_id = {key.key_id: key for key in keys}
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            if not self._key_by_id:
                raise AuthenticationError(f"The key set of the token's issuer cannot be read: {error}") from error

            logger.warning("The key set %s cannot be read; the keys read before stay in use.", self._policy.jwks)
        self._loaded_at = time.monotonic()


def _read(source: str) -> bytes:
    if not source.startswith("https://"):
        return Path(source).read_bytes()

    import urllib.request

    with urllib.request.urlopen(source, timeout=10) as response:  # noqa: S310  # https only, checked above
        body: bytes = response.read(1 << 20)
    return body
