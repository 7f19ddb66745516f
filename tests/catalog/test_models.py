"""`pfl model` and the catalogue behind it; the hub is a stand-in on loopback."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptflow_lite.catalog import ModelIndex, models_folder, resolve_model
from promptflow_lite.cli.main import main
from promptflow_lite.connections import OpenAIConnection
from promptflow_lite.errors import ModelLoadError, ModelNotFoundError, SDKError
from promptflow_lite.records import RunRecord, Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.models import ModelOperations
from tests.support.hub import COMMIT, StandInHub, serve_hub
from tests.support.tiny_gguf import tiny_model


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return tiny_model(tmp_path / "source.gguf").read_bytes()


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    stand_in = StandInHub({"tiny-Q8_0.gguf": b"GGUF other", "tiny-Q4_K_M.gguf": content, "README.md": b"# Tiny"})
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with serve_hub(stand_in) as address:
        monkeypatch.setenv("PFL_HUB_ENDPOINT", address)
        yield stand_in


def test_added_file_can_be_named_aliased_and_forgotten(tmp_path: Path) -> None:
    models = ModelOperations()
    file = tiny_model(tmp_path / "mine.gguf")

    card = models.add(file, "mine")
    models.alias("judge", "mine")

    assert card.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert resolve_model("judge") == file
    assert models.show("judge").aliases == ("judge",)
    assert models.remove("mine") is False
    assert file.is_file()
    with pytest.raises(ModelNotFoundError):
        resolve_model("judge")


def test_pull_takes_the_usual_quantisation_and_checks_it(hub: StandInHub, content: bytes) -> None:
    card = ModelOperations().pull("owner/tiny")

    assert card.name == "tiny-q4_k_m"
    assert card.sha256 == hashlib.sha256(content).hexdigest()
    assert card.details == {"repository": "owner/tiny", "revision": COMMIT, "licence": "apache-2.0"}
    assert resolve_model("tiny-q4_k_m").read_bytes() == content


def test_interrupted_pull_goes_on_where_it_stopped(
    hub: StandInHub, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cut_after = 5000
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)

    card = ModelOperations().pull("owner/tiny").name

    assert card == "tiny-q4_k_m"
    assert any(wanted.startswith("bytes=") and wanted != "bytes=0-" for wanted in hub.ranges)
    assert resolve_model("tiny-q4_k_m").read_bytes() == content


def test_download_that_never_completes_says_how_to_go_on(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.cut_after = 0
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _seconds: None)

    with pytest.raises(SDKError) as caught:
        ModelOperations().pull("owner/tiny")

    assert "goes on where it stopped" in str(caught.value.hint)


def test_wrong_checksum_is_refused_and_the_file_deleted(hub: StandInHub) -> None:
    hub.stated["tiny-Q4_K_M.gguf"] = "0" * 64

    with pytest.raises(ModelLoadError, match="checksum"):
        ModelOperations().pull("owner/tiny")

    assert not list(models_folder().rglob("*.gguf"))


def test_removing_a_download_deletes_it(hub: StandInHub) -> None:
    ModelOperations().pull("owner/tiny", name="small")
    path = resolve_model("small")

    assert ModelOperations().remove("small") is True
    assert not path.exists()


def test_unknown_repository_and_pattern_are_named(hub: StandInHub) -> None:
    with pytest.raises(ModelNotFoundError, match="owner/none"):
        ModelOperations().pull("owner/none")
    with pytest.raises(ModelNotFoundError) as caught:
        ModelOperations().pull("owner/tiny", file="*Q2_K*")

    assert "tiny-Q8_0.gguf" in str(caught.value.hint)


def test_search_asks_the_hub_only_when_told(hub: StandInHub) -> None:
    assert ModelOperations().search("tiny") == []
    assert ModelOperations().search("tiny", hub=True) == [{"repository": "owner/tiny", "downloads": 7, "likes": 1}]


def test_checksum_is_computed_once_a_version_of_the_file(tmp_path: Path) -> None:
    index = ModelIndex()
    path = tmp_path / "some.gguf"
    path.write_bytes(b"one")
    first = index.checksum(path)

    path.write_bytes(b"longer")

    assert index.checksum(path) == hashlib.sha256(b"longer").hexdigest() != first


def test_evaluation_results_appear_on_the_card(tmp_path: Path) -> None:
    models = ModelOperations()
    models.add(tiny_model(tmp_path / "mine.gguf"), "mine")

    models.record_evaluation("mine", "sst2", {"accuracy": 0.7})
    models.record_evaluation("mine", "qa", {"f1": 0.4})

    assert models.show("mine").details["evaluations"] == {"sst2": {"accuracy": 0.7}, "qa": {"f1": 0.4}}


def test_metrics_of_runs_that_the_file_answered_appear_on_the_card(tmp_path: Path) -> None:
    client = Client()
    card = client.models.add(tiny_model(tmp_path / "mine.gguf"), "mine")
    runs = client.store.runs
    models = [{"sha256": card.sha256}]
    common = {"flow": "f", "status": Status.COMPLETED, "created_on": 1.0}
    runs.create(RunRecord(name="base", properties={"models": models}, **common))  # type: ignore[arg-type]
    runs.create(RunRecord(name="judged", run="base", metrics={"accuracy": 0.8}, **common))  # type: ignore[arg-type]
    runs.create(RunRecord(name="other", metrics={"accuracy": 0.1}, **common))  # type: ignore[arg-type]

    assert client.models.show("mine").details["evaluations"] == {"judged": {"accuracy": 0.8}}


def test_models_of_an_endpoint_are_listed(hub: StandInHub, capsys: pytest.CaptureFixture[str]) -> None:
    address = os.environ["PFL_HUB_ENDPOINT"]
    client = Client()
    client.connections.create_or_update(OpenAIConnection("key", base_url=f"{address}/v1", name="there"))

    assert main(["model", "list", "--connection", "there"]) == 0

    assert [model["id"] for model in json.loads(capsys.readouterr().out)] == ["remote-model"]


def test_broken_index_says_which_file(home: Path) -> None:
    (home / "models.json").write_text("{", encoding="utf-8")

    with pytest.raises(SDKError, match=r"models\.json"):
        ModelOperations().list()


def test_command_line_lists_and_shows_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tiny_model(tmp_path / "mine.gguf")

    assert main(["model", "add", str(file), "--name", "mine"]) == 0
    capsys.readouterr()
    assert main(["model", "list", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert main(["model", "remove", "mine"]) == 0

    assert {"mine", "smollm2-135m"} <= {model["name"] for model in listed}


def test_doctor_reports_machine_engine_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "-o", "json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["settings"]["n_threads"] == report["machine"]["cores"]
    assert report["engine"]["installed"]
    assert {"name": "smollm2-135m", "fit": "fits"} in report["models"]
