"""Runs an application under uvicorn: where it may listen, TLS, slow clients, and a stop that loses nothing."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from promptflow_lite._utils.imports import require
from promptflow_lite.errors import ServingError, UnsafeBindError
from promptflow_lite.serving.app import EndpointApp
from promptflow_lite.serving.loopback import LoopbackGuard, is_loopback

_MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How a server listens."""

    host: str = "127.0.0.1"
    port: int = 8080
    certificate: str | None = None
    """PEM file; together with `private_key` it turns TLS on."""
    private_key: str | None = None
    header_timeout_s: float = 15.0
    """A connection whose request head is not whole so long after it began is closed."""
    keep_alive_s: float = 75.0
    max_connections: int = 2000
    grace_s: float = 30.0
    """How long requests under way may take after a stop was asked for."""
    log_level: str = "warning"
    access_log: bool = False


def check_bind(host: str, *, requires_key: bool) -> None:
    """Refuse to let other machines in without authentication.

    Raises:
        UnsafeBindError: the address is not a loopback address, and no key is required.
    """
    if not requires_key and not is_loopback(host):
        raise UnsafeBindError(
            f"An endpoint on {host} can be reached from other machines, and this one asks for no key.",
            hint="Serve with --auth keys (make one: pfl endpoint keys create), or listen on 127.0.0.1.",
        )


def run_server(app: EndpointApp, settings: ServerSettings, *, requires_key: bool) -> None:
    """Serve until SIGTERM or SIGINT; requests under way finish, and every record is committed.

    Raises:
        UnsafeBindError: see `check_bind`.
        ServingError: the port is taken, or TLS is half configured.
    """
    check_bind(settings.host, requires_key=requires_key)
    uvicorn = require("uvicorn", extra="serve", feature="Serving a flow")
    if bool(settings.certificate) != bool(settings.private_key):
        raise ServingError("TLS needs both a certificate and its private key.")

    listener = _listen(settings)
    config = uvicorn.Config(
        app if requires_key else LoopbackGuard(app, app.endpoint.settings.allowed_origins),
        http=_protocol(settings),
        loop="uvloop" if _has("uvloop") else "asyncio",
        ws="none",
        lifespan="on",
        log_level=settings.log_level,
        access_log=settings.access_log,
        server_header=False,
        date_header=False,
        timeout_keep_alive=round(settings.keep_alive_s),
        timeout_graceful_shutdown=round(settings.grace_s),
        limit_concurrency=settings.max_connections,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
    )
    server = uvicorn.Server(config)
    with _quiet_end():
        try:
            server.run(sockets=[listener])
        finally:
            app.stop()


@contextmanager
def _quiet_end() -> Iterator[None]:
    """uvicorn raises the signal that stopped it again once it has stopped cleanly; by then it has done its work."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host.strip("[]"), settings.port))
    except OSError as error:
        listener.close()
        raise ServingError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}.",
            hint="Choose another port with --port; 0 takes a free one.",
        ) from error

    listener.listen(1024)
    listener.set_inheritable(True)
    return listener


class _HeadWatch:
    """Gives a connection up whose request head takes too long, or too much."""

    def __init__(self, limit_s: float, give_up: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None
        self._n_bytes = 0

    def begin(self) -> None:
        """A head is awaited from now on."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limit_s, self._give_up)

    def grow(self, n_bytes: int) -> None:
        """So many bytes came, and the head may still not be whole."""
        if self._timer is not None:
            self._n_bytes += n_bytes
            if self._n_bytes > _MAX_HEAD_BYTES:
                self._give_up()

    def end(self) -> None:
        """The head is whole, or the connection gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

        self._n_bytes = 0


def _protocol(settings: ServerSettings) -> Any:
    """uvicorn's fast HTTP protocol, with limits on the time and size of a request head."""
    require("httptools", extra="serve", feature="Serving a flow")
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class PatientProtocol(HttpToolsProtocol):
        """Closes connections that never finish a request head, or send one without end."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch = _HeadWatch(settings.header_timeout_s, transport.close)
            self._watch.begin()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch.grow(len(data))

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._watch.begin()

        def on_headers_complete(self) -> None:
            self._watch.end()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._watch.end()
            super().connection_lost(exc)

    return PatientProtocol
