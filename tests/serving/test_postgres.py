"""Several replicas share one PostgreSQL: records, keys, deployments and the audit log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.postgres import postgres_server

from promptflow_lite.connections import DictConnectionSource
from promptflow_lite.monitoring import compare_deployments, judge_endpoint, load_evaluator
from promptflow_lite.records import DeploymentSpec, Role
from promptflow_lite.serving.create import AppSources, create_app
from promptflow_lite.serving.management import EndpointManager
from promptflow_lite.store import Store

from .conftest import AsgiClient

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def replicas(database: str, plain_flow: Path) -> Iterator[tuple[Store, EndpointManager, list[AsgiClient], str]]:
    store = Store.open(database)
    manager = EndpointManager(store)
    deployments = [DeploymentSpec(name="a", flow=str(plain_flow), weight=1)]
    manager.create("shared", [*deployments, DeploymentSpec(name="b", flow=str(plain_flow), mirror_fraction=1.0)])
    _, key = manager.create_key(Role.CALLER, quota_per_day=1000)
    clients = []
    for _ in range(2):
        own = Store.open(database)
        sources = AppSources(connections=DictConnectionSource(), store=own, requires_key=True, is_live=True)
        clients.append(AsgiClient(create_app(own.endpoints.get("shared"), sources), key))
    yield store, manager, clients, key
    for client in clients:
        client.close()
    store.close()


def test_replicas_share_everything(replicas: Any) -> None:
    store, manager, clients, key = replicas
    for i in range(40):
        body = {"text": f"t{i}", "ground_truth": f"T{i}"}
        assert clients[i % 2].post("/score", body, headers={"x-request-id": f"r{i}"}).status == 200
    deadline = time.monotonic() + 10
    while store.requests.count("shared") < 80 and time.monotonic() < deadline:
        time.sleep(0.05)

    assert store.requests.count("shared", is_shadow=False) == 40
    found = store.requests.get("r7")
    assert (found.output["answer"], found.deployment, len(found.nodes)) == ("T7", "a", 2)

    judge_endpoint(store, "shared", load_evaluator("right", "exact_match"))
    verdict = compare_deployments(store.requests.scores("shared"), "a", "b", "right")
    assert (verdict.verdict, verdict.test.n) == ("inconclusive", 40)

    manager.update("shared", weights={"b": 1}, drain=["a"])
    manager.revoke_key(key.split("_")[1])
    deadline = time.monotonic() + 10
    while any(c.post("/score", {"text": "x"}).status == 200 for c in clients) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [client.post("/score", {"text": "x"}).status for client in clients] == [401, 401]
    assert [client.app.endpoint.spec.version for client in clients] == [2, 2]
    assert manager.audit.verify() == 4
