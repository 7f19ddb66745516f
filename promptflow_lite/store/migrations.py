"""Ordered steps that bring a database to the current tables; names of applied steps are recorded in it.

To change the schema, change `tables.py` and append a step here. The first step creates the tables as they are now, so
a later step must accept that its work is already done: use `create_all` for tables and `add_column` for columns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Connection, inspect, select, text
from sqlalchemy.schema import CreateColumn

from promptflow_lite.errors import StoreVersionError
from promptflow_lite.store.label_tables import labels
from promptflow_lite.store.serving_tables import SERVING_TABLES
from promptflow_lite.store.tables import aggregations, connections, lines, metadata, migrations, runs

Step = Callable[[Connection], None]

_ADVISORY_LOCK = 0x70666C31
"""Any constant: PostgreSQL serialises migrating processes on it."""


def m001_runs_lines_connections(connection: Connection) -> None:
    metadata.create_all(connection, tables=[runs, lines, aggregations, connections])


def m002_endpoints_and_traces(connection: Connection) -> None:
    metadata.create_all(connection, tables=SERVING_TABLES)


def m003_human_labels(connection: Connection) -> None:
    metadata.create_all(connection, tables=[labels])


STEPS: tuple[Step, ...] = (m001_runs_lines_connections, m002_endpoints_and_traces, m003_human_labels)


def add_column(connection: Connection, column: Column[Any]) -> None:
    """Add a column to its table unless the table has it."""
    table = column.table.name
    if column.name in {existing["name"] for existing in inspect(connection).get_columns(table)}:
        return

    definition = CreateColumn(column).compile(dialect=connection.dialect)
    connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {definition}"))


def pending(connection: Connection) -> list[Step]:
    """Steps that the database lacks.

    Raises:
        StoreVersionError: the database has steps that this version does not know.
    """
    applied = set(connection.execute(select(migrations.c.name)).scalars())
    unknown = applied - {step.__name__ for step in STEPS}
    if unknown:
        raise StoreVersionError(
            f"The database was written by a newer version: it has {', '.join(sorted(unknown))}.",
            hint="Upgrade promptflow-lite, or point PFL_HOME at another folder.",
        )

    return [step for step in STEPS if step.__name__ not in applied]


def is_current(connection: Connection) -> bool:
    """Whether nothing is left to apply; false for an empty database."""
    if not inspect(connection).has_table(migrations.name):
        return False

    return not pending(connection)


def migrate(connection: Connection) -> None:
    """Apply what is pending, inside the caller's exclusive write transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))

    metadata.create_all(connection, tables=[migrations])
    for step in pending(connection):
        step(connection)
        connection.execute(migrations.insert().values(name=step.__name__, applied_on=time.time()))
