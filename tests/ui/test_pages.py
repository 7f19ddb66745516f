"""Every page opens, with nothing to show, with something, with failures, and with very much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from promptflow_lite.connections import OpenAIConnection
from promptflow_lite.records import Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.resources import bundled
from tests.support.studio import fill_store

PAGES = sorted(path.stem for path in (bundled("ui") / "screens").glob("*.py"))
N_HUGE = 100_000


def open_page(name: str, **query: str) -> AppTest:
    import streamlit as st

    st.cache_resource.clear()
    st.cache_data.clear()
    at = AppTest.from_file(str(bundled("ui") / "app.py"), default_timeout=30)
    for key, value in query.items():
        at.query_params[key] = value
    at.run()
    return at.switch_page(f"screens/{name}.py").run()


def texts(at: AppTest) -> str:
    elements = [*at.markdown, *at.caption, *at.error, *at.warning]
    return "\n".join(str(element.value) for element in elements)


def components(at: AppTest) -> list[dict]:
    return [json.loads(element.proto.json) for element in at.get("bidi_component")]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_with_nothing_to_show(name: str, workspace_folder: Path) -> None:
    at = open_page(name)

    assert not at.exception
    assert not at.error


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_with_a_flow_and_runs(name: str, flow_folder: Path) -> None:
    with Client() as client:
        fill_store(client, "base", flow_folder, n_lines=12)
        fill_store(client, "other", flow_folder, n_lines=12)
        for base in ("base", "other"):
            fill_store(client, f"{base}__accuracy", flow_folder, n_lines=12, base=base, metrics={"accuracy": 0.5})

    at = open_page(name, flow="tickets", run="base", runs="base,other")

    assert not at.exception
    assert not at.error


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_with_failures(name: str, flow_folder: Path) -> None:
    (flow_folder / "flow.dag.yaml").write_text("nodes: [")
    (flow_folder / "clean.py").unlink()
    with Client() as client:
        fill_store(client, "bad", flow_folder, n_lines=5, status=Status.FAILED)

    at = open_page(name, flow="tickets", run="bad")

    assert not at.exception


def test_the_author_page_draws_the_flow(flow_folder: Path) -> None:
    notebook, canvas = components(open_page("author", flow="tickets"))[:2]

    assert [node["id"] for node in canvas["nodes"]] == ["inputs", "classify", "clean", "outputs"]
    assert ("classify", "clean") in {(edge["source"], edge["target"]) for edge in canvas["edges"]}
    assert [cell["id"] for cell in notebook["cells"]] == ["classify", "clean"]
    assert notebook["inputs"][0]["test"].startswith("I was charged")
    assert "I was charged" in notebook["cells"][0]["rendered"]


def test_problems_stand_at_their_node(flow_folder: Path) -> None:
    file = flow_folder / "flow.dag.yaml"
    file.write_text(file.read_text().replace("answer: ${classify.output}", "answer: ${nobody.output}"))
    (flow_folder / "clean.py").write_text("def clean(:\n")

    notebook, canvas = components(open_page("author", flow="tickets"))[:2]

    clean = next(node for node in canvas["nodes"] if node["id"] == "clean")
    assert clean["problems"] >= 1
    assert notebook["cells"][1]["lints"][0]["line"] == 1


def test_opening_a_flow_runs_none_of_its_code(flow_folder: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    (flow_folder / "clean.py").write_text(
        f"open({str(witness)!r}, 'w').close()\n" + (flow_folder / "clean.py").read_text()
    )

    for name in PAGES:
        open_page(name, flow="tickets")

    assert not witness.exists()


def test_a_run_shows_its_lines_and_what_evaluators_said(flow_folder: Path) -> None:
    with Client() as client:
        fill_store(client, "base", flow_folder, n_lines=3)
        fill_store(client, "judged", flow_folder, n_lines=3, base="base", metrics={"accuracy": 0.5})

    at = open_page("run", run="base")
    frame = at.dataframe[0].value

    assert list(frame["Line"]) == [0, 1, 2]
    assert {"inputs.message", "outputs.label", "tickets.correct"} <= set(frame.columns)
    assert {metric.label for metric in at.metric} >= {"Lines", "Failed", "accuracy"}


def test_a_selected_line_shows_its_trace(flow_folder: Path) -> None:
    with Client() as client:
        fill_store(client, "base", flow_folder, n_lines=3)

    at = open_page("run", run="base", line="1")

    spans = components(at)[-1]["spans"]
    assert [span["name"] for span in spans] == ["line 1", "classify", "clean"]


def test_a_label_is_stored_and_the_next_output_comes(flow_folder: Path) -> None:
    with Client() as client:
        fill_store(client, "base", flow_folder, n_lines=3)
        at = open_page("annotate", run="base")
        first = at.code[0].value

        at.button(key="label-good").click().run()

        assert not at.exception
        assert [label.value for label in client.labels.list(["base"])] == ["good"]
        assert at.code[0].value != first


def test_secrets_of_a_connection_are_never_shown(workspace_folder: Path) -> None:
    secret = "sk-very-secret"
    with Client() as client:
        client.connections.create_or_update(OpenAIConnection(api_key=secret, name="open_ai"))

    at = open_page("connections")

    assert secret not in texts(at)
    assert secret not in at.dataframe[0].value.to_csv()


def test_a_connection_is_deleted_only_when_that_is_confirmed(workspace_folder: Path) -> None:
    with Client() as client:
        client.connections.create_or_update(OpenAIConnection(api_key="k", name="open_ai"))
        at = open_page("connections")
        at.session_state["connections_table"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
        at.run()

        at.button(key="connection_delete").click().run()
        assert client.connections.names() == ["open_ai"]
        at.button(key="connection_delete").click()
        at.button(key="connection_delete_sure").click().run()

        assert client.connections.names() == []
        assert "No connections yet." in texts(at)


def test_a_flow_outside_of_the_workspace_is_refused(workspace_folder: Path) -> None:
    at = open_page("author", flow="../../etc")

    assert not at.exception
    assert "outside of the workspace" in at.error[0].value


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_hundred_thousand_rows_stay_quick(flow_folder: Path) -> None:
    with Client() as client:
        fill_store(client, "huge", flow_folder, n_lines=N_HUGE)

    for name in PAGES:
        at = open_page(name, flow="tickets", run="huge", runs="huge")
        assert not at.exception, name

    at = open_page("run", run="huge")
    assert len(at.dataframe[0].value) == 100
    at.pagination[0].set_value(700)
    at.run()
    assert at.dataframe[0].value["Line"].iloc[0] == 69_900
