"""`pfl connection` and `pfl config` from the outside."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.sdk.client import Client


@pytest.fixture
def pfl(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; gives its exit code, its JSON (or text) and its messages."""

    def run(*arguments: str) -> tuple[int, Any, str]:
        code = main([*arguments])
        captured = capsys.readouterr()
        try:
            return code, json.loads(captured.out), captured.err
        except ValueError:
            return code, captured.out, captured.err

    return run


@pytest.fixture
def yaml_file(tmp_path: Path) -> str:
    path = tmp_path / "conn.yaml"
    path.write_text("name: mine\ntype: open_ai\napi_key: sk-very-secret\n")
    return str(path)


def test_connection_lives_from_creation_to_deletion(pfl: Any, yaml_file: str, home: Path) -> None:
    code, created, _ = pfl("connection", "create", "-f", yaml_file, "--set", "base_url=http://localhost:1")
    assert (code, created["name"], created["api_key"]) == (0, "mine", "******")

    assert pfl("connection", "show", "-n", "mine")[1] == created
    assert pfl("connection", "list")[1] == [created]

    code, updated, _ = pfl("connection", "update", "--name", "mine", "--set", "base_url=http://localhost:2")
    assert (code, updated["base_url"]) == (0, "http://localhost:2")
    assert updated["created_date"] == created["created_date"]
    with Client() as client:
        assert client.connections.get("mine").api_key == "sk-very-secret"

    assert pfl("connection", "delete", "-n", "mine", "--yes")[0] == 0
    assert pfl("connection", "list")[1] == []
    assert b"sk-very-secret" not in b"".join(path.read_bytes() for path in home.iterdir())


def test_env_file_becomes_a_custom_connection(pfl: Any, tmp_path: Path) -> None:
    path = tmp_path / "keys.env"
    path.write_text("TOKEN=abc\nURL=http://x\n")

    code, created, _ = pfl("connection", "create", "-f", str(path), "-n", "envs")

    assert (code, created["type"], created["secrets"]) == (0, "custom", {"TOKEN": "******", "URL": "******"})


def test_references_to_the_environment_are_stored_and_resolved_late(
    pfl: Any, yaml_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pfl("connection", "create", "-f", yaml_file, "--set", "api_key=${env:MY_KEY}")
    monkeypatch.setenv("MY_KEY", "from-env")

    with Client() as client:
        assert client.connections.get("mine").api_key == "from-env"
        monkeypatch.setenv("MINE_API_KEY", "override")
        assert client.connections.get("mine").api_key == "override"
        assert client.connections.get_stored("mine").api_key == "${env:MY_KEY}"


def test_missing_secret_without_a_terminal_is_wrong_usage(pfl: Any, tmp_path: Path) -> None:
    path = tmp_path / "conn.yaml"
    path.write_text('name: mine\ntype: open_ai\napi_key: "<user-input>"\n')

    code, _, message = pfl("connection", "create", "-f", str(path))

    assert code == 2
    assert "there is no terminal" in message


def test_deletion_asks_first(pfl: Any, yaml_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pfl("connection", "create", "-f", yaml_file)
    monkeypatch.setattr("sys.stdin", io.StringIO())

    code, _, message = pfl("connection", "delete", "-n", "mine")

    assert code == 1
    assert "irreversibly?" in message
    assert len(pfl("connection", "list")[1]) == 1


@pytest.mark.parametrize("verb", [["show"], ["delete", "-y"], ["update", "--set", "a=b"]])
def test_unknown_connection_is_named(pfl: Any, verb: list[str]) -> None:
    code, _, message = pfl("connection", *verb, "-n", "nobody")

    assert code == 1
    assert "Connection 'nobody' is not found." in message


def test_unknown_key_in_an_update_is_wrong_usage(pfl: Any, yaml_file: str) -> None:
    pfl("connection", "create", "-f", yaml_file)

    code, _, message = pfl("connection", "update", "-n", "mine", "--set", "colour=red")

    assert code == 2
    assert "has no key 'colour'" in message


def test_project_settings_win_over_global_ones(pfl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")

    pfl("config", "set", "trace.destination=local", "run.output_path=/runs")
    code, shown, _ = pfl("config", "set", "trace.destination=none", "--path", str(tmp_path))

    assert code == 0
    assert shown == {"trace": {"destination": "none"}, "run": {"output_path": "/runs"}}
    assert (tmp_path / "pf.yaml").read_text() == "trace:\n  destination: none\n"


def test_empty_value_removes_a_setting(pfl: Any) -> None:
    pfl("config", "set", "service.host=x")

    assert pfl("config", "set", "service.host=")[1] == {"service": {}}


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("trace.destination=mars", "cannot be 'mars'"),
        ("telemetry.enabled=perhaps", "cannot be 'perhaps'"),
        ("run.output_path=${flow_directory}", "own folder"),
        ("run.output_pth=x", "There is no setting"),
    ],
)
def test_values_that_do_not_fit_are_refused(pfl: Any, pair: str, said: str) -> None:
    code, _, message = pfl("config", "set", pair)

    assert code == 1
    assert said in message
    assert "hint:" in message


@pytest.mark.parametrize("content", [b"a: [", b"- 1\n", b"\xff\xfe\x00", b"a: 1\na\n"])
def test_garbage_in_a_settings_file_is_explained(pfl: Any, home: Path, content: bytes) -> None:
    (home / "config.yaml").write_bytes(content)

    code, _, message = pfl("config", "show")

    assert code == 1
    assert "config.yaml" in message
    assert "code: config.unusable" in message
    assert "Traceback" not in message
