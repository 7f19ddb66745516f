"""Who sends a request, and whether it may: keys, tokens, roles, rate limits."""

from __future__ import annotations

import time
from dataclasses import dataclass

from promptflow_lite.errors import AuthenticationError, PermissionDeniedError
from promptflow_lite.records import Role
from promptflow_lite.serving.keys import KeyRing, looks_like_key
from promptflow_lite.serving.limits import RateLimiter
from promptflow_lite.serving.roles import Permission, is_allowed
from promptflow_lite.serving.tokens import TokenChecker


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request."""

    id: str
    role: Role


ANYBODY = Principal("anonymous", Role.OPERATOR)
"""Whoever reaches an endpoint that runs without authentication, which only loopback may."""


class Gate:
    """Decides about each request.

    Args:
        keys: The known API keys.
        tokens: Checks bearer tokens of an identity provider; None accepts none.
        limiter: Counts requests of keys that have limits.
        is_open: No authentication: every request comes from `ANYBODY`.

    Thread: any.
    """

    def __init__(
        self,
        keys: KeyRing | None = None,
        tokens: TokenChecker | None = None,
        limiter: RateLimiter | None = None,
        *,
        is_open: bool,
    ) -> None:
        self.keys = keys or KeyRing()
        self.limiter = limiter or RateLimiter()
        self.is_open = is_open
        self._tokens = tokens

    def admit(self, credential: str | None, permission: Permission, *, is_counted: bool = False) -> Principal:
        """The sender of a request with this bearer credential, when it may do what it asks.

        Args:
            credential: The key or token, without `Bearer`.
            permission: What the request needs.
            is_counted: Count it against the key's rate and quota.

        Raises:
            AuthenticationError: there is no valid credential.
            PermissionDeniedError: its role is not enough.
            RateLimitedError, QuotaExceededError: it asked too much.
        """
        if self.is_open:
            _require(ANYBODY, permission)
            return ANYBODY

        if not credential:
            raise AuthenticationError("This endpoint needs an API key.", hint="Send it as: Authorization: Bearer pfl_…")

        if self._tokens is not None and not looks_like_key(credential):
            identity = self._tokens.check(credential)
            principal = Principal(identity.subject, identity.role)
            _require(principal, permission)
            return principal

        key = self.keys.check(credential, now=time.time())
        if key is None:
            raise AuthenticationError("The API key is not known, expired or revoked.")

        principal = Principal(key.id, key.role)
        _require(principal, permission)
        if is_counted:
            self.limiter.admit(key.id, rate_per_minute=key.rate_per_minute, quota_per_day=key.quota_per_day)

        return principal


def _require(principal: Principal, permission: Permission) -> None:
    if not is_allowed(principal.role, permission):
        raise PermissionDeniedError(
            f"The role {principal.role.value!r} may not do this; it needs the permission {permission.value!r}.",
            hint="Ask an administrator for a key of another role.",
        )


def bearer_credential(authorization: bytes | None, api_key: bytes | None) -> str | None:
    """The credential of `Authorization: Bearer …`, or of `api-key` / `x-api-key` as other clients send it."""
    if authorization is not None:
        scheme, _, credential = authorization.partition(b" ")
        if scheme.lower() == b"bearer":
            return credential.strip().decode("latin-1")

    return api_key.decode("latin-1") if api_key is not None else None
