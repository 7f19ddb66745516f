"""One endpoint, several deployments: shares, sessions, shadows, live changes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from promptflow_lite.errors import EndpointNotFoundError, OverloadedError, ServingError
from promptflow_lite.records import DeploymentSpec, EndpointSpec
from promptflow_lite.serving.management import EndpointManager
from promptflow_lite.serving.routing import Router, check_endpoint
from promptflow_lite.store import Store

from .conftest import PLAIN, AsgiClient, MakeClient, write_flow


def spec(*deployments: DeploymentSpec, is_sticky: bool = True) -> EndpointSpec:
    return EndpointSpec(name="e", deployments=deployments, is_sticky=is_sticky)


def deployment(name: str, weight: float = 0.0, **more: object) -> DeploymentSpec:
    return DeploymentSpec(name=name, flow="f", weight=weight, **more)  # type: ignore[arg-type]


def test_traffic_follows_the_weights() -> None:
    router = Router(spec(deployment("a", 3), deployment("b", 1), deployment("c", 0)))
    counts = Counter(router.choose().name for _ in range(4000))

    assert set(counts) == {"a", "b"}
    assert 0.71 < counts["a"] / 4000 < 0.79


def test_a_session_stays_and_sessions_follow_the_weights() -> None:
    router = Router(spec(deployment("a", 1), deployment("b", 1)))
    placed = {f"s{i}": router.choose(session=f"s{i}").name for i in range(1000)}

    assert all(router.choose(session=s).name == name for s, name in placed.items())
    assert 420 < Counter(placed.values())["a"] < 580


def test_growing_a_weight_moves_only_as_many_sessions_as_it_must() -> None:
    before = Router(spec(deployment("a", 9), deployment("b", 1)))
    after = Router(spec(deployment("a", 8), deployment("b", 2)))
    moved = sum(before.choose(session=f"s{i}").name != after.choose(session=f"s{i}").name for i in range(1000))

    assert 60 < moved < 140


def test_sessions_may_be_ignored() -> None:
    router = Router(spec(deployment("a", 1), deployment("b", 1), is_sticky=False))

    assert {router.choose(session="s").name for _ in range(100)} == {"a", "b"}


def test_a_header_overrides_and_reaches_deployments_of_weight_zero() -> None:
    router = Router(spec(deployment("a", 1), deployment("b", 0)))

    assert router.choose(wanted="b").name == "b"
    with pytest.raises(EndpointNotFoundError, match="no deployment 'c'"):
        router.choose(wanted="c")


def test_a_draining_deployment_takes_nothing_new() -> None:
    router = Router(spec(deployment("a", 1), deployment("b", 9, is_draining=True)))

    assert {router.choose(session=f"s{i}").name for i in range(50)} == {"a"}
    with pytest.raises(OverloadedError):
        router.choose(wanted="b")


def test_shadows_run_a_share_of_what_others_answer() -> None:
    router = Router(spec(deployment("a", 1), deployment("b", 0, mirror_fraction=0.5)))
    a = router.choose()
    n = sum(len(router.shadows(a)) for _ in range(2000))

    assert 900 < n < 1100
    assert router.shadows(deployment("b")) == []


@pytest.mark.parametrize(
    "bad",
    [
        spec(deployment("a", 1), deployment("a", 1)),
        spec(deployment("a", 0)),
        spec(deployment("a", 1, is_draining=True)),
        spec(deployment("a", -1), deployment("b", 1)),
        spec(deployment("a", 1, mirror_fraction=1.5)),
    ],
)
def test_impossible_endpoints_are_refused(bad: EndpointSpec) -> None:
    with pytest.raises(ServingError):
        check_endpoint(bad)


# --- served -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def manager(store: Store) -> EndpointManager:
    return EndpointManager(store)


@pytest.fixture
def two(manager: EndpointManager, tmp_path: Path, serve: MakeClient, store: Store) -> AsgiClient:
    v1 = write_flow(tmp_path / "v1", PLAIN)
    lower = PLAIN["shout.py"].replace("text.upper()", "text.lower()")
    v2 = write_flow(tmp_path / "v2", {**PLAIN, "shout.py": lower})
    manager.create(
        "e",
        [DeploymentSpec(name="v1", flow=str(v1), weight=1), DeploymentSpec(name="v2", flow=str(v2), mirror_fraction=1)],
    )
    return serve(store.endpoints.get("e"), is_live=True)


def answer(client: AsgiClient, **headers: str) -> str:
    reply = client.post("/score", {"text": "Hi"}, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return str(reply.json().get("answer", reply.status))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_mirrored_requests_are_recorded_and_not_returned(two: AsgiClient, store: Store) -> None:
    for i in range(10):
        assert answer(two, x_request_id=f"r{i}") == "HI"

    until(lambda: store.requests.count("e", is_shadow=True) == 10)
    shadow = {r.request_id: r for r in store.requests.list("e", is_shadow=True)}
    assert {r.deployment for r in shadow.values()} == {"v2"}
    assert shadow["r3"].output["answer"] == "hi"
    assert store.requests.get("r3").output["answer"] == "HI"  # type: ignore[union-attr]


def test_weights_change_live_and_roll_back(two: AsgiClient, manager: EndpointManager) -> None:
    manager.update("e", weights={"v1": 0, "v2": 1})
    until(lambda: answer(two) == "hi")

    manager.roll_back("e")
    until(lambda: answer(two) == "HI")
    assert [s.version for s in manager.versions("e")] == [1, 2, 3]


def test_a_deployment_is_drained_and_removed(two: AsgiClient, manager: EndpointManager) -> None:
    manager.update("e", weights={"v2": 1}, drain=["v1"])
    until(lambda: answer(two) == "hi")
    assert answer(two, x_deployment="v1") == "503"

    manager.update("e", remove=["v1"])
    until(lambda: answer(two, x_deployment="v1") == "404")


def test_a_version_that_cannot_be_prepared_leaves_the_old_one_running(
    two: AsgiClient, manager: EndpointManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = write_flow(tmp_path / "v3", {**PLAIN, "shout.py": "this is no python"})
    manager.update("e", add=[DeploymentSpec(name="v3", flow=str(broken), weight=9)])

    until(lambda: "cannot be served" in caplog.text)
    assert answer(two) == "HI"


def test_a_new_deployment_joins_while_serving(two: AsgiClient, manager: EndpointManager, tmp_path: Path) -> None:
    twice = PLAIN["shout.py"].replace("text.upper()", "text.upper() * 2")
    v3 = write_flow(tmp_path / "v3", {**PLAIN, "shout.py": twice})
    manager.update("e", add=[DeploymentSpec(name="v3", flow=str(v3))])

    until(lambda: answer(two, x_deployment="v3") == "HIHI")
    assert replace(manager.get("e"), version=1).deployment("v3") is not None
