"""The secrets that connections of this process were handed out with, to keep them out of logs and messages."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from promptflow_lite.connections.model import SCRUBBED, Connection

_T = TypeVar("_T")
_SHORTEST = 6
"""Shorter values are words of everyday texts as often as they are secrets."""
_in_use: dict[str, None] = {}


def remember_secrets(connection: Connection) -> None:
    """From now on `without_secrets` knows the secrets of this connection."""
    _in_use.update(dict.fromkeys(secret_values(connection)))


def secret_values(connection: Connection) -> list[str]:
    """The secrets of a connection that are long enough to be told from everyday words."""
    values = [str(connection[key]) for key in connection.keys() if connection.is_secret(key) and connection[key]]
    return [value for value in values if len(value) >= _SHORTEST]


def without_secrets(value: _T) -> _T:
    """A text, or what holds texts, with every secret in use replaced. Cost: one search a secret and text."""
    return cast(_T, _cleaned(value, tuple(_in_use))) if _in_use else value


def _cleaned(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            if secret in value:
                value = value.replace(secret, SCRUBBED)
        return value

    if isinstance(value, dict):
        return {key: _cleaned(item, secrets) for key, item in value.items()}

    return [_cleaned(item, secrets) for item in value] if isinstance(value, list) else value
