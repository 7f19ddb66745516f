"""Traces of user code outside flows; traces of lines and requests are stored with them."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.records import Span, TraceRecord
from promptflow_lite.records.data import span_to_data
from promptflow_lite.store.database import Database
from promptflow_lite.store.serving_tables import traces

_COLUMNS = tuple(column.name for column in traces.columns if column.name != "id")


class TraceRepository:
    """Finished traces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, records: Sequence[TraceRecord]) -> None:
        if not records:
            return

        with self._database.write() as connection:
            connection.execute(insert(traces), [_values(record) for record in records])

    def list(
        self, *, collection: str | None = None, session: str | None = None, limit: int = 50
    ) -> builtins.list[TraceRecord]:
        """Traces, newest first."""
        query = select(traces).order_by(traces.c.id.desc()).limit(limit)
        if collection is not None:
            query = query.where(traces.c.collection == collection)

        if session is not None:
            query = query.where(traces.c.session == session)

        with self._database.read() as connection:
            return [_from_row(row) for row in connection.execute(query).mappings()]

    def get(self, trace_id: str) -> builtins.list[TraceRecord]:
        """Every tree of one trace, oldest first; a prefix of the id will do."""
        query = select(traces).where(traces.c.trace_id.startswith(trace_id, autoescape=True)).order_by(traces.c.id)
        with self._database.read() as connection:
            return [_from_row(row) for row in connection.execute(query).mappings()]

    def delete(self, collection: str | None = None, *, started_before: float | None = None) -> int:
        """Forget traces that started earlier, or of one collection; without either, all."""
        statement = delete(traces)
        if started_before is not None:
            statement = statement.where(traces.c.start_time < started_before)

        if collection is not None:
            statement = statement.where(traces.c.collection == collection)

        with self._database.write() as connection:
            return int(connection.execute(statement).rowcount)


def _values(record: TraceRecord) -> dict[str, Any]:
    spans = span_to_data(record.spans) if isinstance(record.spans, Span) else record.spans
    values = {name: getattr(record, name) for name in _COLUMNS}
    return {**values, "resource": dumps(record.resource), "spans": dumps(spans)}


def _from_row(row: Any) -> TraceRecord:
    values = {name: row[name] for name in _COLUMNS}
    return TraceRecord(**{**values, "resource": loads(row["resource"]), "spans": loads(row["spans"])})
