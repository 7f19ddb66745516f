"""The connection to SQLite or PostgreSQL: pragmas, transactions, and the one place that maps database errors."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from promptflow_lite.errors import (
    MissingExtraError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
)
from promptflow_lite.store import migrations

_BUSY_TIMEOUT_S = 30.0
_WRITE = {"pfl_write": True}


class Database:
    """An engine whose readers and writers open short transactions.

    Thread: safe; every transaction takes its own connection from the pool.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._writer = engine.execution_options(**_WRITE)

    @classmethod
    def open(cls, url: str, *, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> Database:
        """Connect and bring the schema up to date; safe when several processes open a new database at once."""
        database = cls(_create_engine(_parse_url(url), busy_timeout_s))
        with database.read() as connection:
            current = migrations.is_current(connection)

        if not current:
            with database.write() as connection:
                migrations.migrate(connection)

        return database

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one consistent state."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction; on SQLite it takes the write lock at once, so it never fails half-way for it."""
        with self._writer.begin() as connection:
            yield connection

    def insert(self, table: Table) -> Any:
        """An `INSERT` of this database's dialect, with `on_conflict_do_update`; loads that dialect only."""
        if self.is_sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table)

        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    def close(self) -> None:
        self.engine.dispose()


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def _parse_url(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise StoreError(
            "The database URL cannot be parsed.",
            hint="Use sqlite:///path/to/file.sqlite or postgresql://user:password@host/database.",
        ) from error

    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")

    return url


def _create_engine(url: URL, busy_timeout_s: float) -> Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"connect_args": {"timeout": busy_timeout_s}} if is_sqlite else {"pool_pre_ping": True}
    try:
        engine = create_engine(url, **options)
    except NoSuchModuleError as error:
        raise StoreError(f"No driver for {url.drivername!r} databases.", hint="Use SQLite or PostgreSQL.") from error
    except ModuleNotFoundError as error:
        raise MissingExtraError("A PostgreSQL database", "postgres") from error

    event.listen(engine, "handle_error", _raise_store_error)
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)

    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy's `begin` event below starts transactions; the driver must not start its own.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = NORMAL")
    _enable_wal(cursor)
    cursor.close()


def _enable_wal(cursor: sqlite3.Cursor) -> None:
    """Switch to write-ahead logging. SQLite does not wait for other openers here, so this does."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise

            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    is_write = connection.get_execution_options().get("pfl_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


_WRITABLE = "Make the file and its folder writable."
_SQLITE_ERRORS: dict[int, tuple[type[StoreError], str, str]] = {
    sqlite3.SQLITE_FULL: (
        StoreFullError,
        "The disk is full: the database cannot grow.",
        "Free some space; finished lines are kept.",
    ),
    sqlite3.SQLITE_IOERR: (
        StoreFullError,
        "Reading or writing the database failed.",
        "Check the disk: free space, quota and file size limits.",
    ),
    sqlite3.SQLITE_BUSY: (
        StoreLockedError,
        "The database is locked by another process.",
        "Wait for the other command to finish, or stop it, and try again.",
    ),
    sqlite3.SQLITE_LOCKED: (StoreLockedError, "The database is locked.", "Try again."),
    sqlite3.SQLITE_CORRUPT: (
        StoreCorruptError,
        "The database file is damaged.",
        "Restore a backup, or move the file away; a new one is then created.",
    ),
    sqlite3.SQLITE_NOTADB: (
        StoreCorruptError,
        "The file is not a database of promptflow-lite.",
        "Move it away, or point PFL_HOME or PFL_DATABASE_URL elsewhere.",
    ),
    sqlite3.SQLITE_READONLY: (StoreReadOnlyError, "The database is read-only.", _WRITABLE),
    sqlite3.SQLITE_PERM: (StoreReadOnlyError, "Access to the database is denied.", _WRITABLE),
    sqlite3.SQLITE_CANTOPEN: (
        StoreReadOnlyError,
        "The database cannot be opened.",
        "Check that its folder exists and may be written, or set PFL_HOME.",
    ),
}
"""Primary result code -> error, message and hint."""


def _raise_store_error(context: ExceptionContext) -> None:
    original = context.original_exception
    if isinstance(original, StoreError):
        return

    raise to_store_error(original) from original


def to_store_error(error: BaseException) -> StoreError:
    """The `StoreError` for an exception of a database driver."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary in _SQLITE_ERRORS:
        kind, message, hint = _SQLITE_ERRORS[primary]
        return kind(message, hint=hint, reason=str(error))

    if type(error).__name__ == "OperationalError" and type(error).__module__.startswith("psycopg"):
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
        return StoreError(
            f"The database server cannot be used: {first}",
            hint="Check PFL_DATABASE_URL and that the server runs.",
        )

    return StoreError(f"The database refused: {error}", hint="Run again with --debug to see where.")
