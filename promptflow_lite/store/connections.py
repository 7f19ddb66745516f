"""Connection records as the `connections` package gives them: secrets are encrypted before they come here."""

from __future__ import annotations

import builtins
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from promptflow_lite._utils.jsonable import dumps_strict, loads
from promptflow_lite.store.database import Database
from promptflow_lite.store.tables import connections


class ConnectionRepository:
    """Connections by name, as JSON records."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert: Any = (sqlite if database.is_sqlite else postgresql).insert

    def put(self, name: str, record: Mapping[str, Any]) -> None:
        """Add or replace a connection; the time of its creation stays."""
        now = time.time()
        statement = self._insert(connections).values(
            name=name, record=dumps_strict(dict(record)), created_on=now, modified_on=now
        )
        changed = {"record": statement.excluded.record, "modified_on": statement.excluded.modified_on}
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed))

    def get(self, name: str) -> dict[str, Any] | None:
        """The record with `created_on` and `modified_on` (epoch seconds) added; None when there is none."""
        with self._database.read() as connection:
            row = connection.execute(select(connections).where(connections.c.name == name)).mappings().first()

        return None if row is None else _with_dates(row)

    def list(self) -> list[dict[str, Any]]:
        """All records, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(connections).order_by(connections.c.name)).mappings().all()

        return [_with_dates(row) for row in rows]

    def names(self) -> builtins.list[str]:
        with self._database.read() as connection:
            return list(connection.execute(select(connections.c.name).order_by(connections.c.name)).scalars())

    def delete(self, name: str) -> bool:
        """Remove a connection; False when there was none."""
        with self._database.write() as connection:
            return connection.execute(delete(connections).where(connections.c.name == name)).rowcount > 0


def _with_dates(row: Any) -> dict[str, Any]:
    return {**loads(row["record"]), "created_on": row["created_on"], "modified_on": row["modified_on"]}
