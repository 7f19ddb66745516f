"""Serving from a program: start servers, keep keys and deployments, read what was answered."""

from __future__ import annotations

import builtins
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.connections import ConnectionSource
from promptflow_lite.errors import ApiKeyNotFoundError, EndpointNotFoundError, ServingError
from promptflow_lite.records import ApiKey, DeploymentSpec, EndpointSpec, Role, ServedRequest
from promptflow_lite.serving.audit_log import AuditLog
from promptflow_lite.serving.endpoint import ServingSettings
from promptflow_lite.serving.keys import new_key, rotate_key
from promptflow_lite.serving.routing import check_endpoint
from promptflow_lite.store import Store

if TYPE_CHECKING:
    from promptflow_lite.serving.app import EndpointApp
    from promptflow_lite.serving.server import ServerSettings
    from promptflow_lite.serving.tokens import TokenPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """What to serve, and for whom."""

    flow: str | None = None
    """Path of a flow; or else `endpoint`."""
    endpoint: str | None = None
    """Name of a stored endpoint with deployments."""
    name: str | None = None
    """Endpoint name of a flow; default: its folder's."""
    requires_key: bool = False
    tokens: TokenPolicy | None = None
    settings: ServingSettings = field(default_factory=ServingSettings)
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    connection_overrides: Mapping[str, Mapping[str, Any]] | None = None
    init: Mapping[str, Any] | None = None
    records: bool = True
    """Whether requests are recorded."""


class EndpointOperations:
    """Everything about served flows."""

    def __init__(self, store: Store, connections: ConnectionSource) -> None:
        self._store = store
        self._connections = connections
        self.audit = AuditLog(store)
        """Who did what."""

    # --- serving ------------------------------------------------------------------------------------------------------

    def app(self, request: ServeRequest) -> EndpointApp:
        """The ASGI application for any server."""
        from promptflow_lite.serving.create import AppSources, create_app
        from promptflow_lite.serving.tokens import TokenChecker
        from promptflow_lite.tracing.export import exporter_from_environment

        spec: EndpointSpec | str | None = request.flow
        if request.endpoint is not None:
            spec = self._store.endpoints.get(request.endpoint)
        elif request.name is not None:
            flow = str(Path(request.flow or ".").absolute())
            deployment = DeploymentSpec(name="default", flow=flow, weight=1.0)
            spec = EndpointSpec(name=request.name, deployments=(deployment,))

        exporter = exporter_from_environment()
        sources = AppSources(
            connections=self._connections,
            store=self._store if request.records or request.requires_key else None,
            tokens=TokenChecker(request.tokens) if request.tokens else None,
            watchers=(exporter.export_requests,) if exporter else (),
            environment_variables=request.environment_variables,
            connection_overrides=request.connection_overrides,
            init=request.init,
            requires_key=request.requires_key,
            is_live=request.endpoint is not None,
        )
        return create_app(spec, sources, request.settings)

    def serve(self, request: ServeRequest, server: ServerSettings) -> None:
        """Serve until the process is told to stop. Raises `UnsafeBindError` before anything is loaded."""
        from promptflow_lite.serving.server import check_bind, run_server

        check_bind(server.host, requires_key=request.requires_key)
        run_server(self.app(request), server, requires_key=request.requires_key)

    # --- keys ---------------------------------------------------------------------------------------------------------

    def create_key(
        self,
        role: Role | str,
        *,
        name: str = "",
        lifetime_s: float | None = None,
        rate_per_minute: int | None = None,
        quota_per_day: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new API key: its record, and the key itself, which is shown this once and stored nowhere."""
        key, text = new_key(
            Role(role),
            now=time.time(),
            name=name,
            lifetime_s=lifetime_s,
            rate_per_minute=rate_per_minute,
            quota_per_day=quota_per_day,
        )
        self._store.keys.add(key)
        self.audit.write("key.create", key.id, after=public_key(key))
        return key, text

    def keys(self) -> builtins.list[ApiKey]:
        """All keys, the ended ones included."""
        return self._store.keys.list()

    def rotate_key(self, key_id: str, *, grace_s: float = 0.0) -> tuple[ApiKey, str]:
        """Replace a key by a fresh one; the old one works for `grace_s` more seconds."""
        before = self._key(key_id)
        old, fresh, text = rotate_key(before, now=time.time(), grace_s=grace_s)
        self._store.keys.add(fresh)
        self._store.keys.update(old)
        self.audit.write("key.rotate", key_id, before=public_key(before), after=public_key(fresh))
        return fresh, text

    def revoke_key(self, key_id: str) -> ApiKey:
        """End a key now; running servers learn of it within about a second."""
        before = self._key(key_id)
        after = replace(before, revoked_at=time.time())
        self._store.keys.update(after)
        self.audit.write("key.revoke", key_id, before=public_key(before), after=public_key(after))
        return after

    def _key(self, key_id: str) -> ApiKey:
        key = self._store.keys.get(key_id)
        if key is None:
            known = [k.id for k in self.keys()]
            raise ApiKeyNotFoundError(f"There is no API key {key_id!r}.", hint=did_you_mean(key_id, known))

        return key

    # --- endpoints ----------------------------------------------------------------------------------------------------

    def create(self, name: str, deployments: Sequence[DeploymentSpec], *, is_sticky: bool = True) -> EndpointSpec:
        """Store a new endpoint.

        Raises:
            ServingError: there is one of that name, or its deployments do not fit together.
        """
        if any(spec.name == name for spec in self._store.endpoints.list()):
            raise ServingError(f"Endpoint {name!r} exists already.", hint="Change it with: pfl endpoint update")

        spec = EndpointSpec(name=name, deployments=_absolute(deployments), is_sticky=is_sticky, modified_at=time.time())
        check_endpoint(spec)
        stored = self._store.endpoints.put(spec)
        self.audit.write("endpoint.create", name, after=asdict(stored))
        return stored

    def update(
        self,
        name: str,
        *,
        weights: Mapping[str, float] | None = None,
        mirrors: Mapping[str, float] | None = None,
        add: Sequence[DeploymentSpec] = (),
        remove: Sequence[str] = (),
        drain: Sequence[str] = (),
        undrain: Sequence[str] = (),
        is_sticky: bool | None = None,
        actor: str | None = None,
    ) -> EndpointSpec:
        """Change an endpoint; servers follow within about a second, requests under way finish where they are.

        Raises:
            EndpointNotFoundError: the endpoint, or a deployment that is named, does not exist.
            ServingError: nothing would take traffic any more, or a value is out of range.
        """
        before = self._store.endpoints.get(name)
        _check_names(before, [*(weights or {}), *(mirrors or {}), *remove, *drain, *undrain], add)
        changed = []
        for deployment in [*before.deployments, *_absolute(add)]:
            if deployment.name in remove:
                continue

            changed.append(
                replace(
                    deployment,
                    weight=(weights or {}).get(deployment.name, deployment.weight),
                    mirror_fraction=(mirrors or {}).get(deployment.name, deployment.mirror_fraction),
                    is_draining=deployment.name in drain or (deployment.is_draining and deployment.name not in undrain),
                )
            )
        sticky = before.is_sticky if is_sticky is None else is_sticky
        spec = replace(before, deployments=tuple(changed), is_sticky=sticky, modified_at=time.time())
        return self._put(spec, before, "endpoint.update", actor)

    def roll_back(self, name: str, *, version: int | None = None) -> EndpointSpec:
        """Return to an earlier version (default: the one before), as a new version."""
        before = self._store.endpoints.get(name)
        target = self._store.endpoints.get(name, version=version or before.version - 1)
        return self._put(replace(target, modified_at=time.time()), before, "endpoint.rollback", None)

    def _put(self, spec: EndpointSpec, before: EndpointSpec, action: str, actor: str | None) -> EndpointSpec:
        check_endpoint(spec)
        stored = self._store.endpoints.put(spec)
        self.audit.write(action, spec.name, before=asdict(before), after=asdict(stored), actor=actor)
        return stored

    def delete(self, name: str) -> None:
        """Forget an endpoint; what it answered stays recorded."""
        before = self._store.endpoints.get(name)
        self._store.endpoints.put(replace(before, modified_at=time.time()), is_deleted=True)
        self.audit.write("endpoint.delete", name, before=asdict(before))

    def get(self, name: str) -> EndpointSpec:
        return self._store.endpoints.get(name)

    def list(self) -> builtins.list[EndpointSpec]:
        return self._store.endpoints.list()

    def versions(self, name: str) -> builtins.list[EndpointSpec]:
        return self._store.endpoints.versions(name)

    def logs(
        self, name: str | None = None, *, deployment: str | None = None, only_failed: bool = False, limit: int = 50
    ) -> builtins.list[ServedRequest]:
        """Recorded requests, newest first."""
        return self._store.requests.list(name, deployment=deployment, only_failed=only_failed, limit=limit)


def public_key(key: ApiKey) -> dict[str, Any]:
    """What may be shown of a key: all but its digest."""
    return {name: value for name, value in asdict(key).items() if name != "digest"}


def _absolute(deployments: Sequence[DeploymentSpec]) -> tuple[DeploymentSpec, ...]:
    return tuple(replace(d, flow=os.fspath(Path(d.flow).absolute())) for d in deployments)


def _check_names(spec: EndpointSpec, used: Sequence[str], add: Sequence[DeploymentSpec]) -> None:
    known = [d.name for d in (*spec.deployments, *add)]
    for name in used:
        if name not in known:
            raise EndpointNotFoundError(
                f"Endpoint {spec.name!r} has no deployment {name!r}.", hint=did_you_mean(name, known)
            )
