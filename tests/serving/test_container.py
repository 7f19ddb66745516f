"""The container build: its Dockerfile, compose file and Kubernetes manifests."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from promptflow_lite.cli.main import main
from promptflow_lite.errors import ServingError
from promptflow_lite.records import Role
from promptflow_lite.sdk.container import kubernetes, label
from promptflow_lite.serving.keys import new_key

from .conftest import MakeClient


@pytest.fixture
def built(plain_flow: Path, tmp_path: Path) -> Path:
    assert (
        main(["flow", "build", "--source", str(plain_flow), "--output", str(tmp_path / "out"), "--format", "docker"])
        == 0
    )
    return tmp_path / "out"


def test_the_image_is_built_in_two_stages_and_runs_as_nobody_special(built: Path) -> None:
    text = (built / "Dockerfile").read_text()

    assert len(re.findall(r"^FROM ", text, re.M)) == 2
    final = text[text.rindex("\nFROM ") :]
    assert "pip install" not in final
    assert final.index("USER 10001") < final.index("CMD")
    assert "HEALTHCHECK" in final
    for source in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", text, re.M):
        for name in source.split():
            assert name.endswith("*") or (built / name).exists(), name


def test_the_container_asks_for_a_key(built: Path) -> None:
    start = (built / "start.sh").read_text()

    assert "--host 0.0.0.0" in start
    assert "--auth keys" in start
    assert "promptflow_lite.cli.main" in (built / "pfl").read_text()


def test_compose_offers_the_flow_to_this_machine_only(built: Path) -> None:
    flow = yaml.safe_load((built / "compose.yaml").read_text())["services"]["flow"]

    assert flow["ports"] == ["127.0.0.1:8080:8080"]
    assert flow["read_only"] is True
    assert flow["environment"]["PFL_DATABASE_URL"].startswith("postgresql://")


@pytest.mark.parametrize("kind", ["Deployment", "Service", "HorizontalPodAutoscaler"])
def test_the_manifests_are_valid(built: Path, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kubernetes_validate

    (document,) = [d for d in yaml.safe_load_all((built / "kubernetes.yaml").read_text()) if d["kind"] == kind]
    kubernetes_validate.validate(document, "1.30", strict=True)


def test_the_autoscaler_follows_a_metric_that_is_exported(serve: MakeClient, plain_flow: Path) -> None:
    autoscaler: Any = kubernetes("f", {})[2]
    metric = autoscaler["spec"]["metrics"][0]["pods"]["metric"]["name"]

    assert f"# TYPE {metric} gauge" in serve(plain_flow).get("/metrics").body.decode()


@pytest.mark.parametrize(("name", "expected"), [("My Flow_2", "my-flow-2"), ("é", "flow"), ("a" * 80, "a" * 63)])
def test_names_fit_kubernetes(name: str, expected: str) -> None:
    assert label(name) == expected


def test_a_given_key_opens_a_container(serve: MakeClient, plain_flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = new_key(Role.OPERATOR, now=0.0)
    monkeypatch.setenv("PFL_SERVE_KEY", text)

    client = serve(plain_flow, requires_key=True)

    assert client.post("/score", {"text": "a"}).status == 401
    assert client.post("/score", {"text": "a"}, headers={"authorization": f"Bearer {text}"}).status == 200
    monkeypatch.setenv("PFL_SERVE_KEY", "guess")
    with pytest.raises(ServingError, match="no API key"):
        serve(plain_flow, requires_key=True)
