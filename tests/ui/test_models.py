"""Models in the studio: what is listed, choosing the default, adding, downloading, removing, measuring."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.studio import (
    Job,
    bench_rows,
    default_model_name,
    is_alive,
    model_entries,
    model_jobs,
    start_bench,
    start_pull,
    use_as_default,
)
from tests.support.hub import StandInHub, serve_hub
from tests.support.tiny_gguf import tiny_model
from tests.ui.test_pages import open_page, texts

BUNDLED = "smollm2-135m"


@pytest.fixture
def client(workspace_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.delenv("PFL_DEFAULT_MODEL")
    with Client() as opened:
        yield opened


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    stand_in = StandInHub({"tiny-Q4_K_M.gguf": tiny_model(tmp_path / "source.gguf").read_bytes()})
    with serve_hub(stand_in) as address:
        monkeypatch.setenv("PFL_HUB_ENDPOINT", address)
        yield stand_in


def in_dialog(at: AppTest, opener: str, confirm: str, **texts: str) -> None:
    """Fill in a dialog and confirm it; AppTest runs the whole page, so what opened the dialog is pressed again."""
    at.button(key=opener).click().run()
    at.button(key=opener).click()
    for key, text in texts.items():
        at.text_input(key=key).set_value(text)
    at.run()
    at.button(key=opener).click()
    at.button(key=confirm).click().run()


def ended(job: Job) -> Job:
    deadline = time.monotonic() + 60
    while is_alive(job):
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.1)
    return next(found for found in model_jobs(job.kind) if found.id == job.id)


def test_models_that_are_not_here_are_listed_with_what_to_do(client: Client, tmp_path: Path) -> None:
    file = tiny_model(tmp_path / "mine.gguf")
    client.models.add(file, "mine")
    file.unlink()

    entries = {entry.name: entry for entry in model_entries(client)}

    assert entries[BUNDLED].state == "here"
    assert (entries["mine"].state, entries["mine"].hint) == ("file is gone", str(file))
    assert entries["mine"].is_added


def test_the_chosen_default_takes_effect_at_once(client: Client, tmp_path: Path) -> None:
    client.models.add(tiny_model(tmp_path / "mine.gguf"), "mine")
    client.models.alias("judge", "mine")

    assert use_as_default(client, "mine") == ""
    client.config.apply()
    assert os.environ["PFL_DEFAULT_MODEL"] == "mine"
    assert use_as_default(client, "judge") == ""

    assert os.environ["PFL_DEFAULT_MODEL"] == "judge"
    assert [entry.name for entry in model_entries(client) if entry.is_default] == ["mine"]


def test_a_default_in_the_environment_is_named_as_the_winner(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "other")

    assert "PFL_DEFAULT_MODEL wins: it says other" in use_as_default(client, BUNDLED)
    assert default_model_name(client) == "other"


def test_a_download_reports_how_far_it_is_and_adds_the_model(client: Client, hub: StandInHub) -> None:
    job = ended(start_pull("owner/tiny", name="small"))

    assert job.error is None
    assert job.progress["done"] == job.progress["total"] == len(hub.files["tiny-Q4_K_M.gguf"])
    assert client.models.show("small").source == "hub"


def test_a_download_tells_bytes_while_they_come(
    client: Client, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    size = len(hub.files["tiny-Q4_K_M.gguf"])
    told: list[tuple[int, int | None]] = []

    client.models.pull("owner/tiny", report=lambda done, total: told.append((done, total)))

    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == (size, size)


def test_without_a_network_the_page_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFL_HUB_ENDPOINT", "http://127.0.0.1:9")
    job = ended(start_pull("owner/tiny"))

    at = open_page("models")

    assert job.error is not None
    assert "The model hub cannot be asked about 'owner/tiny'" in at.error[0].value
    assert "needs the network" in at.error[0].value
    at.button(key=f"pull_dismiss-{job.id}").click().run()
    assert not at.error


def test_a_file_is_added_aliased_and_removed_on_the_page(client: Client, tmp_path: Path) -> None:
    file = tiny_model(tmp_path / "mine.gguf")
    at = open_page("models")

    in_dialog(at, "model_add", "add_sure", add_path=str(file))
    assert "mine" in list(at.dataframe[0].value["Model"])

    at.session_state["models_table"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    at.run()
    assert "#### mine" in texts(at)
    in_dialog(at, "model_alias", "alias_sure", alias_name="judge")
    assert client.models.show("judge").name == "mine"

    at.button(key="model_remove").click().run()
    assert "mine" in list(at.dataframe[0].value["Model"]), "nothing is removed before it is confirmed"
    in_dialog(at, "model_remove", "remove_sure")
    assert "mine" not in list(at.dataframe[0].value["Model"])
    assert file.is_file()


def test_the_card_shows_what_the_file_says(client: Client) -> None:
    at = open_page("models")

    shown = at.table[0].value.to_csv()

    assert client.models.show(BUNDLED).sha256 in [block.value for block in at.code]
    assert {"Architecture", "Quantisation", "Context", "Licence", "File", "This machine"} <= set(at.dataframe[0].value)
    assert "apache-2.0" in shown


def test_a_file_that_is_no_model_is_refused_in_words(client: Client, tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"nothing")
    at = open_page("models")

    in_dialog(at, "model_add", "add_sure", add_path=str(tmp_path / "no.gguf"))

    assert "is not a usable GGUF file" in at.error[0].value


def test_a_measurement_becomes_two_lines_of_a_chart() -> None:
    measured = [{"rows": 4, "prompt_tokens_per_s": 900.0, "generated_tokens_per_s": 60.0}]

    assert bench_rows(measured) == [
        {"Rows together": 4, "What": "reading prompts", "Tokens a second": 900.0},
        {"Rows together": 4, "What": "generating", "Tokens a second": 60.0},
    ]


@pytest.mark.model
def test_a_model_is_measured_in_a_process_of_its_own(client: Client) -> None:
    job = ended(start_bench(BUNDLED, [1, 4]))

    assert job.error is None
    assert [row["rows"] for row in job.progress["measured"]] == [1, 4]
    assert all(row["generated_tokens_per_s"] > 0 for row in job.progress["measured"])


def test_a_model_is_tried_on_the_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:echo")
    at = open_page("models")
    at.session_state["model_tabs"] = "Try it"
    at.run()

    at.text_area(key="model_prompt").set_value("Say hello.")
    at.button(key="model_ask").click().run()
    _, job = at.session_state["model_job"]
    assert job.wait(30)
    at.run()

    assert not at.exception
    assert "Say hello." in [block.value for block in at.code]
    assert "tokens a second" in texts(at)
