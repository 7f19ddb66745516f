"""API keys and the audit log."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sqlalchemy import insert, select, update

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.records import ApiKey, AuditEntry, Role
from promptflow_lite.store.database import Database
from promptflow_lite.store.serving_tables import api_keys, audit


class KeyRepository:
    """API keys by id; only digests are stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: ApiKey) -> None:
        with self._database.write() as connection:
            connection.execute(insert(api_keys).values(**_key_values(key)))

    def update(self, key: ApiKey) -> None:
        """Replace the record of a key."""
        with self._database.write() as connection:
            connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(**_key_values(key)))

    def get(self, key_id: str) -> ApiKey | None:
        with self._database.read() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).mappings().first()

        return None if row is None else _key_from_row(row)

    def list(self) -> builtins.list[ApiKey]:
        """All keys, oldest first, the ended ones included."""
        with self._database.read() as connection:
            rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)).mappings().all()

        return [_key_from_row(row) for row in rows]


def _key_values(key: ApiKey) -> dict[str, Any]:
    return {**asdict(key), "role": key.role.value}


def _key_from_row(row: Any) -> ApiKey:
    return ApiKey(**{**row, "role": Role(row["role"])})


class AuditRepository:
    """The audit log; entries are only ever appended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, make: Callable[[AuditEntry | None], AuditEntry]) -> AuditEntry:
        """Append the entry that `make` builds from the last one, in one exclusive transaction."""
        with self._database.write() as connection:
            if not self._database.is_sqlite:
                connection.exec_driver_sql("LOCK TABLE audit IN EXCLUSIVE MODE")

            row = connection.execute(select(audit).order_by(audit.c.seq.desc()).limit(1)).mappings().first()
            entry = make(None if row is None else _entry_from_row(row))
            values = {**asdict(entry), "before": dumps(entry.before), "after": dumps(entry.after)}
            connection.execute(insert(audit).values(**values))
        return entry

    def list(self, *, newest_first: bool = False, limit: int | None = None) -> builtins.list[AuditEntry]:
        order = audit.c.seq.desc() if newest_first else audit.c.seq
        with self._database.read() as connection:
            rows = connection.execute(select(audit).order_by(order).limit(limit)).mappings().all()

        return [_entry_from_row(row) for row in rows]


def _entry_from_row(row: Any) -> AuditEntry:
    return AuditEntry(**{**row, "before": loads(row["before"]), "after": loads(row["after"])})
