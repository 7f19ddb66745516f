"""Connections held in memory, for tests and for callers that pass objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.connections.model import Connection
from promptflow_lite.connections.resolve import resolve_connection
from promptflow_lite.errors import ConnectionNotFoundError


class DictConnectionSource:
    """A `ConnectionSource` over a mapping, or over connections that carry their names."""

    def __init__(self, connections: Mapping[str, Connection] | Iterable[Connection] = ()) -> None:
        if isinstance(connections, Mapping):
            self._connections = dict(connections)
        else:
            self._connections = {connection.name or "": connection for connection in connections}

        for name, connection in self._connections.items():
            if connection.name is None:
                connection.name = name

    def get(self, name: str) -> Connection:
        """The connection, ready for use. Raises `ConnectionNotFoundError`."""
        connection = self._connections.get(name)
        if connection is None:
            raise connection_not_found(name, self._connections)

        return resolve_connection(connection)

    def names(self) -> list[str]:
        return sorted(self._connections)


def connection_not_found(name: str, known: Iterable[str]) -> ConnectionNotFoundError:
    """The error every source raises for an unknown name."""
    hint = did_you_mean(name, known)
    return ConnectionNotFoundError(
        f"Connection {name!r} is not found.",
        hint=f"{hint + ' ' if hint else ''}Create it with: pfl connection create -f <file>.yaml",
        name=name,
    )
