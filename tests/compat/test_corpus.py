"""Every flow of the corpus gives what its cases say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite._utils.jsonable import dumps_bytes, loads
from promptflow_lite.errors import PromptflowException
from promptflow_lite.flow import validate_flow
from promptflow_lite.records import Status
from tests.compat.corpus import CORPUS, Case, Outcome, load_cases, run_case

CASES = load_cases()
FLOWS = sorted({(case.folder, case.flow) for case in CASES})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFL_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_flow_of_the_corpus(case: Case) -> None:
    expected = case.data
    if "error" in expected:
        assert expected["error"] in error_codes(case)
        return

    outcome = run_case(case)
    if "output" in expected:
        line = outcome.lines[-1]
        assert line.status is Status.COMPLETED, line.error
        assert loads(dumps_bytes(line.output)) == expected["output"]

    check_the_rest(outcome, expected)


def check_the_rest(outcome: Outcome, expected: Mapping[str, Any]) -> None:
    for node, status in expected.get("statuses", {}).items():
        found = outcome.lines[-1].node(node)
        assert found is not None
        assert found.status.value == status
    if "metrics" in expected:
        assert outcome.metrics == expected["metrics"]

    if "stream" in expected:
        assert {name: [item for item in items if item] for name, items in outcome.streams.items()} == expected["stream"]

    if "request" in expected:
        body = outcome.calls[-1].body
        assert {key: body.get(key) for key in expected["request"]} == expected["request"]

    if "calls" in expected:
        assert len(outcome.calls) == expected["calls"]

    for name, size in expected.get("shape", {}).items():
        assert len((outcome.lines[-1].output or {})[name]) == size


def error_codes(case: Case) -> list[str]:
    """Nested codes of the error that a case ends with, before or while it runs."""
    try:
        [line] = run_case(case).lines
    except PromptflowException as error:
        return error.error_codes

    codes, level = [], line.error
    while level:
        codes.append(level["code"])
        level = level["innerError"]
    return codes


@pytest.mark.parametrize(("folder", "flow"), FLOWS, ids=[folder for folder, _ in FLOWS])
def test_flows_of_the_corpus_have_no_problems(folder: str, flow: str) -> None:
    problems = [problem for problem in validate_flow(CORPUS / folder / flow) if problem.severity == "error"]

    assert problems == []
