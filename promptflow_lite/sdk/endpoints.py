"""Serving from a program: start servers, keep keys and deployments, read what was answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite.connections import ConnectionSource
from promptflow_lite.records import DeploymentSpec, EndpointSpec
from promptflow_lite.serving.endpoint import ServingSettings
from promptflow_lite.serving.management import EndpointManager
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


class EndpointOperations(EndpointManager):
    """Everything about served flows: keys and deployments from `EndpointManager`, and servers."""

    def __init__(self, store: Store, connections: ConnectionSource) -> None:
        super().__init__(store)
        self._connections = connections

    def app(self, request: ServeRequest) -> EndpointApp:
        """The ASGI application for any server."""
        from promptflow_lite.serving.create import AppSources, create_app
        from promptflow_lite.serving.otlp_metrics import metric_exporter_from_environment
        from promptflow_lite.serving.tokens import TokenChecker
        from promptflow_lite.tracing.export import exporter_from_environment

        spec: EndpointSpec | str | None = request.flow
        if request.endpoint is not None:
            spec = self._store.endpoints.get(request.endpoint)
        elif request.name is not None:
            flow = str(Path(request.flow or ".").absolute())
            deployment = DeploymentSpec(name="default", flow=flow, weight=1.0)
            spec = EndpointSpec(name=request.name, deployments=(deployment,))

        exporters = (exporter_from_environment(), metric_exporter_from_environment())
        sources = AppSources(
            connections=self._connections,
            store=self._store if request.records or request.requires_key else None,
            tokens=TokenChecker(request.tokens) if request.tokens else None,
            exporters=tuple(exporter for exporter in exporters if exporter is not None),
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
