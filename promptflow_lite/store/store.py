"""The open database with one repository per kind of record."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from promptflow_lite import settings

if TYPE_CHECKING:
    from promptflow_lite.store.connections import ConnectionRepository
    from promptflow_lite.store.database import Database
    from promptflow_lite.store.endpoints import EndpointRepository
    from promptflow_lite.store.labels import LabelRepository
    from promptflow_lite.store.requests import RequestRepository
    from promptflow_lite.store.runs import RunRepository
    from promptflow_lite.store.security import AuditRepository, KeyRepository
    from promptflow_lite.store.traces import TraceRepository


class Store:
    """Everything that is kept; open it with `Store.open`.

    Thread: safe. Several processes may use the same database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, location: str | os.PathLike[str] | None = None) -> Store:
        """Open (and if needed create) a database.

        Args:
            location: A URL, or the path of a SQLite file. Default: `PFL_DATABASE_URL`, else `pfl.sqlite` in `PFL_HOME`.

        Raises:
            StoreError: the database cannot be used.
        """
        from promptflow_lite.store.database import Database, sqlite_url

        location = location or settings.env("PFL_DATABASE_URL") or settings.home() / "pfl.sqlite"
        text = os.fspath(location)
        return cls(Database.open(text if "://" in text else sqlite_url(Path(text))))

    @cached_property
    def runs(self) -> RunRepository:
        from promptflow_lite.store.runs import RunRepository

        return RunRepository(self._database)

    @cached_property
    def connections(self) -> ConnectionRepository:
        from promptflow_lite.store.connections import ConnectionRepository

        return ConnectionRepository(self._database)

    @cached_property
    def labels(self) -> LabelRepository:
        from promptflow_lite.store.labels import LabelRepository

        return LabelRepository(self._database)

    @cached_property
    def requests(self) -> RequestRepository:
        from promptflow_lite.store.requests import RequestRepository

        return RequestRepository(self._database)

    @cached_property
    def keys(self) -> KeyRepository:
        from promptflow_lite.store.security import KeyRepository

        return KeyRepository(self._database)

    @cached_property
    def audit(self) -> AuditRepository:
        from promptflow_lite.store.security import AuditRepository

        return AuditRepository(self._database)

    @cached_property
    def endpoints(self) -> EndpointRepository:
        from promptflow_lite.store.endpoints import EndpointRepository

        return EndpointRepository(self._database)

    @cached_property
    def traces(self) -> TraceRepository:
        from promptflow_lite.store.traces import TraceRepository

        return TraceRepository(self._database)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
