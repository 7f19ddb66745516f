"""Nodes without a connection: which model they use, as settings and environment say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.connections import OpenAIConnection
from promptflow_lite.providers import FakeModel
from promptflow_lite.sdk.client import Client

FLOW = """
inputs:
  q: {type: string}
outputs:
  a: {type: string, reference: "${n.output}"}
nodes:
- name: n
  type: llm
  source: {type: code, path: t.jinja2}
  inputs:
    q: ${inputs.q}
    model: gpt-4
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "flow.dag.yaml").write_text(FLOW)
    (tmp_path / "t.jinja2").write_text("user:\nsay {{q}}")
    return tmp_path


def answer(client: Client, flow: Path) -> Any:
    return client.flows.test(flow, inputs={"q": "hi"}).output


def test_the_setting_names_the_model(flow):
    Client().config.set("model.default", "fake:echo")
    assert answer(Client(), flow) == {"a": "say hi"}


def test_the_environment_wins_over_the_setting(flow, monkeypatch):
    FakeModel(default="from the environment", name="by-environment")
    Client().config.set("model.default", "fake:echo")
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:by-environment")
    assert answer(Client(), flow) == {"a": "from the environment"}


def test_the_setting_names_a_connection(flow):
    model = FakeModel(default="through the connection")
    client = Client()
    client.connections.create_or_update(OpenAIConnection("k", base_url=f"fake:{model.name}", name="mine"))
    client.config.set("connection.default", "mine")
    assert answer(Client(), flow) == {"a": "through the connection"}
    assert model.calls[0].body["model"] == "gpt-4"


def test_a_stored_connection_takes_its_values_from_the_environment(flow, monkeypatch):
    (flow / "flow.dag.yaml").write_text(FLOW.replace("  type: llm\n", "  type: llm\n  connection: mine\n  api: chat\n"))
    client = Client()
    client.connections.create_or_update(OpenAIConnection("${env:MY_KEY}", base_url="http://127.0.0.1:9", name="mine"))
    monkeypatch.setenv("MY_KEY", "k")
    monkeypatch.setenv("MINE_BASE_URL", "fake:echo")
    assert answer(client, flow) == {"a": "say hi"}
