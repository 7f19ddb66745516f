"""Comparisons: pairing, failed and unscored rows, repeats, corrections, verdicts, slices, cost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.compare import Candidate, compare
from promptflow_lite.evals.comparison import CompareSettings, Comparison
from promptflow_lite.evals.pricing import parse_prices
from promptflow_lite.evals.scores import collect_scores


def candidates(runs: Any, *names: str, **kwargs: Any) -> list[Candidate]:
    return [Candidate(name, [collect_scores(runs, name, **kwargs)]) for name in names]


def add_scored(runs: Any, name: str, grades: Sequence[Any], **kwargs: Any) -> None:
    runs.add(name, [grade if isinstance(grade, str) else {"answer": "x"} for grade in grades], **kwargs)
    scored = [None if isinstance(grade, str) else {"grade": grade} for grade in grades]
    runs.add(f"{name}-eval", scored, run=name, flow="match")


def only_pair(comparison: Comparison) -> Any:
    return comparison.metrics[0].pairs[0]


def test_a_clear_winner_is_better(runs: Any) -> None:
    add_scored(runs, "a", [1] * 40 + [0] * 30 + [0] * 30)
    add_scored(runs, "b", [1] * 40 + [1] * 30 + [0] * 30)

    comparison = compare(candidates(runs, "a", "b"))

    pair = only_pair(comparison)
    assert (pair.verdict, pair.test.method) == ("better", "McNemar exact")
    assert (pair.test.wins, pair.test.losses, pair.test.ties) == (30, 0, 70)
    assert pair.test.difference == pytest.approx(0.3)
    assert [summary.mean for summary in comparison.metrics[0].summaries] == [0.4, 0.7]
    assert comparison.metrics[0].kind == "pass/fail"


def test_a_small_difference_is_inconclusive_and_says_how_many_rows_would_settle_it(runs: Any) -> None:
    add_scored(runs, "a", [1] * 50 + [0] * 50)
    add_scored(runs, "b", [1] * 53 + [0] * 47)

    pair = only_pair(compare(candidates(runs, "a", "b"), CompareSettings(min_effect=0.02)))

    assert pair.verdict == "inconclusive"
    assert pair.effect == 0.02
    assert pair.rows_needed > 100


def test_less_is_better_where_the_settings_say_so(runs: Any) -> None:
    rng = random.Random(1)
    base = [rng.random() for _ in range(60)]
    add_scored(runs, "a", base)
    add_scored(runs, "b", [value + 0.2 + rng.random() / 10 for value in base])

    more = compare(candidates(runs, "a", "b"))
    less = compare(candidates(runs, "a", "b"), CompareSettings(lower_is_better=("grade",)))

    assert (only_pair(more).verdict, only_pair(less).verdict) == ("better", "worse")
    assert more.metrics[0].kind == "graded"


def test_failed_rows_score_worst_and_are_counted(runs: Any) -> None:
    add_scored(runs, "a", [1] * 90 + [0] * 10)
    add_scored(runs, "b", [1] * 70 + ["crashed"] * 30)

    comparison = compare(candidates(runs, "a", "b"))
    excluded = compare(candidates(runs, "a", "b"), CompareSettings(failed_rows="exclude"))

    assert comparison.metrics[0].summaries[1].mean == 0.7
    assert comparison.metrics[0].summaries[1].failed == 30
    assert only_pair(comparison).verdict == "worse"
    assert excluded.metrics[0].summaries[1].mean == 1.0
    assert excluded.metrics[0].summaries[1].failed == 30
    assert only_pair(excluded).unpaired == 30
    assert "Rows that failed score worst." in comparison.notes


def test_a_failed_row_of_a_five_point_grade_scores_one(runs: Any) -> None:
    runs.add("a", [{"x": 1}, "crashed"])
    runs.add("a-eval", [{"gpt_relevance": 5}, None], run="a", flow="judge")

    comparison = compare(candidates(runs, "a"))

    assert comparison.metrics[0].worst == 1
    assert comparison.metrics[0].summaries[0].mean == 3.0


def test_a_verdict_that_hangs_on_unscored_rows_is_inconclusive(runs: Any) -> None:
    """Twelve wins are significant, unless the sixteen rows the judge could not read were losses."""
    add_scored(runs, "a", [1] * 60 + [0] * 12 + [1] * 16)
    runs.add("b", [{"answer": "x"}] * 88)
    runs.add("b-eval", [{"grade": 1}] * 72 + ["unreadable"] * 16, run="b", flow="match")

    pair = only_pair(compare(candidates(runs, "a", "b")))

    assert pair.test.p_value < 0.01
    assert pair.verdict == "inconclusive"
    assert "without a score (0 and 16)" in pair.reason


def test_unscored_rows_that_cannot_change_the_verdict_leave_it(runs: Any) -> None:
    add_scored(runs, "a", [1] * 60 + [0] * 40)
    runs.add("b", [{"answer": "x"}] * 100)
    runs.add("b-eval", [{"grade": 1}] * 98 + ["unreadable"] * 2, run="b", flow="match")

    comparison = compare(candidates(runs, "a", "b"))

    assert only_pair(comparison).verdict == "better"
    assert comparison.metrics[0].summaries[1].unscored == 2


def test_repeats_with_a_copied_seed_change_nothing(runs: Any) -> None:
    rng = random.Random(2)
    grades = {name: [float(rng.random() < share) for _ in range(60)] for name, share in (("a", 0.5), ("b", 0.65))}
    for name, values in grades.items():
        for repeat in ("", "-2", "-3"):
            add_scored(runs, name + repeat, values)

    once = compare(candidates(runs, "a", "b"))
    thrice = compare(
        [Candidate(name, [collect_scores(runs, name + suffix) for suffix in ("", "-2", "-3")]) for name in ("a", "b")]
    )

    assert only_pair(thrice).test == only_pair(once).test
    assert thrice.metrics[0].summaries[0].n == 60


def test_many_variants_are_corrected(runs: Any) -> None:
    add_scored(runs, "a", [1] * 50 + [0] * 50)
    for index in range(6):
        add_scored(runs, f"v{index}", [1] * 50 + [1] * (6 + index // 5) + [0] * (44 - index // 5))

    names = ["a", *(f"v{index}" for index in range(6))]
    corrected = compare(candidates(runs, *names))
    raw = compare(candidates(runs, *names), CompareSettings(correction="none"))

    assert {pair.verdict for pair in raw.metrics[0].pairs} == {"better"}
    assert {pair.verdict for pair in corrected.metrics[0].pairs} == {"inconclusive"}
    assert corrected.n_comparisons == 6
    assert "6 comparisons, p-values corrected by Holm" in corrected.notes[0]


def test_all_pairs_are_tested_on_request(runs: Any) -> None:
    for name in "abc":
        add_scored(runs, name, [1, 0] * 10)

    pairs = compare(candidates(runs, "a", "b", "c"), CompareSettings(all_pairs=True)).metrics[0].pairs

    assert [(pair.baseline, pair.candidate) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_changed_rows_come_worst_first(runs: Any) -> None:
    add_scored(runs, "a", [0.5, 0.9, 0.1, 0.4])
    add_scored(runs, "b", [0.5, 0.2, 0.7, 0.3])

    comparison = compare(candidates(runs, "a", "b"))

    assert [row.line for row in comparison.changed_rows("grade", "b")] == [1, 3, 2]


def test_slices_split_by_a_column_of_the_data(runs: Any) -> None:
    inputs = [{"topic": "cats" if i % 2 else "dogs"} for i in range(40)]
    add_scored(runs, "a", [0, 0] * 20, inputs=inputs)
    add_scored(runs, "b", [0, 1] * 20, inputs=inputs)

    slices = compare(candidates(runs, "a", "b"), CompareSettings(slice_by="topic")).slices

    assert {(s.value, s.candidate): (s.mean, s.n, s.difference) for s in slices} == {
        ("cats", "a"): (0.0, 20, None),
        ("cats", "b"): (1.0, 20, 1.0),
        ("dogs", "a"): (0.0, 20, None),
        ("dogs", "b"): (0.0, 20, 0.0),
    }


def test_clusters_widen_the_interval(runs: Any) -> None:
    rng = random.Random(3)
    inputs = [{"document": i // 10} for i in range(100)]
    shift = [rng.random() for _ in range(10)]
    add_scored(runs, "a", [0.0] * 100, inputs=inputs)
    add_scored(runs, "b", [shift[i // 10] for i in range(100)], inputs=inputs)

    naive = only_pair(compare(candidates(runs, "a", "b"))).test
    clustered = only_pair(compare(candidates(runs, "a", "b"), CompareSettings(cluster_by="document"))).test

    assert clustered.n == 10
    assert clustered.interval.width > 2 * naive.interval.width


def test_an_unknown_column_is_refused_with_the_known_ones(runs: Any) -> None:
    add_scored(runs, "a", [1, 0])

    with pytest.raises(EvaluatorError, match="topic") as caught:
        compare(candidates(runs, "a"), CompareSettings(slice_by="topic"))

    assert "text" in (caught.value.hint or "")


def test_cost_and_latency_stand_beside_the_score_with_the_pareto_list(runs: Any) -> None:
    add_scored(runs, "a", [1, 0, 1, 0], latency_s=[0.1, 0.2, 0.3, 0.4])
    add_scored(runs, "b", [1, 1, 1, 0], latency_s=[1, 2, 3, 4])
    add_scored(runs, "c", [0, 0, 1, 0], latency_s=[1, 2, 3, 4])

    comparison = compare(candidates(runs, "a", "b", "c", prices=parse_prices({"*": [1, 2]})))

    a = comparison.candidates[0]
    assert (a.latency_p50_s, a.latency_p95_s) == (pytest.approx(0.25), pytest.approx(0.385))
    assert a.cost == pytest.approx(4 * (10 * 1 + 2 * 2) / 1e6)
    assert (a.prompt_tokens, a.completion_tokens) == (40, 8)
    assert [candidate.is_pareto for candidate in comparison.candidates] == [True, True, False]


def test_runs_without_a_common_score_cannot_be_compared(runs: Any) -> None:
    runs.add("a", [{"label": "x"}])
    runs.add("b", [{"label": "y"}])

    with pytest.raises(EvaluatorError, match="no score in common"):
        compare(candidates(runs, "a", "b"))


def test_different_data_files_are_pointed_out(runs: Any) -> None:
    add_scored(runs, "a", [1, 0], data="a.jsonl")
    add_scored(runs, "b", [1, 0], data="b.jsonl")

    assert any("different data files" in note for note in compare(candidates(runs, "a", "b")).notes)
