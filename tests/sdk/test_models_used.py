"""A run records the local model that answered it."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.run_diff import diff_runs
from promptflow_lite.sdk.runs import RunRequest
from tests.support.flow_files import write_files


@pytest.mark.model
def test_a_run_records_the_model_file_and_the_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(
        tmp_path,
        {
            "flow.dag.yaml": """
                inputs: {x: {type: string}}
                outputs: {o: {type: string, reference: "${a.output}"}}
                nodes:
                - name: a
                  type: llm
                  source: {type: code, path: a.jinja2}
                  inputs: {x: "${inputs.x}", choices: ["yes", "no"]}
                  api: chat
                """,
            "a.jinja2": "user:\n{{x}}\n",
            "rows.jsonl": '{"x": "Is water wet?"}\n',
        },
    )
    runs = Client().runs
    request = {"flow": str(tmp_path), "data": tmp_path / "rows.jsonl", "column_mapping": {"x": "${data.x}"}}

    first = runs.create(RunRequest(name="first", **request))
    monkeypatch.setenv("PFL_ENGINE_REPRODUCIBLE", "true")
    second = runs.create(RunRequest(name="second", **request))

    (model,) = first.properties["models"]
    assert model["quantisation"] == "Q4_1"
    assert len(model["sha256"]) == 64
    assert [model["mode"], second.properties["models"][0]["mode"]] == ["fast", "reproducible"]
    assert "models.0.mode" in {item.what for item in diff_runs(first, second)}
