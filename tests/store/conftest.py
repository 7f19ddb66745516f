"""An empty store of every kind: what holds for SQLite holds for PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.postgres import postgres_server

from promptflow_lite.store import Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "sqlite":
        with Store.open() as opened:
            yield opened
    else:
        with Store.open(request.getfixturevalue("postgres")) as opened:
            yield opened
            with opened._database.write() as connection:
                connection.exec_driver_sql("DELETE FROM runs")
                connection.exec_driver_sql("DELETE FROM connections")
