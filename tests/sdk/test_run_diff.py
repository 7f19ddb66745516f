"""What differs between two runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.run_diff import diff_runs
from promptflow_lite.sdk.runs import RunRequest
from tests.support.flow_files import graph_flow


def test_a_changed_tool_and_mapping_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = graph_flow(tmp_path / "flow", "a", code={"a": "def a(x):\n    return x"})
    data = tmp_path / "data.jsonl"
    data.write_text('{"x": "1", "y": "2"}\n')
    client = Client()
    runs = client.runs
    runs.create(RunRequest(flow=str(flow), data=data, column_mapping={"x": "${data.x}"}, name="first"))
    (flow / "a.py").write_text((flow / "a.py").read_text().replace("return x", "return x * 2"))
    runs.create(RunRequest(flow=str(flow), data=data, column_mapping={"x": "${data.y}"}, name="second"))

    found = {item.what: item for item in diff_runs(runs.get("first"), runs.get("second"))}
    code = main(["run", "diff", "first", "first"])

    assert set(found) == {"column_mapping.x", "flow/a.py"}
    assert found["column_mapping.x"].second == "${data.y}"
    assert "+    return x * 2" in found["flow/a.py"].patch
    assert code == 0
    assert capsys.readouterr().out.strip() == "[]"


def test_a_runs_snapshot_leaves_out_the_env_file(tmp_path: Path) -> None:
    flow = graph_flow(tmp_path / "flow", "a")
    (flow / ".env").write_text("OPENAI_API_KEY=sk-secret\n")
    data = tmp_path / "data.jsonl"
    data.write_text('{"x": "1"}\n')

    record = Client().runs.create(RunRequest(flow=str(flow), data=data, name="r", column_mapping={"x": "${data.x}"}))

    snapshot = Path(record.output_path or "") / "snapshot"
    assert (snapshot / "a.py").is_file()
    assert not (snapshot / ".env").exists()
