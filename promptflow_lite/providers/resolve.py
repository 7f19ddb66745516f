"""From a connection, or from nothing, to a model client.

Settings of a client come from the connection's own keys, then from the environment:

| connection key | environment | default |
|---|---|---|
| `requests_per_minute` | `PFL_REQUESTS_PER_MINUTE` | no limit |
| `tokens_per_minute` | `PFL_TOKENS_PER_MINUTE` | no limit |
| `request_timeout_s` | `PFL_REQUEST_TIMEOUT_S` | 600 |
| `max_attempts` | `PFL_RETRY_MAX_ATTEMPTS` | 100 |
| `retry_patience_s` | `PFL_RETRY_PATIENCE_S` | 300 |
| `stream_usage` | `PFL_STREAM_USAGE` | OpenAI only |
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from promptflow_lite._utils.jsonable import dumps_bytes
from promptflow_lite.connections import Connection, ConnectionSource
from promptflow_lite.errors import InvalidConfigValue, ModelNotFoundError, SetupError
from promptflow_lite.providers.base import ModelClient
from promptflow_lite.providers.fake import FAKE_SCHEME, fake_model
from promptflow_lite.providers.openai import ClientSettings, openai_client
from promptflow_lite.providers.retry import RetryPolicy
from promptflow_lite.providers.traced import TracedClient
from promptflow_lite.settings import env

LOCAL_SCHEME = "local:"
_MAX_CLIENTS = 64


class DefaultModel(NamedTuple):
    """What a node that names no connection uses."""

    client: ModelClient
    model: str
    """Sent as `model`; empty when the client knows only one."""
    is_local: bool
    """Whether the engine in this process answers, which takes options of its own."""
    takes_choices: bool
    """Whether a request may hold `choices`."""


def client_for(connection: Connection) -> ModelClient:
    """The client for a connection, shared by all who use a connection of the same content.

    An address `fake:<name>` leads to a scripted model, `local:` or `local:<model>` to the local engine.

    Raises:
        InvalidConnectionType: the connection is of a kind that serves no models.
    """
    address = address_of(connection)
    if address.startswith(FAKE_SCHEME):
        return TracedClient(fake_model(address[len(FAKE_SCHEME) :]))

    if address.startswith(LOCAL_SCHEME):
        return TracedClient(_local(address[len(LOCAL_SCHEME) :] or None))

    return _clients.get(
        _fingerprint(connection), lambda: TracedClient(openai_client(connection, settings_of(connection)))
    )


def default_model(connections: ConnectionSource | None = None, *, model: str | None = None) -> DefaultModel:
    """The model of nodes without a connection: `PFL_DEFAULT_CONNECTION`, `PFL_DEFAULT_MODEL`, or the bundled one.

    Args:
        connections: Where `PFL_DEFAULT_CONNECTION` is looked up.
        model: What the node itself asks for; a local model if the catalogue has one of that name.
    """
    name = env("PFL_DEFAULT_CONNECTION")
    configured = env("PFL_DEFAULT_MODEL")
    if name is not None:
        if connections is None:
            raise SetupError(
                f"PFL_DEFAULT_CONNECTION names {name!r}, but no connections are at hand here.",
                hint="Pass a connection, or unset PFL_DEFAULT_CONNECTION.",
            )

        connection = connections.get(name)
        is_local = is_local_connection(connection)
        return DefaultModel(client_for(connection), configured or model or "", is_local, takes_choices(connection))

    if configured is not None and configured.startswith(FAKE_SCHEME):
        return DefaultModel(TracedClient(fake_model(configured[len(FAKE_SCHEME) :])), "", True, True)

    wanted = model if model and _is_local_model(model) else configured
    return DefaultModel(TracedClient(_local(wanted)), wanted or "", True, True)


def settings_of(connection: Connection | None = None) -> ClientSettings:
    """Timeouts, retries and limits for a connection.

    Raises:
        InvalidConfigValue: a setting is not a positive number.
    """

    def number(key: str, variable: str, default: float | None) -> float | None:
        value = connection.configs.get(key) if connection is not None else None
        return _positive(key, value) if value is not None else _positive(variable, env(variable), default)

    usage = (connection.configs.get("stream_usage") if connection is not None else None) or env("PFL_STREAM_USAGE")
    return ClientSettings(
        timeout_s=number("request_timeout_s", "PFL_REQUEST_TIMEOUT_S", 600.0) or 600.0,
        retry=RetryPolicy(
            max_attempts=int(number("max_attempts", "PFL_RETRY_MAX_ATTEMPTS", 100) or 100),
            patience_s=number("retry_patience_s", "PFL_RETRY_PATIENCE_S", 300.0) or 300.0,
        ),
        requests_per_minute=number("requests_per_minute", "PFL_REQUESTS_PER_MINUTE", None),
        tokens_per_minute=number("tokens_per_minute", "PFL_TOKENS_PER_MINUTE", None),
        stream_usage=None if usage is None else str(usage).lower() in ("1", "true", "yes", "on"),
    )


def address_of(connection: Connection) -> str:
    """The server's address as the connection gives it; empty for the provider's own."""
    return str(connection.configs.get("base_url") or connection.configs.get("api_base") or "")


def is_local_connection(connection: Connection) -> bool:
    """Whether the connection leads to the engine in this process, which takes options of its own."""
    return address_of(connection).startswith(LOCAL_SCHEME)


def takes_choices(connection: Connection) -> bool:
    """Whether a request to the connection may hold `choices`: the engine and the fake understand it."""
    return address_of(connection).startswith((LOCAL_SCHEME, FAKE_SCHEME))


def forget_clients() -> None:
    """Drop all shared clients, so that changed settings take effect."""
    _clients.clear()


class _ClientCache:
    """The most recently used clients by content of their connection."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, TracedClient] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], TracedClient]) -> TracedClient:
        with self._lock:
            if key not in self._clients:
                self._clients[key] = make()

            self._clients.move_to_end(key)
            if len(self._clients) > _MAX_CLIENTS:
                self._clients.popitem(last=False)  # whoever still uses it may finish; its sockets close with it

            return self._clients[key]

    def clear(self) -> None:
        with self._lock:
            clients = list(self._clients.values())
            self._clients.clear()
        for client in clients:
            client.close()


_clients = _ClientCache()


def _fingerprint(connection: Connection) -> str:
    """A digest, so that no secret becomes a key of a long-lived mapping."""
    content: list[Any] = [
        type(connection).__name__,
        connection.name,
        sorted(connection.configs.items()),
        sorted(connection.secrets.items()),
        repr(settings_of(connection)),
    ]
    return hashlib.sha256(dumps_bytes(content)).hexdigest()


def _positive(name: str, value: Any, default: float | None = None) -> float | None:
    if value is None:
        return default

    try:
        number = float(value)
    except ValueError:
        number = -1.0

    if number <= 0:
        raise InvalidConfigValue(f"{name} is {value!r}, which is no positive number.", hint=f"Set {name} to a number.")

    return number


def _local(model: str | None) -> ModelClient:
    from promptflow_lite.providers.local import local_client

    return local_client(model)


def _is_local_model(model: str) -> bool:
    from promptflow_lite.catalog import resolve_model

    try:
        resolve_model(model)
    except ModelNotFoundError:
        return False

    return True
