"""Opening, sharing and breaking the database."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, inspect

from promptflow_lite.errors import (
    MissingExtraError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreVersionError,
)
from promptflow_lite.store import Store
from promptflow_lite.store.database import Database, sqlite_url, to_store_error
from promptflow_lite.store.migrations import STEPS, add_column
from promptflow_lite.store.tables import runs

_OPEN_IN_CHILD = "from promptflow_lite.store import Store; import sys; sys.stdin.read(1); Store.open(); print('open')"


def test_default_database_lies_in_the_state_folder(home: Path) -> None:
    with Store.open() as store:
        store.runs.list()

    assert (home / "pfl.sqlite").is_file()


def test_database_url_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFL_DATABASE_URL", sqlite_url(tmp_path / "elsewhere.sqlite"))

    with Store.open() as store:
        store.runs.list()

    assert (tmp_path / "elsewhere.sqlite").is_file()


def test_sqlite_writes_ahead_waits_and_checks_references(tmp_path: Path) -> None:
    database = Database.open(sqlite_url(tmp_path / "a.sqlite"))

    with database.read() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in _PRAGMAS}

    assert pragmas == _PRAGMAS


_PRAGMAS = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30_000}


def test_applied_steps_are_recorded_once(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "a.sqlite")
    Database.open(url).close()

    database = Database.open(url)

    with database.read() as connection:
        names = connection.exec_driver_sql("SELECT name FROM migrations ORDER BY name").scalars().all()
    assert names == sorted(step.__name__ for step in STEPS)


def test_column_is_added_only_when_it_is_missing(tmp_path: Path) -> None:
    database = Database.open(sqlite_url(tmp_path / "a.sqlite"))
    column = Column("mood", Integer)
    runs.to_metadata(MetaData()).append_column(column)

    with database.write() as connection:
        add_column(connection, column)
        add_column(connection, column)

    with database.read() as connection:
        assert "mood" in {found["name"] for found in inspect(connection).get_columns("runs")}


def test_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "a.sqlite")
    with Database.open(url).write() as connection:
        connection.exec_driver_sql("INSERT INTO migrations VALUES ('m999_future', 0)")

    with pytest.raises(StoreVersionError, match="m999_future"):
        Database.open(url)


def test_processes_may_open_a_new_database_at_once() -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN_IN_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]

    for child in children:
        assert child.stdin is not None
        child.stdin.write("x")
        child.stdin.flush()
    answers = [child.communicate()[0].strip() for child in children]

    assert answers == ["open"] * 4


def test_locked_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    database = Database.open(sqlite_url(path), busy_timeout_s=0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreLockedError) as caught, database.write():
        pass
    other.close()

    assert caught.value.retryable
    assert caught.value.hint


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"this is a letter, not a database\n" * 100)

    with pytest.raises(StoreCorruptError) as caught:
        Store.open(path)

    assert caught.value.code == "store.corrupt"


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnlyError, match="cannot be opened"):
        Store.open(tmp_path / "none" / "a.sqlite")


@pytest.mark.parametrize("url", ["mysql-of-sorts://x", "://", "postgresql://somebody:secret@127.0.0.1:9/runs"])
def test_unusable_urls_are_explained(url: str) -> None:
    with pytest.raises((StoreError, MissingExtraError)) as caught:
        Store.open(url)

    assert caught.value.hint
    assert "secret" not in str(caught.value)


def test_full_disk_loses_no_finished_line(tmp_path: Path) -> None:
    program = f"""
import resource, signal
from promptflow_lite.errors import StoreFullError
from promptflow_lite.records import LineResult, RunRecord, Status
from promptflow_lite.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open({str(tmp_path / "a.sqlite")!r})
store.runs.create(RunRecord(name="r", flow="f", status=Status.RUNNING, created_on=0.0))
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
number = 0
try:
    while True:
        store.runs.add_lines("r", [LineResult(number, Status.COMPLETED, {{"text": "x" * 5000}})])
        number += 1
except StoreFullError as error:
    print(number, error.code)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    with Store.open(tmp_path / "a.sqlite") as store:
        recorded = [line.line_number for line in store.runs.iter_lines("r")]
        assert store.runs.get("r").completed_lines == len(recorded)
    assert answer[1] == "store.full"
    assert recorded == list(range(int(answer[0])))


@pytest.mark.parametrize(
    ("primary", "kind"),
    [
        (sqlite3.SQLITE_FULL, StoreFullError),
        (sqlite3.SQLITE_IOERR, StoreFullError),
        (sqlite3.SQLITE_BUSY, StoreLockedError),
        (sqlite3.SQLITE_LOCKED, StoreLockedError),
        (sqlite3.SQLITE_CORRUPT, StoreCorruptError),
        (sqlite3.SQLITE_NOTADB, StoreCorruptError),
        (sqlite3.SQLITE_READONLY, StoreReadOnlyError),
        (sqlite3.SQLITE_PERM, StoreReadOnlyError),
        (sqlite3.SQLITE_CANTOPEN, StoreReadOnlyError),
        (sqlite3.SQLITE_MISMATCH, StoreError),
    ],
)
def test_every_driver_failure_has_its_error(primary: int, kind: type[StoreError]) -> None:
    failure = sqlite3.OperationalError("no")
    failure.sqlite_errorcode = primary | (3 << 8)  # an extended code

    error = to_store_error(failure)

    assert type(error) is kind
    assert error.hint


def test_unwritable_state_folder_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from promptflow_lite.errors import SettingsError

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PFL_HOME", str(tmp_path / "file" / "home"))

    with pytest.raises(SettingsError) as caught:
        Store.open()

    assert "PFL_HOME" in str(caught.value.hint)


def test_store_door_does_not_load_the_database_driver() -> None:
    program = "import sys, promptflow_lite.store; print('sqlalchemy' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert answer.strip() == "False"
