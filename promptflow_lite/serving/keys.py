"""API keys: what they look like, how they are stored, how one is checked.

A key is `pfl_<id>_<secret>`. The id finds the stored record; only a SHA-256 of the secret is kept. The secret has 256
bits of randomness, so a slow password hash would add cost to each request and nothing to its safety.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace

from promptflow_lite.records import ApiKey, Role

_SHAPE = re.compile(r"^pfl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$")
_NO_DIGEST = "0" * 64


def is_active(key: ApiKey, now: float) -> bool:
    """Whether the key opens anything at that time (seconds since the epoch)."""
    return (key.revoked_at is None or now < key.revoked_at) and (key.expires_at is None or now < key.expires_at)


def new_key(
    role: Role,
    *,
    now: float,
    name: str = "",
    lifetime_s: float | None = None,
    rate_per_minute: int | None = None,
    quota_per_day: int | None = None,
) -> tuple[ApiKey, str]:
    """A fresh key: its record to store, and the text to show its owner once."""
    key_id = secrets.token_hex(6)
    secret = secrets.token_urlsafe(32)
    record = ApiKey(
        id=key_id,
        role=role,
        digest=_digest(key_id, secret),
        name=name,
        created_at=now,
        expires_at=None if lifetime_s is None else now + lifetime_s,
        rate_per_minute=rate_per_minute,
        quota_per_day=quota_per_day,
    )
    return record, f"pfl_{key_id}_{secret}"


def rotate_key(old: ApiKey, *, now: float, grace_s: float = 0.0) -> tuple[ApiKey, ApiKey, str]:
    """Replace a key: the old record (valid for `grace_s` more seconds), the new record, and the new key's text.

    The new key has the old one's role, name, limits and lifetime.
    """
    lifetime_s = None if old.expires_at is None else old.expires_at - old.created_at
    fresh, text = new_key(
        old.role,
        now=now,
        name=old.name,
        lifetime_s=lifetime_s,
        rate_per_minute=old.rate_per_minute,
        quota_per_day=old.quota_per_day,
    )
    end = now + grace_s if old.revoked_at is None else min(old.revoked_at, now + grace_s)
    return replace(old, revoked_at=end, replaced_by=fresh.id), fresh, text


def key_from_text(text: str, role: Role) -> ApiKey | None:
    """The record of a key that is given as text, such as by an environment variable; None when it is no key."""
    match = _SHAPE.match(text)
    return None if match is None else ApiKey(id=match[1], role=role, digest=_digest(match[1], match[2]), name="given")


class KeyRing:
    """The keys an endpoint knows, for checking requests.

    Thread: `check` may be called from any thread while `replace_all` swaps the keys.
    """

    def __init__(self, keys: Iterable[ApiKey] = (), *, fixed: ApiKey | None = None) -> None:
        self._fixed = fixed
        self.replace_all(keys)

    def replace_all(self, keys: Iterable[ApiKey]) -> None:
        """Know exactly these keys, and the fixed one."""
        known = {key.id: key for key in keys}
        if self._fixed is not None:
            known[self._fixed.id] = self._fixed

        self._key_by_id = known

    def __len__(self) -> int:
        return len(self._key_by_id)

    def check(self, text: str, *, now: float) -> ApiKey | None:
        """The active key behind the text, else None; digests are compared in constant time, also for unknown ids."""
        match = _SHAPE.match(text)
        key_id, secret = match.groups() if match else ("", text)
        key = self._key_by_id.get(key_id)
        expected = key.digest if key else _NO_DIGEST
        is_right = hmac.compare_digest(_digest(key_id, secret), expected)
        return key if key is not None and is_right and is_active(key, now) else None


def looks_like_key(text: str) -> bool:
    """Whether a bearer credential is one of our keys rather than a token of an identity provider."""
    return text.startswith("pfl_")


def _digest(key_id: str, secret: str) -> str:
    return hashlib.sha256(f"{key_id}:{secret}".encode("utf-8", "surrogatepass")).hexdigest()
