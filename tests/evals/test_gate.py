"""The gate: pass, fail and inconclusive, with an exit code of their own."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import pytest

from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.compare import Candidate
from promptflow_lite.evals.comparison import CompareSettings
from promptflow_lite.evals.gate import GateResult, render_gate_markdown, render_junit, run_gate
from promptflow_lite.evals.scores import collect_scores


def gate(runs: Any, main: Sequence[Any], new: Sequence[Any], **options: Any) -> GateResult:
    for name, grades in (("main", main), ("new", new)):
        runs.add(name, [{"answer": "x"}] * len(grades))
        runs.add(
            f"{name}-eval", [{"accuracy": g} if g != "?" else "unreadable" for g in grades], run=name, flow="match"
        )

    candidates = [Candidate(name, [collect_scores(runs, name)]) for name in ("main", "new")]
    return run_gate(candidates, options.pop("metric", "accuracy"), **options)


HALF = [1, 0] * 100


@pytest.mark.parametrize(
    ("new", "options", "outcome", "exit_code"),
    [
        pytest.param(HALF, {"margin": 0.02}, "pass", 0, id="the same answers"),
        pytest.param([1, 1] * 100, {}, "pass", 0, id="surely better"),
        pytest.param([0, 0] * 100, {"margin": 0.02}, "fail", 1, id="surely worse"),
        pytest.param([1, 0] * 97 + [0, 0] * 3, {"margin": 0.02}, "inconclusive", 3, id="a little worse"),
        pytest.param([1, 0] * 97 + [0, 0] * 3, {"margin": 0.1}, "pass", 0, id="within a wide margin"),
        pytest.param(HALF, {"must_improve": True}, "inconclusive", 3, id="no improvement"),
        pytest.param([1, 1] * 100, {"min_score": 0.9}, "pass", 0, id="high score"),
        pytest.param(HALF, {"margin": 0.02, "min_score": 0.9}, "fail", 1, id="low score"),
        pytest.param(HALF, {"margin": 0.02, "min_score": 0.5}, "inconclusive", 3, id="score in doubt"),
    ],
)
def test_outcomes(runs: Any, new: list[int], options: dict[str, Any], outcome: str, exit_code: int) -> None:
    result = gate(runs, HALF, new, **options)

    assert (result.outcome, result.exit_code) == (outcome, exit_code)


def test_less_is_better_turns_the_gate_round(runs: Any) -> None:
    settings = CompareSettings(lower_is_better=("accuracy",))

    assert gate(runs, HALF, [0, 0] * 100, settings=settings).outcome == "pass"


def test_rows_without_a_score_can_only_make_it_inconclusive(runs: Any) -> None:
    result = gate(runs, HALF, [1, 1] * 50 + ["?", "?"] * 50)

    assert result.outcome == "inconclusive"
    assert "rows without a score" in result.checks[0].reason


def test_an_unknown_metric_is_refused(runs: Any) -> None:
    with pytest.raises(EvaluatorError, match="no metric 'accurcy'") as caught:
        gate(runs, HALF, HALF, metric="accurcy")

    assert caught.value.hint == "Did you mean 'accuracy'?"


def test_junit_tells_failures_from_doubts(runs: Any) -> None:
    result = gate(runs, HALF, [1, 0] * 97 + [0, 0] * 3, margin=0.02, min_score=0.9)

    suite = ET.fromstring(render_junit(result)).find("testsuite")

    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "1")
    assert [child.tag for case in suite for child in case] == ["error", "failure"]


def test_markdown_leads_with_the_outcome(runs: Any) -> None:
    summary = render_gate_markdown(gate(runs, HALF, [1, 1] * 100))

    assert summary.startswith("## ✅ Evaluation gate: pass")
    assert "| new | 100.0% |" in summary
