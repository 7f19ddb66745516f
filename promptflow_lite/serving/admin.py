"""Administration over HTTP: look at requests and deployments, change shares of traffic, keep keys."""

# FastAPI reads the annotations of route functions at run time, so they must not be strings here.

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.jsonable import loads
from promptflow_lite.errors import BadRequest
from promptflow_lite.records import Role
from promptflow_lite.serving.call import read_body
from promptflow_lite.serving.endpoint import Endpoint
from promptflow_lite.serving.management import EndpointManager, public_key
from promptflow_lite.serving.rest import admit, respond
from promptflow_lite.serving.roles import Permission
from promptflow_lite.store import Store

if TYPE_CHECKING:
    from fastapi import FastAPI


def add_administration(app: "FastAPI", endpoint: Endpoint, store: Store) -> None:
    """Add the routes below `/admin`."""
    manager = EndpointManager(store)
    _add_reading(app, endpoint, manager)
    _add_operating(app, endpoint, manager)
    _add_keys(app, endpoint, manager)


def _add_reading(app: "FastAPI", endpoint: Endpoint, manager: EndpointManager) -> None:
    from fastapi import Request

    @app.get("/admin/endpoint")
    async def show(request: Request) -> Any:
        admit(request, endpoint, Permission.READ)
        in_flight = {name: d.n_in_flight for name, d in endpoint.deployments().items()}
        return respond(request, 200, {**asdict(endpoint.spec), "in_flight": in_flight})

    @app.get("/admin/requests")
    async def requests(request: Request) -> Any:
        admit(request, endpoint, Permission.READ)
        query = request.query_params
        found = await _in_thread(
            lambda: manager.logs(
                endpoint.name,
                deployment=query.get("deployment"),
                only_failed=query.get("only_failed", "").lower() == "true",
                limit=_limit(query.get("limit")),
            )
        )
        return respond(request, 200, {"requests": [asdict(record) for record in found]})


def _add_operating(app: "FastAPI", endpoint: Endpoint, manager: EndpointManager) -> None:
    from fastapi import Request

    @app.patch("/admin/endpoint")
    async def update(request: Request) -> Any:
        call, principal = admit(request, endpoint, Permission.OPERATE)
        body = await _object(request, call, endpoint)
        unknown = set(body) - {"weights", "mirrors", "drain", "undrain"}
        if unknown:
            raise BadRequest(f"Unknown members {sorted(unknown)}.", hint="Give weights, mirrors, drain or undrain.")

        spec = await _in_thread(
            lambda: manager.update(
                endpoint.name,
                weights=_numbers(body.get("weights"), "weights"),
                mirrors=_numbers(body.get("mirrors"), "mirrors"),
                drain=_names(body.get("drain"), "drain"),
                undrain=_names(body.get("undrain"), "undrain"),
                actor=principal.id,
            )
        )
        return respond(request, 200, asdict(spec))


def _add_keys(app: "FastAPI", endpoint: Endpoint, manager: EndpointManager) -> None:
    from fastapi import Request

    @app.get("/admin/keys")
    async def keys(request: Request) -> Any:
        admit(request, endpoint, Permission.ADMINISTER)
        return respond(request, 200, {"keys": [public_key(key) for key in await _in_thread(manager.keys)]})

    @app.post("/admin/keys")
    async def create(request: Request) -> Any:
        call, principal = admit(request, endpoint, Permission.ADMINISTER)
        body = await _object(request, call, endpoint)
        if body.get("role") not in list(Role):
            raise BadRequest(f"'role' must be one of {', '.join(Role)}.")

        name = str(body.get("name", ""))
        key, text = await _in_thread(lambda: manager.create_key(body["role"], name=name, actor=principal.id))
        return respond(request, 201, {**public_key(key), "key": text})

    @app.delete("/admin/keys/{key_id}")
    async def revoke(request: Request, key_id: str) -> Any:
        _, principal = admit(request, endpoint, Permission.ADMINISTER)
        key = await _in_thread(lambda: manager.revoke_key(key_id, actor=principal.id))
        return respond(request, 200, public_key(key))

    @app.get("/admin/audit")
    async def audit(request: Request) -> Any:
        admit(request, endpoint, Permission.ADMINISTER)
        entries = await _in_thread(lambda: manager.audit.entries(limit=_limit(request.query_params.get("limit"))))
        return respond(request, 200, {"entries": [asdict(entry) for entry in entries]})


async def _in_thread(work: Callable[[], Any]) -> Any:
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(work)


async def _object(request: Any, call: Any, endpoint: Endpoint) -> dict[str, Any]:
    settings = endpoint.settings
    body = await read_body(request.receive, call, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    try:
        value = loads(body)
    except ValueError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}") from error

    if not isinstance(value, dict):
        raise BadRequest("The request body must be a JSON object.")

    return value


def _limit(text: str | None) -> int:
    return min(int(text), 1000) if text and text.isdigit() else 100


def _numbers(value: Any, name: str) -> dict[str, float] | None:
    if value is None:
        return None

    if not isinstance(value, dict) or not all(type(number) in (int, float) for number in value.values()):
        raise BadRequest(f"{name!r} must map deployments to numbers.")

    return {key: float(number) for key, number in value.items()}


def _names(value: Any, name: str) -> list[str]:
    if value is None:
        return []

    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f"{name!r} must be a list of deployments.")

    return value
