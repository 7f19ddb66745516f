"""Where connections come from, as seen by whoever needs one."""

from __future__ import annotations

from typing import Protocol

from promptflow_lite.connections.model import Connection


class ConnectionSource(Protocol):
    """Finds connections by name; the store, files and tests each provide one."""

    def get(self, name: str) -> Connection:
        """The connection with its secrets, `${env:NAME}` and `<CONNECTION>_<KEY>` overrides applied.

        Raises:
            ConnectionNotFoundError: there is none of that name.
        """
        ...

    def names(self) -> list[str]: ...
