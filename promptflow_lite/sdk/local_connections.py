"""The connections of this installation as a source that opens the store only when a connection is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from promptflow_lite.connections import Connection

if TYPE_CHECKING:
    from promptflow_lite.connections import ConnectionSource


class LocalConnections:
    """A `ConnectionSource` over the local store."""

    @cached_property
    def _source(self) -> ConnectionSource:
        from promptflow_lite.sdk.client import Client

        return Client().connections

    def get(self, name: str) -> Connection:
        """The connection, ready for use. Raises `ConnectionNotFoundError`."""
        return self._source.get(name)

    def names(self) -> list[str]:
        return self._source.names()
