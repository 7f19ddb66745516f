"""`pfl run create` from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.sdk.client import Client
from tests.support.flow_files import graph_flow


def test_a_run_file_starts_a_run_and_another_one_resumes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = graph_flow(tmp_path / "flow", "a", code={"a": "def a(x):\n    return int(x)"})
    (tmp_path / "rows.jsonl").write_text('{"x": "1"}\n{"x": "two"}\n')
    (tmp_path / "run.yaml").write_text(
        "flow: flow\ndata: rows.jsonl\nname: first\ncolumn_mapping:\n  x: ${data.x}\ntags: {team: a}\n"
    )
    (tmp_path / "again.yaml").write_text("resume_from: first\nname: second\ndescription: once more\n")

    failed = main(["run", "create", "--file", str(tmp_path / "run.yaml")])
    (flow / "a.py").write_text((flow / "a.py").read_text().replace("int(x)", "x"))
    resumed = main(["run", "create", "--file", str(tmp_path / "again.yaml")])

    second = Client().runs.get("second")
    assert (failed, resumed) == (1, 0)
    assert (second.resume_from, second.completed_lines, second.description) == ("first", 2, "once more")
    assert [line.output for line in Client().runs.lines("second")] == [{"a": 1}, {"a": "two"}]
    assert "Traceback" not in capsys.readouterr().err


def test_details_call_only_lines_without_outputs_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = graph_flow(tmp_path / "flow", "a", code={"a": "def a(x):\n    return None if x == 'none' else int(x)"})
    silent = graph_flow(tmp_path / "silent", "a")
    (silent / "flow.dag.yaml").write_text((silent / "flow.dag.yaml").read_text().replace("  a: {type: string", "  #"))
    (tmp_path / "rows.jsonl").write_text('{"x": "none"}\n{"x": "two"}\n')
    data = ["--data", str(tmp_path / "rows.jsonl"), "--column-mapping", "x=${data.x}"]

    shown = {}
    for name, folder in (("some", flow), ("nothing", silent)):
        main(["run", "create", "--flow", str(folder), "--name", name, *data])
        capsys.readouterr()
        main(["run", "show-details", "--name", name, "--output", "json"])
        shown[name] = [
            value for row in json.loads(capsys.readouterr().out) for key, value in row.items() if "out" in key
        ]

    assert shown == {"some": [None, "(Failed)"], "nothing": [None, None]}
