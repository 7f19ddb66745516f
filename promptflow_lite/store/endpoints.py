"""Endpoints and their deployments, every version of them."""

from __future__ import annotations

import builtins
from dataclasses import asdict, replace

from sqlalchemy import func, insert, select

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import EndpointNotFoundError
from promptflow_lite.records import DeploymentSpec, EndpointSpec
from promptflow_lite.store.database import Database
from promptflow_lite.store.serving_tables import endpoints


class EndpointRepository:
    """Endpoints by name; a change adds a version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, spec: EndpointSpec, *, is_deleted: bool = False) -> EndpointSpec:
        """Store a new version; returns the spec with its version number."""
        with self._database.write() as connection:
            latest = select(func.max(endpoints.c.version)).where(endpoints.c.name == spec.name)
            version = (connection.execute(latest).scalar() or 0) + 1
            stored = replace(spec, version=version)
            connection.execute(
                insert(endpoints).values(
                    name=spec.name,
                    version=version,
                    spec=dumps(asdict(stored)),
                    modified_at=spec.modified_at,
                    is_deleted=is_deleted,
                )
            )
        return stored

    def get(self, name: str, *, version: int | None = None) -> EndpointSpec:
        """An endpoint, as it is now or as it was in a version.

        Raises:
            EndpointNotFoundError: there is none, or it was deleted.
        """
        query = select(endpoints.c.spec, endpoints.c.is_deleted).where(endpoints.c.name == name)
        if version is not None:
            query = query.where(endpoints.c.version == version)

        with self._database.read() as connection:
            row = connection.execute(query.order_by(endpoints.c.version.desc()).limit(1)).first()

        if row is None or (row.is_deleted and version is None):
            raise self._not_found(name, version)

        return _from_data(row.spec)

    def list(self) -> builtins.list[EndpointSpec]:
        """Endpoints that were not deleted, by name."""
        latest = select(endpoints.c.name, func.max(endpoints.c.version).label("version")).group_by(endpoints.c.name)
        newest = latest.subquery()
        query = (
            select(endpoints.c.spec)
            .join(newest, (newest.c.name == endpoints.c.name) & (newest.c.version == endpoints.c.version))
            .where(endpoints.c.is_deleted.is_(False))
            .order_by(endpoints.c.name)
        )
        with self._database.read() as connection:
            return [_from_data(text) for text in connection.execute(query).scalars()]

    def versions(self, name: str) -> builtins.list[EndpointSpec]:
        """All versions, oldest first."""
        query = select(endpoints.c.spec).where(endpoints.c.name == name).order_by(endpoints.c.version)
        with self._database.read() as connection:
            return [_from_data(text) for text in connection.execute(query).scalars()]

    def _not_found(self, name: str, version: int | None) -> EndpointNotFoundError:
        what = f"Endpoint {name!r}" if version is None else f"Version {version} of endpoint {name!r}"
        known = [spec.name for spec in self.list()]
        return EndpointNotFoundError(f"{what} cannot be found.", hint=did_you_mean(name, known), endpoint=name)


def _from_data(text: str) -> EndpointSpec:
    data = loads(text)
    deployments = tuple(DeploymentSpec(**deployment) for deployment in data.pop("deployments"))
    return EndpointSpec(**data, deployments=deployments)
