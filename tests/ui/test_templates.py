"""The flows that start development: complete, without problems, and running on the bundled model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from promptflow_lite.flow import load_flow, validate_flow
from promptflow_lite.records import Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.resources import bundled

TEMPLATES = sorted(path.name for path in bundled("flows").iterdir() if (path / "flow.dag.yaml").is_file())
MIN_ROWS = 5


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_no_problems_and_brings_data_and_a_readme(name: str) -> None:
    folder = bundled("flows") / name

    assert validate_flow(folder) == []
    rows = [json.loads(line) for line in (folder / "data.jsonl").read_text("utf-8").splitlines()]
    required = [key for key, spec in load_flow(folder).inputs.items() if spec.default is None]
    assert len(rows) >= MIN_ROWS
    assert all(key in row for row in rows for key in required)
    readme = (folder / "README.md").read_text("utf-8").lower()
    assert "pfl run create" in readme
    assert "evaluat" in readme


def test_there_is_a_template_for_each_job() -> None:
    jobs = {"classification", "extraction", "summarise-and-check", "chat", "retrieval", "tool-use", "map-list", "judge"}

    assert jobs | {"question-generation", "sentiment"} <= set(TEMPLATES)


@pytest.mark.model
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_runs_on_the_bundled_model(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(bundled("flows") / name, folder)
    row = json.loads((folder / "data.jsonl").read_text("utf-8").splitlines()[0])
    inputs = {key: value for key, value in row.items() if key in load_flow(folder).inputs}

    with Client() as client:
        tested = client.flows.test(folder, inputs=inputs, show_prints=False)

    assert tested.line.status is Status.COMPLETED, tested.line.error
    assert tested.output
    assert any(value not in (None, "") for value in tested.output.values())
