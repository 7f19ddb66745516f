"""From flows and settings to a served application: what `pfl serve`, other servers and tests call."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

from promptflow_lite import settings as environment
from promptflow_lite._utils.jsonable import loads
from promptflow_lite.connections import ConnectionSource
from promptflow_lite.errors import InvalidFlowInitConfig, PromptflowException, ServingError
from promptflow_lite.flow import Flow, load_flow
from promptflow_lite.records import ApiKey, DeploymentSpec, EndpointSpec, Feedback, Role, ServedRequest
from promptflow_lite.runtime import create_executor, flow_process, resolve_environment
from promptflow_lite.serving.access import Gate
from promptflow_lite.serving.app import App, EndpointApp
from promptflow_lite.serving.deployment import Deployment
from promptflow_lite.serving.endpoint import Endpoint, ServingSettings
from promptflow_lite.serving.keys import KeyRing, key_from_text
from promptflow_lite.serving.limits import RateLimiter
from promptflow_lite.serving.metrics import ServingMetrics
from promptflow_lite.serving.recorder import WINDOW_S, Recorder
from promptflow_lite.serving.rest import RestParts, create_rest_app
from promptflow_lite.serving.routing import check_endpoint
from promptflow_lite.serving.schema import describe_interface
from promptflow_lite.serving.scrubbing import scrubber, secrets_of
from promptflow_lite.serving.tokens import TokenChecker
from promptflow_lite.store import Store

logger = logging.getLogger(__name__)

_REFRESH_S = 1.0
"""How often keys and deployments are read again from the store."""


class RequestExporter(Protocol):
    """Somewhere else that finished requests go to, such as a collector."""

    def export_requests(self, records: Sequence[ServedRequest]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSources:
    """Where an application gets what it needs."""

    connections: ConnectionSource
    store: Store | None = None
    """Records requests, keeps keys and deployments; None records nothing."""
    tokens: TokenChecker | None = None
    exporters: tuple[RequestExporter, ...] = ()
    """See every batch of finished requests; closed with the application."""
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    connection_overrides: Mapping[str, Mapping[str, Any]] | None = None
    init: Mapping[str, Any] | None = None
    requires_key: bool = False
    """Refuse requests without a key or token."""
    is_live: bool = False
    """Follow changes of the endpoint in the store."""


def settings_from_environment(settings: ServingSettings) -> ServingSettings:
    """The settings with what the contract's environment variables say (10.1, 10.2)."""
    included = _env("RESPONSE_INCLUDED_FIELDS")
    fields = loads(included) if included else None
    return replace(
        settings,
        build_info=settings.build_info or environment.env("BUILD_INFO") or "",
        response_fields=tuple(map(str, fields)) if isinstance(fields, list) else settings.response_fields,
    )


def init_from_environment() -> dict[str, Any]:
    """Constructor values of a flex flow from `PF_FLOW_INIT_CONFIG`. Raises `InvalidFlowInitConfig`."""
    text = environment.env("PF_FLOW_INIT_CONFIG")
    if not text:
        return {}

    try:
        value = loads(text)
    except ValueError as error:
        raise InvalidFlowInitConfig(
            f"PF_FLOW_INIT_CONFIG is not valid JSON: {error}", hint="""Write PF_FLOW_INIT_CONFIG='{"name": "value"}'."""
        ) from error

    if not isinstance(value, dict):
        raise InvalidFlowInitConfig("PF_FLOW_INIT_CONFIG must be a JSON object.")

    return value


def _env(name: str) -> str | None:
    """`PROMPTFLOW_<name>`, or its alias `PF_<name>`."""
    return environment.env(f"PROMPTFLOW_{name}") or environment.env(f"PF_{name}")


def create_app(
    flow: str | os.PathLike[str] | EndpointSpec | None,
    sources: AppSources,
    settings: ServingSettings | None = None,
) -> EndpointApp:
    """An ASGI application that serves a flow or an endpoint.

    Args:
        flow: Path of a flow, or an endpoint with its deployments; default: `PROMPTFLOW_PROJECT_PATH`, else `.`.
        sources: Connections, store, watchers.
        settings: What the operator decides.

    Raises:
        PromptflowException: a flow, its tools or its connections cannot be prepared.
    """
    settings = settings_from_environment(settings or ServingSettings())
    spec = flow if isinstance(flow, EndpointSpec) else _single(flow)
    check_endpoint(spec)
    deployments = {d.name: _deploy(d, sources, settings) for d in spec.deployments}
    if not deployments:
        raise ServingError(f"Endpoint {spec.name!r} has no deployments.", hint="Add one: pfl endpoint update --add …")

    limiter = RateLimiter()
    store = sources.store
    if store is not None:
        limiter.load(limiter.counts()[0], store.requests.usage(limiter.counts()[0]))

    keys = KeyRing(store.keys.list() if store else (), fixed=_given_key())
    gate = Gate(keys, sources.tokens, limiter, is_open=not sources.requires_key)
    watchers: list[Callable[[Sequence[ServedRequest]], None]] = []
    recorder = Recorder(
        store.requests if store else None,
        window_s=0.0 if settings.is_durable else WINDOW_S,
        usage=limiter.counts,
        scrub=scrubber(secrets_of(sources.connections)),
        on_batch=watchers,
    )
    endpoint = Endpoint(spec, deployments, gate=gate, recorder=recorder, settings=settings)
    metrics = ServingMetrics(
        spec.name,
        in_flight=lambda: endpoint.n_in_flight,
        waiting=lambda: recorder.n_waiting,
        dropped=lambda: endpoint.n_shadows_dropped,
    )
    watchers += [metrics.observe, *(exporter.export_requests for exporter in sources.exporters)]
    follower = _Follower(endpoint, sources, settings) if store is not None else None
    parts = RestParts(add_feedback=store.requests.add_feedback if store else _forget, metrics=metrics, store=store)
    process = _Process(Path(next(iter(deployments.values())).executor.flow.root))
    return EndpointApp(
        endpoint,
        cast(App, create_rest_app(endpoint, parts)),
        on_start=lambda: _call_all(process.enter, follower.start if follower else None),
        on_stop=lambda: _call_all(
            follower.stop if follower else None, process.leave, *(exporter.close for exporter in sources.exporters)
        ),
    )


def _given_key() -> ApiKey | None:
    """The operator's key from `PFL_SERVE_KEY`, for containers that keep no keys. Raises `ServingError`."""
    text = environment.env("PFL_SERVE_KEY")
    if text is None:
        return None

    key = key_from_text(text, Role.OPERATOR)
    if key is None:
        raise ServingError("PFL_SERVE_KEY is no API key.", hint="Make one with: pfl endpoint keys create")

    return key


def _forget(_: Feedback) -> None:
    """Feedback has no place to go without a store."""


def _call_all(*functions: Callable[[], None] | None) -> None:
    for function in functions:
        if function is not None:
            function()


def _single(flow: str | os.PathLike[str] | None) -> EndpointSpec:
    path = Path(flow or _env("PROJECT_PATH") or ".").absolute()
    name = path.stem if path.suffix else path.name
    return EndpointSpec(name=name, deployments=(DeploymentSpec(name="default", flow=str(path), weight=1.0),))


def _deploy(spec: DeploymentSpec, sources: AppSources, settings: ServingSettings) -> Deployment:
    """Load a deployment's flow and prepare everything it needs; all its connections must be there now."""
    flow = load_flow(_flow_path(Path(spec.flow)), variant=spec.variant)
    variables = _environment_of(flow, sources)
    init = {**init_from_environment(), **(sources.init or {})}
    with flow_process(flow.root, variables, overwrite=False):
        environment.set_env(dict(sources.environment_variables))
        executor = create_executor(
            flow, sources.connections, connection_overrides=sources.connection_overrides, init=init or None
        )
    interface = describe_interface(flow, inputs=executor.input_specs)
    return Deployment(spec, executor, interface, may_inline=settings.may_inline)


def _environment_of(flow: Flow, sources: AppSources) -> dict[str, str]:
    return resolve_environment(flow.environment_variables, {}, sources.connections)


def _flow_path(path: Path) -> Path:
    """The flow's folder or file; a folder may also hold exactly one prompty."""
    if path.is_dir():
        prompties = sorted(path.glob("*.prompty"))
        has_yaml = any(path.glob("flow.*.y*ml"))
        if len(prompties) == 1 and not has_yaml:
            return prompties[0]

    return path


class _Process:
    """The process's working directory while it serves: that of the flow, as its code may open files beside it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._previous: Path | None = None

    def enter(self) -> None:
        self._previous = Path.cwd()
        os.chdir(self._root)

    def leave(self) -> None:
        if self._previous is not None:
            os.chdir(self._previous)


class _Follower:
    """Reads keys and deployments again from the store, so that changes take effect without a restart."""

    def __init__(self, endpoint: Endpoint, sources: AppSources, settings: ServingSettings) -> None:
        self._endpoint = endpoint
        self._sources = sources
        self._settings = settings
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._refused_version = 0

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._work, name="pfl-follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(_REFRESH_S):
            try:
                self._refresh()
            except PromptflowException as error:
                logger.error("Keys and deployments could not be refreshed: %s", error)

    def _refresh(self) -> None:
        store = self._sources.store
        if store is None:
            return

        if self._sources.requires_key:
            self._endpoint.gate.keys.replace_all(store.keys.list())

        if self._sources.is_live:
            spec = store.endpoints.get(self._endpoint.name)
            if spec.version not in (self._endpoint.spec.version, self._refused_version):
                self._take_over(spec)

    def _take_over(self, spec: EndpointSpec) -> None:
        """Serve a new version; one that cannot be prepared is refused as a whole and the old one stays."""
        running = self._endpoint.deployments()
        try:
            check_endpoint(spec)
            deployments = {
                d.name: _reuse(running.get(d.name), d, self._sources, self._settings) for d in spec.deployments
            }
        except PromptflowException as error:
            self._refused_version = spec.version
            logger.error("Version %d of endpoint %s cannot be served: %s", spec.version, spec.name, error)
            return

        self._endpoint.change(spec, deployments)
        logger.info("Endpoint %s now serves version %d.", spec.name, spec.version)


def _reuse(
    running: Deployment | None, spec: DeploymentSpec, sources: AppSources, settings: ServingSettings
) -> Deployment:
    """The running deployment when only its share of traffic changed, else a new one."""
    if running is None or (running.spec.flow, running.spec.variant) != (spec.flow, spec.variant):
        return _deploy(spec, sources, settings)

    running.spec = spec
    return running
