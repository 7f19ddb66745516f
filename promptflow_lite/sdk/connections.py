"""Stored connections: the database's records and the cipher joined into one source."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

from promptflow_lite.connections import (
    Cipher,
    Connection,
    connection_not_found,
    from_record,
    load_connection_file,
    merge_placeholders,
    public_from_record,
    reencrypt_record,
    resolve_connection,
    to_record,
)
from promptflow_lite.store import Store


class ConnectionOperations:
    """Create, find and remove connections; also the `ConnectionSource` of flows.

    Secrets are encrypted before they reach the database, with a key file in `PFL_HOME`.
    """

    def __init__(self, store: Store, cipher: Cipher | None = None) -> None:
        self._store = store
        self._cipher = cipher or Cipher()

    def create_or_update(self, connection: Connection, *, keep_secrets: bool = True) -> dict[str, Any]:
        """Store a connection and return its public form.

        Args:
            connection: What to store; its name is the key.
            keep_secrets: Whether secrets given as placeholders (empty, `***`, `<no-change>`) keep their stored value.

        Raises:
            ValidationException: a placeholder has nothing to keep.
        """
        previous = self._store.connections.get(connection.name or "")
        existing = from_record(previous, self._cipher) if previous and keep_secrets else None
        complete = merge_placeholders(connection, existing)
        record = to_record(complete, self._cipher, previous=previous)
        self._store.connections.put(record)
        return public_from_record(record)

    def load(self, path: str | Path, *, name: str | None = None, overrides: dict[str, Any] | None = None) -> Connection:
        """The connection that a yaml or `.env` file describes, not stored yet."""
        return load_connection_file(Path(path), name=name, overrides=overrides)

    def get(self, name: str) -> Connection:
        """The connection, ready for use: secrets, `${env:NAME}` and `<CONNECTION>_<KEY>` overrides applied.

        Raises:
            ConnectionNotFoundError: there is none of that name.
        """
        return resolve_connection(self.get_stored(name))

    def get_stored(self, name: str) -> Connection:
        """The connection as it was stored, secrets included and references unresolved."""
        return from_record(self._record(name), self._cipher)

    def show(self, name: str) -> dict[str, Any]:
        """What may be printed of a connection."""
        return public_from_record(self._record(name))

    def list(self, max_results: int | None = None) -> builtins.list[dict[str, Any]]:
        """The public form of all connections, by name."""
        return [public_from_record(record) for record in self._store.connections.list()[:max_results]]

    def names(self) -> builtins.list[str]:
        return self._store.connections.names()

    def delete(self, name: str) -> None:
        """Remove a connection. Raises `ConnectionNotFoundError`."""
        if not self._store.connections.delete(name):
            raise connection_not_found(name, self.names())

    def rotate_key(self) -> int:
        """Encrypt all secrets with a new key and forget the old ones; returns how many connections there are.

        A crash on the way loses nothing: the key file holds the old keys until every record has the new one.
        """
        self._cipher.rotate()
        records = self._store.connections.list()
        for record in records:
            self._store.connections.put(reencrypt_record(record, self._cipher))

        self._cipher.retire_old_keys()
        return len(records)

    def _record(self, name: str) -> dict[str, Any]:
        record = self._store.connections.get(name)
        if record is None:
            raise connection_not_found(name, self.names())

        return record
