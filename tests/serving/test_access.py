"""Who may do what over HTTP: every role on every route and method."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.records import DeploymentSpec, EndpointSpec, Role
from promptflow_lite.serving.management import EndpointManager
from promptflow_lite.store import Store

from .conftest import AsgiClient, MakeClient

# Route, method, body, and the roles that may; everybody else is refused.
ANY = set(Role)
CALLERS = {Role.CALLER, Role.OPERATOR, Role.ADMIN}
READERS = {Role.READER, Role.OPERATOR, Role.ADMIN}
OPERATORS = {Role.OPERATOR, Role.ADMIN}
ADMINS = {Role.ADMIN}
QUESTION = {"question": "hi"}
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
MATRIX: list[tuple[str, str, Any, set[Role]]] = [
    ("/score", "POST", QUESTION, CALLERS),
    ("/v1/run", "POST", QUESTION, CALLERS),
    ("/v1/chat/completions", "POST", CHAT, CALLERS),
    ("/feedback", "POST", {"ok": 1}, CALLERS),
    ("/v1/models", "GET", None, ANY),
    ("/v1/models/talk", "GET", None, ANY),
    ("/swagger.json", "GET", None, ANY),
    ("/openapi.json", "GET", None, ANY),
    ("/metrics", "GET", None, READERS),
    ("/admin/endpoint", "GET", None, READERS),
    ("/admin/requests", "GET", None, READERS),
    ("/admin/endpoint", "PATCH", {"weights": {"a": 2}}, OPERATORS),
    ("/admin/keys", "GET", None, ADMINS),
    ("/admin/keys", "POST", {"role": "caller"}, ADMINS),
    ("/admin/keys/none", "DELETE", None, ADMINS),
    ("/admin/audit", "GET", None, ADMINS),
]
OPEN = [("/health", "GET"), ("/version", "GET"), ("/", "GET"), ("/docs", "GET")]


@pytest.fixture
def manager(store: Store) -> EndpointManager:
    return EndpointManager(store)


@pytest.fixture
def keys(manager: EndpointManager, chat_flow: Path) -> dict[Role, str]:
    manager.create("talk", [DeploymentSpec(name="a", flow=str(chat_flow), weight=1)])
    return {role: manager.create_key(role)[1] for role in Role}


@pytest.fixture
def guarded(serve: MakeClient, store: Store, keys: dict[Role, str]) -> AsgiClient:
    return serve(store.endpoints.get("talk"), requires_key=True, is_live=True)


def send(client: AsgiClient, path: str, method: str, body: Any, key: str | None) -> Any:
    import orjson

    headers = {"authorization": f"Bearer {key}"} if key else {}
    return client.request(method, path, body=b"" if body is None else orjson.dumps(body), headers=headers)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("path", "method", "body", "allowed"), MATRIX, ids=[f"{m} {p}" for p, m, _, _ in MATRIX])
def test_each_role_reaches_exactly_its_routes(
    guarded: AsgiClient, keys: dict[Role, str], path: str, method: str, body: Any, allowed: set[Role], role: Role
) -> None:
    status = send(guarded, path, method, body, keys[role]).status

    if role in allowed:
        assert status in (200, 201, 404)
    else:
        assert status == 403


@pytest.mark.parametrize(("path", "method", "body", "allowed"), MATRIX, ids=[f"{m} {p}" for p, m, _, _ in MATRIX])
def test_nobody_gets_in_without_a_valid_key(
    guarded: AsgiClient, keys: dict[Role, str], path: str, method: str, body: Any, allowed: set[Role]
) -> None:
    admin = keys[Role.ADMIN]
    for wrong in (None, "", "x", admin[:-1], admin[:-2] + "xx", "pfl_" + "0" * 12 + "_" + "a" * 43):
        reply = send(guarded, path, method, body, wrong)
        assert (reply.status, reply.headers.get("www-authenticate")) == (401, 'Bearer realm="promptflow-lite"')


@pytest.mark.parametrize(("path", "method"), OPEN)
def test_probes_and_static_pages_are_open(guarded: AsgiClient, path: str, method: str) -> None:
    assert guarded.request(method, path).status == 200


def test_every_route_is_in_the_matrix(guarded: AsgiClient) -> None:
    rest: Any = guarded.app._rest
    served = {
        (r.path.replace("{name:path}", "talk").replace("{key_id}", "none"), m) for r in rest.routes for m in r.methods
    }
    known = {(path, method) for path, method, _, _ in MATRIX} | set(OPEN) | {("/", "POST")}

    assert {(path, method) for path, method in served if method != "HEAD"} <= known


def test_keys_also_come_in_the_headers_of_other_clients(guarded: AsgiClient, keys: dict[Role, str]) -> None:
    for header in ("x-api-key", "api-key"):
        assert guarded.post("/score", QUESTION, headers={header: keys[Role.CALLER]}).status == 200


def test_a_revoked_key_stops_working_within_seconds(
    guarded: AsgiClient, keys: dict[Role, str], manager: EndpointManager
) -> None:
    key = keys[Role.CALLER]
    assert send(guarded, "/score", "POST", QUESTION, key).status == 200
    manager.revoke_key(key.split("_")[1])

    deadline = time.monotonic() + 5
    while send(guarded, "/score", "POST", QUESTION, key).status == 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert send(guarded, "/score", "POST", QUESTION, key).status == 401


def test_rates_and_quotas_are_kept_per_key(serve: MakeClient, chat_flow: Path, manager: EndpointManager) -> None:
    _, quick = manager.create_key(Role.CALLER, rate_per_minute=2)
    _, few = manager.create_key(Role.CALLER, quota_per_day=1)
    client = serve(chat_flow, requires_key=True)

    assert [send(client, "/score", "POST", QUESTION, quick).status for _ in range(3)] == [200, 200, 429]
    replies = [send(client, "/score", "POST", QUESTION, few) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 429]
    assert int(replies[1].headers["retry-after"]) > 0


def test_a_quota_survives_a_restart(serve: MakeClient, chat_flow: Path, manager: EndpointManager) -> None:
    _, few = manager.create_key(Role.CALLER, quota_per_day=1)
    first = serve(chat_flow, requires_key=True)
    assert send(first, "/score", "POST", QUESTION, few).status == 200
    first.app.stop()

    assert send(serve(chat_flow, requires_key=True), "/score", "POST", QUESTION, few).status == 429


def test_keys_are_in_no_log_and_no_record(
    guarded: AsgiClient, keys: dict[Role, str], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for path, method, body, _ in MATRIX:
        for key in keys.values():
            send(guarded, path, method, body, key)
    guarded.app.stop()

    kept = repr(store.requests.list(limit=None)) + repr(store.keys.list()) + repr(store.audit.list()) + caplog.text
    for key in keys.values():
        assert key.split("_", 2)[2] not in kept


def test_an_endpoint_without_authentication_offers_no_keys(serve: MakeClient, chat_flow: Path) -> None:
    client = serve(chat_flow)

    assert client.get("/admin/keys").status == 403
    assert client.get("/admin/endpoint").status == 200


def test_changes_are_in_the_audit_log_with_their_author(
    guarded: AsgiClient, keys: dict[Role, str], manager: EndpointManager
) -> None:
    send(guarded, "/admin/endpoint", "PATCH", {"weights": {"a": 3}}, keys[Role.OPERATOR])

    entry = manager.audit.entries()[0]
    assert (entry.action, entry.target, entry.actor) == ("endpoint.update", "talk", keys[Role.OPERATOR].split("_")[1])
    assert (entry.before["deployments"][0]["weight"], entry.after["deployments"][0]["weight"]) == (1.0, 3.0)
    assert manager.audit.verify() == len(manager.audit.entries())


def test_a_tampered_audit_log_is_found_out(manager: EndpointManager, store: Store, keys: dict[Role, str]) -> None:
    from sqlalchemy import text

    from promptflow_lite.errors import AuditTamperedError

    with store._database.write() as connection:
        connection.execute(text("UPDATE audit SET actor = 'somebody else' WHERE seq = 2"))

    with pytest.raises(AuditTamperedError, match="entry 2"):
        manager.audit.verify()


def test_a_shortened_audit_log_is_found_out(manager: EndpointManager, store: Store, keys: dict[Role, str]) -> None:
    from sqlalchemy import text

    from promptflow_lite.errors import AuditTamperedError

    with store._database.write() as connection:
        connection.execute(text("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"))

    with pytest.raises(AuditTamperedError):
        manager.audit.verify()


def test_a_spec_that_takes_no_traffic_is_refused(manager: EndpointManager, keys: dict[Role, str]) -> None:
    from promptflow_lite.errors import ServingError

    with pytest.raises(ServingError, match="takes traffic"):
        manager.update("talk", drain=["a"])
    assert manager.get("talk").version == 1
    assert EndpointSpec(name="x").deployments == ()
