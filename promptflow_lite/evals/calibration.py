"""A judge against people: agreement, bias, a threshold, and means corrected by the labels at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.scores import FAIL_WORDS, PASS_WORDS
from promptflow_lite.evals.stats import Agreement, Interval, cohen_kappa, mean_interval, prediction_powered_interval
from promptflow_lite.records import HumanLabel

MIN_LABELS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far a judge can be trusted."""

    kind: Literal["pass/fail", "graded"]
    n: int
    """Rows that the judge scored and people labelled."""
    agreement: Agreement
    bias: float
    """Mean of judge minus people, on the people's scale (pass/fail: after the threshold)."""
    bias_interval: Interval | None
    rank_correlation: float | None
    """Kendall's tau-b of judge and people; None when one of them never varies."""
    threshold: float | None
    """Judge score from which on a row counts as a pass; None on a graded scale."""
    judge_mean: float
    """Over all rows that the judge scored (pass/fail: share at or above the threshold)."""
    corrected_mean: float | None
    """The same mean corrected by the labels; None when every row is labelled."""
    corrected_interval: Interval | None


def human_scores(labels: Sequence[HumanLabel]) -> dict[tuple[str, int], float]:
    """Run and line -> mean score over annotators; words count as pass or fail.

    Raises:
        EvaluatorError: a label is neither a number nor a known word.
    """
    values: dict[tuple[str, int], list[float]] = {}
    for label in labels:
        values.setdefault((label.run, label.line), []).append(_score(label.value))

    return {row: sum(scores) / len(scores) for row, scores in values.items()}


def _score(value: str) -> float:
    word = value.strip().lower()
    if word in PASS_WORDS or word in FAIL_WORDS:
        return float(word in PASS_WORDS)

    try:
        return float(word)
    except ValueError as error:
        hint = "Calibrate on numbers or on pass and fail."
        raise EvaluatorError(f"Label {value!r} is no score.", hint=hint) from error


def calibrate(
    judge: Mapping[tuple[str, int], float],
    people: Mapping[tuple[str, int], float],
    *,
    level: float = 0.95,
    threshold: float | None = None,
) -> Calibration:
    """Compare a judge with human labels.

    Args:
        judge: Row -> the judge's score, for every row it scored.
        people: Row -> the human score; 0 and 1 only make it a pass/fail question.
        level: Coverage of intervals.
        threshold: Judge score that counts as a pass; by default the one with the highest kappa.
    Raises:
        EvaluatorError: fewer than ten rows have both.
    """
    shared = sorted(set(judge) & set(people))
    if len(shared) < MIN_LABELS:
        raise EvaluatorError(
            f"Calibration needs at least {MIN_LABELS} rows with a judge's score and a human label; got {len(shared)}.",
            hint="Label more rows with: pfl annotate RUN",
        )

    is_binary = all(people[row] in (0, 1) for row in shared)
    scores, labels = [judge[row] for row in shared], [people[row] for row in shared]
    if is_binary:
        threshold = best_threshold(scores, labels) if threshold is None else threshold
        judge = {row: float(score >= threshold) for row, score in judge.items()}
        agreement = cohen_kappa([int(judge[row]) for row in shared], [int(people[row]) for row in shared], level=level)
    else:
        threshold = None
        rounded = [round(score) for score in scores], [round(label) for label in labels]
        agreement = cohen_kappa(*rounded, weights="quadratic", level=level)

    differences = [judge[row] - people[row] for row in shared]
    rest = [judge[row] for row in judge if row not in people]
    corrected = None
    if len(rest) > 1:
        corrected = prediction_powered_interval(rest, [judge[row] for row in shared], labels, level=level)

    return Calibration(
        kind="pass/fail" if is_binary else "graded",
        n=len(shared),
        agreement=agreement,
        bias=sum(differences) / len(differences),
        bias_interval=mean_interval(differences, level=level),
        rank_correlation=_tau(scores, labels),
        threshold=threshold,
        judge_mean=sum(judge.values()) / len(judge),
        corrected_mean=corrected[0] if corrected else None,
        corrected_interval=corrected[1] if corrected else None,
    )


def best_threshold(scores: Sequence[float], labels: Sequence[float]) -> float:
    """The score from which on a row should count as a pass: the cut with the highest kappa, between two scores."""
    ordered = sorted(set(scores))
    cuts = [ordered[0], *((a + b) / 2 for a, b in pairwise(ordered)), ordered[-1] + 1e-9]
    truth = [int(label) for label in labels]
    return max(cuts, key=lambda cut: (_kappa([int(score >= cut) for score in scores], truth), -abs(cut - ordered[0])))


def _kappa(first: Sequence[int], second: Sequence[int]) -> float:
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    share_a, share_b = sum(first) / n, sum(second) / n
    expected = share_a * share_b + (1 - share_a) * (1 - share_b)
    return 0.0 if expected == 1 else (observed - expected) / (1 - expected)


def _tau(scores: Sequence[float], labels: Sequence[float]) -> float | None:
    if len(set(scores)) < 2 or len(set(labels)) < 2:
        return None

    from promptflow_lite.evals.stats.intervals import scipy_stats

    return float(scipy_stats().kendalltau(scores, labels).statistic)
