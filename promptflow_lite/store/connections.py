"""Connection records as the `connections` package gives them: secrets are encrypted before they come here."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select

from promptflow_lite._utils.jsonable import dumps_strict, loads
from promptflow_lite.store.database import Database
from promptflow_lite.store.tables import connections


class ConnectionRepository:
    """Connections by name, as JSON records."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = database.insert(connections)
        self._upsert = insert.on_conflict_do_update(index_elements=["name"], set_={"record": insert.excluded.record})

    def put(self, record: Mapping[str, Any]) -> None:
        """Add or replace the connection that `record["name"]` names."""
        values = {"name": record["name"], "record": dumps_strict(dict(record))}
        with self._database.write() as connection:
            connection.execute(self._upsert, values)

    def get(self, name: str) -> dict[str, Any] | None:
        """The record; None when there is none."""
        with self._database.read() as connection:
            text = connection.execute(select(connections.c.record).where(connections.c.name == name)).scalar()

        return None if text is None else dict(loads(text))

    def list(self) -> list[dict[str, Any]]:
        """All records, by name."""
        with self._database.read() as connection:
            texts = connection.execute(select(connections.c.record).order_by(connections.c.name)).scalars().all()

        return [loads(text) for text in texts]

    def names(self) -> builtins.list[str]:
        with self._database.read() as connection:
            return [*connection.execute(select(connections.c.name).order_by(connections.c.name)).scalars()]

    def delete(self, name: str) -> bool:
        """Remove a connection; False when there was none."""
        with self._database.write() as connection:
            return connection.execute(delete(connections).where(connections.c.name == name)).rowcount > 0
