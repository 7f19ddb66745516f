"""Scores of a run and its evaluation runs: what counts, what failed, what could not be scored."""

from __future__ import annotations

from typing import Any

import pytest

from promptflow_lite.errors import EvaluatorError, InvalidConfigValue
from promptflow_lite.evals.pricing import PriceTable, line_cost, parse_prices
from promptflow_lite.evals.scores import ScoreRules, collect_scores
from promptflow_lite.records import LineResult, NodeResult, Span, Status, Usage


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (True, 1.0),
        (False, 0.0),
        (3, 3.0),
        (0.25, 0.25),
        ("Correct", 1.0),
        ("incorrect ", 0.0),
        ("PASS", 1.0),
        ("positive", None),
        ("4", None),
        (float("nan"), None),
        (None, None),
        ({"a": 1}, None),
    ],
)
def test_what_counts_as_a_score(value: Any, score: float | None) -> None:
    assert ScoreRules().score(value) == score


def test_a_named_metric_may_hold_numbers_as_text(runs: Any) -> None:
    runs.add("base", [{"answer": "18", "grade": "4"}, {"answer": "7", "grade": "2.5"}])

    scores = collect_scores(runs, "base", rules=ScoreRules(metrics=("grade",)))

    assert {metric.output: dict(metric.scores) for metric in scores.metrics} == {"grade": {0: 4.0, 1: 2.5}}


def test_scores_come_from_the_newest_evaluation_of_every_flow(runs: Any) -> None:
    runs.add("base", [{"label": "a"}, {"label": "b"}, "it broke"])
    runs.add("old", [{"grade": "Incorrect"}, {"grade": "Incorrect"}], run="base", flow="match")
    runs.add("new", [{"grade": "Correct"}, {"grade": "Incorrect"}], run="base", flow="match")
    runs.add("length", [{"words": 3}, {"words": 5}], run="base", flow="length")

    scores = collect_scores(runs, "base")

    assert scores.evaluations == ["length", "new"]
    assert {metric.key: dict(metric.scores) for metric in scores.metrics} == {
        ("length", "words"): {0: 3.0, 1: 5.0},
        ("match", "grade"): {0: 1.0, 1: 0.0},
    }
    assert scores.failed == {2: "it broke"}
    assert scores.rows == [0, 1, 2]


def test_a_crashed_evaluator_leaves_the_row_unscored_and_says_why(runs: Any) -> None:
    runs.add("base", [{"label": "a"}, {"label": "b"}, {"label": "c"}, {"label": "d"}])
    runs.add("eval", [{"grade": 1}, "no JSON", {"grade": None}], run="base", flow="judge")

    (metric,) = collect_scores(runs, "base").metrics

    assert dict(metric.scores) == {0: 1.0}
    assert dict(metric.unscored) == {
        1: "no JSON",
        2: "the evaluator returned None",
        3: "the evaluator did not run on this row",
    }


def test_texts_beside_words_make_no_metric(runs: Any) -> None:
    runs.add("base", [{"label": "yes", "ok": "yes"}, {"label": "maybe", "ok": "no"}])

    assert [metric.output for metric in collect_scores(runs, "base").metrics] == ["ok"]


def test_an_evaluation_of_another_run_is_refused(runs: Any) -> None:
    runs.add("base", [{"label": "a"}])
    runs.add("eval", [{"grade": 1}], run="other")

    with pytest.raises(EvaluatorError, match="does not evaluate"):
        collect_scores(runs, "base", evaluations=["eval"])


class TestPrices:
    def line(self, *calls: tuple[str, int, int]) -> LineResult:
        spans = [
            Span(name="chat", kind="LLM", start_time=0, usage=Usage(p, c, 1), attributes={"llm.response.model": model})
            for model, p, c in calls
        ]
        node = NodeResult(node="n", status=Status.COMPLETED, spans=spans)
        usage = Usage(sum(p for _, p, _ in calls), sum(c for _, _, c in calls), len(calls))
        return LineResult(line_number=0, status=Status.COMPLETED, nodes=[node], usage=usage)

    def test_every_call_is_priced_by_its_model(self) -> None:
        prices = parse_prices({"small": [0.15, 0.6], "large": "2.5, 10"})

        cost = line_cost(self.line(("small", 1000, 100), ("large", 200, 50)), prices)

        assert cost == pytest.approx((1000 * 0.15 + 100 * 0.6 + 200 * 2.5 + 50 * 10) / 1e6)

    def test_an_unknown_model_has_no_cost_unless_a_star_prices_it(self) -> None:
        line = self.line(("odd", 10, 10))

        assert line_cost(line, parse_prices({"small": [1, 1]})) is None
        assert line_cost(line, parse_prices({"*": [1, 1]})) == pytest.approx(20e-6)

    def test_a_line_without_calls_is_free(self) -> None:
        assert line_cost(self.line(), PriceTable()) == 0.0

    def test_a_price_that_is_no_pair_of_numbers_is_refused(self) -> None:
        with pytest.raises(InvalidConfigValue):
            parse_prices({"small": "cheap"})
