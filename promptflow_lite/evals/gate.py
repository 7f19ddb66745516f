"""May this change ship? A comparison turned into pass, fail or inconclusive, for continuous integration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.compare import Candidate, compare
from promptflow_lite.evals.comparison import CompareSettings, Comparison, MetricComparison
from promptflow_lite.evals.reports.text import render_markdown
from promptflow_lite.evals.reports.words import (
    difference_interval_text,
    difference_text,
    interval_text,
    score_text,
)
from promptflow_lite.evals.stats import Interval

Outcome = Literal["pass", "fail", "inconclusive"]

EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "inconclusive": 3}
"""Exit codes of `pfl gate`; 2 is wrong usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing the gate looked at."""

    name: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """Everything the gate found."""

    outcome: Outcome
    checks: tuple[Check, ...]
    comparison: Comparison

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]


def run_gate(
    candidates: Sequence[Candidate],
    metric_name: str,
    *,
    margin: float = 0.0,
    must_improve: bool = False,
    min_score: float | None = None,
    settings: CompareSettings | None = None,
) -> GateResult:
    """Judge a candidate against its baseline.

    Args:
        candidates: The baseline (absent when only `min_score` is asked), then the candidate.
        metric_name: The metric that decides.
        margin: How much worse the candidate may be. It passes when the interval of the difference stays above
            `-margin`, fails when all of the interval lies below, and is inconclusive in between.
        must_improve: Ask for a difference that is surely above zero instead.
        min_score: Also ask that the candidate's interval lies above this score.
        settings: The choices behind the comparison. Rows without a score are tried both left out and as worst; when
            the two disagree, the gate is inconclusive.
    Raises:
        EvaluatorError: the metric is not there.
    """
    settings = settings or CompareSettings()
    comparison = compare(candidates, settings)
    checks = _checks(comparison, metric_name, margin, must_improve, min_score)
    if any(summary.unscored for summary in _metric(comparison, metric_name).summaries):
        strict = compare(candidates, replace(settings, unscored_rows="worst"))
        checks = _agreeing(checks, _checks(strict, metric_name, margin, must_improve, min_score))

    return GateResult(outcome=_overall(checks), checks=tuple(checks), comparison=comparison)


def _checks(
    comparison: Comparison, metric_name: str, margin: float, must_improve: bool, min_score: float | None
) -> list[Check]:
    metric = _metric(comparison, metric_name)
    checks = [_difference_check(metric, margin, must_improve, comparison)] if metric.pairs else []
    if min_score is not None:
        checks.append(_score_check(metric, min_score))

    return checks


def _metric(comparison: Comparison, name: str) -> MetricComparison:
    found = comparison.metric(name) or next(
        (metric for metric in comparison.metrics if metric.name.rsplit(".", 1)[-1] == name), None
    )
    if found is None:
        known = [metric.name for metric in comparison.metrics]
        raise EvaluatorError(f"The runs have no metric {name!r}.", hint=did_you_mean(name, known), metric=name)

    return found


def _difference_check(metric: MetricComparison, margin: float, must_improve: bool, comparison: Comparison) -> Check:
    pair = metric.pairs[-1]
    limit = 0.0 if must_improve else -abs(margin)
    asked = "better" if must_improve else f"not worse by {difference_text(abs(margin), metric).lstrip('+')}"
    name = f"{metric.name}: {pair.candidate} against {pair.baseline}"
    if pair.test is None or pair.test.interval is None:
        return Check(name=name, outcome="inconclusive", reason=f"{pair.reason or 'too few rows'}; asked: {asked}")

    interval = _oriented(pair.test.interval, metric)
    outcome = _above(interval, limit, is_strict=must_improve)
    shown = difference_interval_text(pair.test.interval, metric)
    level = f"{100 * comparison.settings.level:g}%"
    difference = difference_text(pair.test.difference, metric)
    return Check(name=name, outcome=outcome, reason=f"{difference} ({level} interval {shown}); asked: {asked}")


def _score_check(metric: MetricComparison, min_score: float) -> Check:
    summary = metric.summaries[-1]
    word = "at most" if metric.is_lower_better else "at least"
    asked = f"{word} {score_text(min_score, metric)}"
    name = f"{metric.name}: {summary.candidate} {asked}"
    if summary.interval is None:
        return Check(name=name, outcome="inconclusive", reason=f"{summary.n} rows are too few; asked: {asked}")

    limit = -min_score if metric.is_lower_better else min_score
    shown = f"{score_text(summary.mean, metric)} ({interval_text(summary.interval, metric)})"
    outcome = _above(_oriented(summary.interval, metric), limit, is_strict=False)
    return Check(name=name, outcome=outcome, reason=f"score {shown}; asked: {asked}")


def _oriented(interval: Interval, metric: MetricComparison) -> Interval:
    """The interval turned round where less is better, so that more always is."""
    return replace(interval, low=-interval.high, high=-interval.low) if metric.is_lower_better else interval


def _above(interval: Interval, limit: float, *, is_strict: bool) -> Outcome:
    if interval.low > limit or (not is_strict and interval.low == limit):
        return "pass"

    return "fail" if interval.high < limit else "inconclusive"


def _agreeing(checks: Sequence[Check], strict: Sequence[Check]) -> list[Check]:
    return [
        check
        if check.outcome == other.outcome
        else replace(check, outcome="inconclusive", reason=f"{check.reason}; it depends on rows without a score")
        for check, other in zip(checks, strict, strict=True)
    ]


def _overall(checks: Sequence[Check]) -> Outcome:
    outcomes = {check.outcome for check in checks}
    if "fail" in outcomes:
        return "fail"

    return "inconclusive" if "inconclusive" in outcomes or not outcomes else "pass"


# --- for machines and for pull requests ---

_SIGNS: dict[Outcome, str] = {"pass": "✅", "fail": "❌", "inconclusive": "❔"}


def render_junit(result: GateResult) -> str:
    """JUnit XML: one test case a check; an inconclusive check is an error, so that no reader takes it for a pass."""
    counts = {outcome: sum(check.outcome == outcome for check in result.checks) for outcome in EXIT_CODES}
    cases = "".join(_junit_case(check) for check in result.checks)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<testsuites><testsuite name="pfl gate" tests="{len(result.checks)}" failures="{counts["fail"]}" '
        f'errors="{counts["inconclusive"]}" skipped="0">{cases}</testsuite></testsuites>\n'
    )


def _junit_case(check: Check) -> str:
    kind = {"pass": None, "fail": "failure", "inconclusive": "error"}[check.outcome]
    head = f'<testcase classname="pfl.gate" name={quoteattr(check.name)}>'
    inner = (
        f"<{kind} type={quoteattr(check.outcome)} message={quoteattr(check.reason)}/>"
        if kind
        else f"<system-out>{escape(check.reason)}</system-out>"
    )
    return f"{head}{inner}</testcase>"


def render_gate_markdown(result: GateResult) -> str:
    """A summary for a pull request, with the comparison folded below."""
    lines = [f"## {_SIGNS[result.outcome]} Evaluation gate: {result.outcome}", ""]
    lines += [f"- {_SIGNS[check.outcome]} **{check.name}**: {check.reason}" for check in result.checks]
    details = render_markdown(result.comparison)
    return "\n".join([*lines, "", "<details><summary>Comparison</summary>", "", details, "</details>", ""])
