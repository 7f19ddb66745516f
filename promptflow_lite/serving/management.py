"""Keys and deployments as an operator changes them; every change is written to the audit log."""

from __future__ import annotations

import builtins
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import ApiKeyNotFoundError, EndpointNotFoundError, ServingError
from promptflow_lite.records import ApiKey, DeploymentSpec, EndpointSpec, Role, ServedRequest
from promptflow_lite.serving.audit_log import AuditLog
from promptflow_lite.serving.keys import new_key, rotate_key
from promptflow_lite.serving.routing import check_endpoint
from promptflow_lite.store import Store


class EndpointManager:
    """Changes and reads what a store keeps of endpoints."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.audit = AuditLog(store)
        """Who did what."""

    # --- keys ---------------------------------------------------------------------------------------------------------

    def create_key(
        self,
        role: Role | str,
        *,
        name: str = "",
        lifetime_s: float | None = None,
        rate_per_minute: int | None = None,
        quota_per_day: int | None = None,
        actor: str | None = None,
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
        self.audit.write("key.create", key.id, after=public_key(key), actor=actor)
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

    def revoke_key(self, key_id: str, *, actor: str | None = None) -> ApiKey:
        """End a key now; running servers learn of it within about a second."""
        before = self._key(key_id)
        after = replace(before, revoked_at=time.time())
        self._store.keys.update(after)
        self.audit.write("key.revoke", key_id, before=public_key(before), after=public_key(after), actor=actor)
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
