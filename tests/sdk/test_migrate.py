"""Bringing connections, runs and projects of the original over; what its folder holds is written here by hand."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from promptflow_lite.cli.main import main
from promptflow_lite.errors import DataError, InvalidRunError, PromptflowException, StoreError
from promptflow_lite.records import Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.migrate import examine_project, import_home
from promptflow_lite.sdk.original_home import FoundConnection, OriginalHome

KEY = Fernet.generate_key().decode()


def secret(text: str) -> str:
    return Fernet(KEY.encode()).encrypt(text.encode()).decode()


def write_json(path: Path, *values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def write_run(folder: Path) -> None:
    """Two lines of a flow with one node, the second failed, and an aggregation node."""
    times = {"start_time": "2026-01-02T03:04:05.000000Z", "end_time": "2026-01-02T03:04:06.500000Z"}
    tokens = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    for number, status in enumerate(["Completed", "Failed"]):
        info = {
            "run_id": f"base_{number}",
            "status": status,
            "inputs": {"a": f"x{number}", "line_number": number},
            "output": {"o": "X", "pic": {"data:image/png;path": "p.png"}} if number == 0 else None,
            "error": None if number == 0 else {"message": "no", "code": "UserError"},
            "system_metrics": tokens,
            "index": number,
            **times,
        }
        write_json(
            folder / f"flow_artifacts/{number:09d}_{number:09d}.jsonl", {"line_number": number, "run_info": info}
        )
        node = {"node": "n", "status": status, "inputs": {"a": "x"}, "output": "X", "logs": {"stdout": "hi"}, **times}
        write_json(folder / f"node_artifacts/n/{number:09d}.jsonl", {"line_number": number, "run_info": node})

    total = {"node": "g", "status": "Completed", "inputs": {"a": ["X"]}, "output": 1, **times}
    write_json(folder / "node_artifacts/g/000000000.jsonl", {"line_number": None, "run_info": total})
    write_json(folder / "metrics.json", {"n": 1})


@pytest.fixture
def old_home(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    write_run(folder / ".runs" / "base")
    with closing(sqlite3.connect(folder / "pf.sqlite")) as database:
        database.execute("CREATE TABLE connection (connectionName, connectionType, configs, customConfigs)")
        azure = json.dumps({"api_base": "https://x", "api_version": "2024-02-01", "api_key": secret("sk-1")})
        custom = {
            "c": {"configValueType": "String", "value": "v"},
            "k": {"configValueType": "Secret", "value": secret("s")},
        }
        rows = [
            ("az", "AzureOpenAI", azure, "{}"),
            ("cu", "Custom", "{}", json.dumps(custom)),
            ("odd", "Telepathy", "{}", "{}"),
        ]
        database.executemany("INSERT INTO connection VALUES (?, ?, ?, ?)", rows)
        database.execute("CREATE TABLE run_info (name, created_on, status, tags, properties, archived, data)")
        properties = json.dumps({"flow_path": "/flow", "column_mapping": {"a": "${data.a}"}, "node_variant": "${n.v}"})
        runs = [
            ("base", "2026-01-02T03:04:05+00:00", "Completed", '{"t": "1"}', properties, 1, "/d.jsonl"),
            ("lost", "2026-01-03", "Completed", None, "{}", 0, None),
        ]
        database.executemany("INSERT INTO run_info VALUES (?, ?, ?, ?, ?, ?, ?)", runs)
        database.commit()

    return folder


def test_connections_and_runs_come_over_once(old_home: Path) -> None:
    with Client() as client:
        report = import_home(client, OriginalHome(old_home, key=KEY))
        again = import_home(client, OriginalHome(old_home, key=KEY))

        assert (report.connections, report.runs) == (["az", "cu"], ["base"])
        assert "Telepathy" in report.skipped[0]
        assert report.missing_secrets == {}
        assert client.connections.get("az").api_key == "sk-1"
        assert client.connections.get("cu").secrets == {"k": "s"}
        assert client.connections.get("cu").configs == {"c": "v"}
        assert (again.connections, again.runs, len(again.skipped)) == ([], [], 4)


def test_run_keeps_its_lines_nodes_and_metrics(old_home: Path) -> None:
    with Client() as client:
        import_home(client, OriginalHome(old_home, key=KEY), connections=False)

        run = client.runs.get("base")
        lines = list(client.runs.lines("base"))
        assert (run.status, run.flow, run.data, run.variant) == (Status.COMPLETED, "/flow", "/d.jsonl", "${n.v}")
        assert (run.tags, run.column_mapping, run.is_archived) == ({"t": "1"}, {"a": "${data.a}"}, True)
        assert (run.total_lines, run.completed_lines, run.failed_lines) == (2, 1, 1)
        assert (run.prompt_tokens, run.completion_tokens, run.metrics) == (14, 6, {"n": 1})
        assert [line.status for line in lines] == [Status.COMPLETED, Status.FAILED]
        assert lines[0].inputs == {"a": "x0"}
        assert lines[0].output is not None
        assert lines[0].output["pic"]["data:image/png;path"].startswith(str(old_home))
        assert lines[0].duration_s == 1.5
        assert lines[1].error is not None
        assert [(node.node, node.stdout) for node in lines[0].nodes] == [("n", "hi")]
        assert [node.node for node in client.store.runs.node_results("base")] == ["g"]


def test_deleting_an_imported_run_leaves_the_original_alone(old_home: Path) -> None:
    with Client() as client:
        import_home(client, OriginalHome(old_home, key=KEY), connections=False)

        client.runs.delete("base")

    assert (old_home / ".runs/base/metrics.json").is_file()


def test_secret_without_key_is_read_from_the_environment(old_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client() as client:
        report = import_home(client, OriginalHome(old_home, key=Fernet.generate_key().decode()), runs=False)
        monkeypatch.setenv("AZ_API_KEY", "sk-new")

        assert report.missing_secrets == {"az": {"api_key": "AZ_API_KEY"}, "cu": {"k": "CU_K"}}
        assert client.connections.get("az").api_key == "sk-new"


def test_home_without_database_is_empty(tmp_path: Path) -> None:
    home = OriginalHome(tmp_path)

    assert list(home.connections()) == []
    assert list(home.runs()) == []


def test_damaged_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pf.sqlite").write_bytes(b"no database " * 100)

    with pytest.raises(StoreError):
        list(OriginalHome(tmp_path).runs())


def test_found_connections_say_what_is_missing(old_home: Path) -> None:
    found = list(OriginalHome(old_home, key=KEY).connections())

    assert [type(item) for item in found[:2]] == [FoundConnection, FoundConnection]
    assert isinstance(found[2], PromptflowException)


# --- exported run folders


def test_exported_run_is_registered(tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    write_run(folder)
    write_json(folder / "run_metadata.json", {"name": "cloud_run", "status": "Completed", "display_name": "Cloud"})

    with Client() as client:
        run = client.runs.register(folder, name="mine")

        assert (run.name, run.display_name, run.total_lines) == ("mine", "Cloud", 2)


def test_folder_without_metadata_is_no_exported_run(tmp_path: Path) -> None:
    with Client() as client, pytest.raises(InvalidRunError):
        client.runs.register(tmp_path)


def test_damaged_record_leaves_no_run_behind(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_json(tmp_path / "run_metadata.json", {"name": "broken"})
    (tmp_path / "flow_artifacts/000000001_000000001.jsonl").write_text("{")

    with Client() as client:
        with pytest.raises(DataError):
            client.runs.register(tmp_path)

        assert not client.store.runs.exists("broken")


def test_legacy_detail_file_is_read(tmp_path: Path) -> None:
    flow = {"status": "Completed", "inputs": {"a": 1}, "output": {"o": 2}, "index": 0}
    node = {"node": "n", "status": "Completed", "index": 0, "output": 2}
    write_json(tmp_path / "detail.json", {"flow_runs": [flow], "node_runs": [node]})
    write_json(tmp_path / "run_metadata.json", {"name": "legacy", "status": "Completed"})

    with Client() as client:
        client.runs.register(tmp_path)

        (line,) = client.runs.lines("legacy")
        assert (line.output, [item.node for item in line.nodes]) == ({"o": 2}, ["n"])


def test_tables_are_read_when_nothing_else_is_left(tmp_path: Path) -> None:
    write_json(tmp_path / "inputs.jsonl", {"a": 1, "line_number": 0}, {"a": 2, "line_number": 3})
    write_json(tmp_path / "outputs.jsonl", {"o": 1, "line_number": 0})
    write_json(tmp_path / "run_metadata.json", {"name": "tables", "status": "Running"})

    with Client() as client:
        run = client.runs.register(tmp_path)

        assert run.status is Status.FAILED
        assert [(line.line_number, line.output) for line in client.runs.lines("tables")] == [(0, {"o": 1}), (3, None)]


# --- projects


def project(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return folder


TOOL = "from promptflow.core import tool\n{imports}\n@tool\ndef f(a: str): ...\n"
NODE = (
    "inputs: {{a: {{type: string}}}}\nnodes:\n- {{name: n, type: python, {source}, inputs: {{a: '${{inputs.a}}'}}}}\n"
)
CODE = NODE.format(source="source: {type: code, path: n.py}")

PROJECTS = [
    ("plain", {"flow.dag.yaml": CODE, "n.py": TOOL.format(imports="import json, helper"), "helper.py": ""}, "runs", ""),
    (
        "connection to make",
        {
            "flow.dag.yaml": "nodes:\n- {name: n, type: llm, source: {path: p.jinja2}, connection: c}\n",
            "p.jinja2": "user:\nhi\n",
        },
        "needs",
        "connection 'c'",
    ),
    (
        "package to install",
        {"flow.dag.yaml": CODE, "n.py": TOOL.format(imports="import surely_not_installed.deep")},
        "needs",
        "surely_not_installed",
    ),
    (
        "package behind a helper",
        {
            "flow.dag.yaml": CODE,
            "n.py": TOOL.format(imports="import helper"),
            "helper.py": "import surely_not_installed",
        },
        "needs",
        "surely_not_installed",
    ),
    (
        "unused script",
        {"flow.dag.yaml": CODE, "n.py": TOOL.format(imports=""), "submit.py": "from promptflow.azure import PFClient"},
        "runs",
        "",
    ),
    (
        "cloud client in a tool",
        {"flow.dag.yaml": CODE, "n.py": TOOL.format(imports="from promptflow.azure import PFClient")},
        "cannot",
        "promptflow.azure",
    ),
    (
        "cloud tool",
        {"flow.dag.yaml": NODE.format(source="source: {type: package, tool: promptflow_vectordb.tool.x.f}")},
        "cannot",
        "promptflow_vectordb",
    ),
    (
        "tool of a package",
        {"flow.dag.yaml": NODE.format(source="source: {type: package, tool: my_tools.f}")},
        "needs",
        "my_tools",
    ),
    ("csharp", {"flow.dag.yaml": "language: csharp\nnodes: []\n"}, "cannot", "NET"),
    ("broken yaml", {"flow.dag.yaml": "nodes: [\n"}, "cannot", "YAML"),
    ("cloud data", {"run.yml": "flow: .\ndata: azureml:rows:1\n", "x.txt": ""}, "cannot", "azureml"),
    ("cloud settings of a run", {"run.yml": "flow: .\nrun: b\nruntime: auto\n"}, "needs", "finished run"),
    ("connection file", {"c.yaml": "name: c\ntype: open_ai\napi_key: x\n"}, "needs", "pfl connection create"),
    (
        "prompty",
        {"p.prompty": "---\nmodel: {configuration: {connection: c}}\n---\nuser:\nhi\n"},
        "needs",
        "connection 'c'",
    ),
    (
        "flex flow",
        {"flow.flex.yaml": "entry: m:f\n", "m.py": "import surely_not_installed\ndef f(): ...\n"},
        "needs",
        "surely",
    ),
]


@pytest.mark.parametrize(
    ("files", "verdict", "reason"), [case[1:] for case in PROJECTS], ids=[case[0] for case in PROJECTS]
)
def test_project_is_judged(tmp_path: Path, files: dict[str, str], verdict: str, reason: str) -> None:
    (finding,) = examine_project(project(tmp_path, files))

    assert finding.verdict == verdict
    assert reason in " ".join([*finding.obstacles, *finding.needs])


def test_known_connections_are_not_asked_for(tmp_path: Path) -> None:
    folder = project(tmp_path, PROJECTS[1][1])

    assert examine_project(folder, known_connections=["c"])[0].verdict == "runs"


def test_connection_file_of_the_project_is_suggested(tmp_path: Path) -> None:
    folder = project(tmp_path, {**PROJECTS[1][1], "conn/c.yaml": "name: c\ntype: open_ai\napi_key: x\n"})

    needs = [need for finding in examine_project(folder) for need in finding.needs]

    assert any("conn/c.yaml" in need and need.startswith("connection 'c'") for need in needs)


def test_no_code_of_the_project_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    folder = project(
        tmp_path,
        {
            "flow.dag.yaml": CODE,
            "n.py": f"open({str(marker)!r}, 'w')\n" + TOOL.format(imports=""),
            "sitecustomize.py": "1/0",
        },
    )

    examine_project(folder)

    assert not marker.exists()


def test_command_reports_and_imports(old_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project(tmp_path / "project", PROJECTS[5][1])

    code = main(["migrate", str(folder), "--import", "--home", str(old_home), "--key", KEY, "-o", "json"])

    report = json.loads(capsys.readouterr().out)
    assert code == 1
    assert report["imported"]["runs"] == ["base"]
    assert report["summary"] == {"cannot": 1}

    assert main(["migrate", str(folder), "-o", "text"]) == 1
    assert "cannot run" in capsys.readouterr().out


def test_command_needs_something_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate"]) == 2
    assert main(["migrate", "/nowhere"]) == 2
