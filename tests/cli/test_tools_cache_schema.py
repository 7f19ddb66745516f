"""`pfl tool`, `pfl cache`, `pfl schema`, `pfl flow build` and `pfazure`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.cli import azure
from promptflow_lite.cli.main import main

FLOW = """
inputs:
  a: {type: string}
outputs:
  o: {type: string, reference: "${n.output}"}
nodes:
- name: n
  type: python
  enable_cache: true
  source: {type: code, path: n.py}
  inputs: {a: "${inputs.a}"}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PFL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "flow.dag.yaml").write_text(FLOW)
    (tmp_path / "f" / "n.py").write_text("from promptflow.core import tool\n@tool\ndef n(a: str):\n    return a + a\n")
    return tmp_path


@pytest.fixture
def pfl(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str, code: int = 0) -> Any:
        assert main(list(arguments)) == code
        out = capsys.readouterr().out
        return json.loads(out) if out.lstrip().startswith("{") else out

    return call


def test_a_new_tool_is_valid_and_a_new_package_offers_it(pfl: Any, folder: Path) -> None:
    pfl("tool", "init", "--tool", "shorten")
    assert pfl("tool", "validate", "--source", "shorten.py") == {"result": "Succeeded"}
    pfl("tool", "init", "--tool", "shorten", "--package", "house-tools", "--set", "tags={'k': 'v'}")
    metadata = (folder / "house-tools" / "house_tools" / "yamls" / "shorten.yaml").read_text()
    assert "house_tools.shorten.shorten" in metadata
    pfl("tool", "init", "--tool", "shorten", code=1)


def test_tools_of_a_flow_are_listed(pfl: Any) -> None:
    listed = pfl("tool", "list", "--flow", "f")

    assert listed["code"]["n.py"]["inputs"] == {"a": {"type": ["string"]}}
    assert "promptflow.tools.embedding.embedding" in listed["package"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "No tool"),
        ("from promptflow.core import tool\n@tool\ndef a(): ...\n@tool\ndef b(): ...\n", "2 tools"),
    ],
)
def test_an_unusable_script_is_reported(pfl: Any, folder: Path, text: str, message: str) -> None:
    (folder / "bad.py").write_text(text)
    report = pfl("tool", "validate", "--source", "bad.py", code=1)

    assert message in report["errors"][0]["message"]


def test_the_cache_is_shown_and_cleared(pfl: Any) -> None:
    pfl("flow", "test", "--flow", "f", "--inputs", "a=x")

    assert pfl("cache", "show")["nodes"] == {"n": 1}
    assert pfl("cache", "show", "--entries")["list"][0]["tool"] == "n"
    assert pfl("cache", "clear", "--node", "other") == {"removed": 0}
    assert pfl("cache", "clear") == {"removed": 1}
    assert pfl("cache", "show")["entries"] == 0


def test_schemas_are_listed_printed_and_written(pfl: Any, folder: Path) -> None:
    assert "flow.dag" in pfl("schema")
    assert pfl("schema", "run")["properties"]["flow"]["type"] == "string"
    pfl("schema", "flow.flex", "--output", "flex.json")
    assert json.loads((folder / "flex.json").read_text())["title"] == "flow.flex"


def test_a_test_leaves_its_files(pfl: Any, folder: Path) -> None:
    assert pfl("flow", "test", "--flow", "f", "--inputs", "a=x") == {"o": "xx"}
    files = folder / "f" / ".promptflow"

    detail = json.loads((files / "flow.detail.json").read_text())
    assert detail["flow_runs"][0]["output"] == {"o": "xx"}
    assert [node["node"] for node in detail["node_runs"]] == ["n"]
    assert json.loads((files / "flow.output.json").read_text()) == {"o": "xx"}
    assert (files / "flow.log").is_file()
    assert (files / "flow.metrics.json").read_text() == "{}"


def test_a_node_test_leaves_its_files_where_it_is_told(pfl: Any, folder: Path) -> None:
    assert json.loads(pfl("flow", "test", "--flow", "f", "--node", "n", "--inputs", "a=y", "--detail", "d")) == "yy"
    assert json.loads((folder / "d" / "flow-n.node.output.json").read_text()) == "yy"
    assert json.loads((folder / "d" / "flow-n.node.detail.json").read_text())["node_runs"][0]["inputs"] == {"a": "y"}


def test_a_flow_is_saved_from_code(pfl: Any, folder: Path) -> None:
    (folder / "greet_me.py").write_text("def hello(name: str, times: int = 2):\n    return 'hi ' * times + name\n")
    pfl("flow", "save", "--entry", "greet_me:hello", "--path", "saved")

    assert "type: int" in (folder / "saved" / "flow.flex.yaml").read_text()
    assert pfl("flow", "test", "--flow", "saved", "--inputs", "name=Ann") == "hi hi Ann\n"


def test_a_container_build_has_all_it_needs_and_no_secrets(pfl: Any, folder: Path) -> None:
    (folder / "c.yaml").write_text("name: my_conn\ntype: open_ai\napi_key: very-secret\nbase_url: http://x\n")
    pfl("connection", "create", "-f", "c.yaml")
    text = FLOW.replace('inputs: {a: "${inputs.a}"}', 'inputs: {a: "${inputs.a}", c: my_conn}')
    (folder / "f" / "flow.dag.yaml").write_text(text)
    pfl("flow", "build", "--source", "f", "--output", "dist", "--format", "docker")
    dist = folder / "dist"

    connection = (dist / "connections" / "my_conn.yaml").read_text()
    assert "${env:MY_CONN_API_KEY}" in connection
    assert "http://x" in connection
    assert json.loads((dist / "settings.json").read_text()) == {"MY_CONN_API_KEY": ""}
    assert "COPY --chown=flow flow flow" in (dist / "Dockerfile").read_text()
    assert (dist / "package" / "promptflow_lite" / "__init__.py").is_file()
    assert (dist / "flow" / ".promptflow" / "flow.tools.json").is_file()
    built = [path for path in dist.rglob("*") if path.is_file() and path.suffix in (".yaml", ".json", ".sh", ".md")]
    assert all("very-secret" not in path.read_text() for path in built)


def test_the_cloud_command_says_what_to_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert azure.main() == 1
    assert "pfl run create" in capsys.readouterr().err


def test_valid_flow_gets_its_tools_file(pfl: Any, folder: Path) -> None:
    pfl("flow", "validate", "--source", "f")

    tools = json.loads((folder / "f/.promptflow/flow.tools.json").read_text())
    assert tools == {
        "package": {},
        "code": {"n.py": {"type": "python", "inputs": {"a": {"type": ["string"]}}, "source": "n.py", "function": "n"}},
    }
