"""Connections in the store: dates, kept secrets, a new key, nothing in clear."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.connections import CustomConnection, OpenAIConnection
from promptflow_lite.errors import DecryptConnectionError
from promptflow_lite.sdk.client import Client

KEY = "sk-very-secret-4711"


def test_replacing_a_connection_keeps_its_creation_time_and_its_secret():
    connections = Client().connections
    first = connections.create_or_update(OpenAIConnection(KEY, name="mine"))
    second = connections.create_or_update(OpenAIConnection("***", base_url="http://h", name="mine"))
    assert second["created_date"] == first["created_date"] is not None
    assert second["last_modified_date"] >= first["last_modified_date"]
    assert connections.get("mine").api_key == KEY


def test_a_new_key_replaces_the_old_one(home):
    connections = Client().connections
    for name in ("a", "b"):
        connections.create_or_update(CustomConnection({"k": KEY}, name=name))
    before = (home / "connections.key").read_text()
    assert main(["connection", "rotate-key"]) == 0
    after = (home / "connections.key").read_text()
    assert before not in after
    assert len(after.split()) == 1
    assert [Client().connections.get(name).k for name in ("a", "b")] == [KEY, KEY]


def test_a_lost_key_file_is_explained_and_listing_still_works(home):
    connections = Client().connections
    connections.create_or_update(OpenAIConnection(KEY, name="mine"))
    (home / "connections.key").unlink()
    assert connections.list()[0]["api_key"] == "******"
    with pytest.raises(DecryptConnectionError) as caught:
        connections.get("mine")
    assert "key file" in caught.value.hint
    connections.create_or_update(OpenAIConnection(KEY, name="mine"), keep_secrets=False)
    assert connections.get("mine").api_key == KEY


def test_the_command_line_never_prints_or_writes_a_secret(home, tmp_path, capsys, caplog):
    path = tmp_path / "c.yaml"
    path.write_text(f"name: mine\ntype: open_ai\napi_key: {KEY}\n")
    with caplog.at_level(logging.DEBUG):
        assert main(["connection", "create", "-f", str(path)]) == 0
        assert main(["connection", "update", "-n", "mine", "--set", "requests_per_minute=60"]) == 0
        assert main(["connection", "show", "-n", "mine"]) == 0
        assert main(["connection", "list"]) == 0
        path.write_text(f"name: mine\ntype: [open_ai\napi_key: {KEY}\n")
        assert main(["connection", "create", "-f", str(path)]) != 0
        assert main(["connection", "create", "-f", str(path), "--debug"]) != 0
    shown = capsys.readouterr()
    assert KEY not in shown.out + shown.err + caplog.text
    assert not [file for file in Path(home).rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert Client().connections.get("mine").requests_per_minute == "60"
