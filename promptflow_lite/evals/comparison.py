"""What a comparison says, as plain data: every renderer and every test reads these records and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from promptflow_lite.evals.stats import Interval, PairedTest, Verdict

RowState = Literal["scored", "failed", "unscored", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """The choices behind a comparison; stated in every report."""

    level: float = 0.95
    """Coverage of intervals; 1 - level is the error rate of the verdicts."""
    correction: Literal["holm", "none"] = "holm"
    min_effect: float | None = None
    """The smallest difference that matters; None: the observed one, when asking how many rows would settle it."""
    power: float = 0.8
    lower_is_better: tuple[str, ...] = ()
    """Metric names where less is more."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Metric name -> smallest and largest possible score, to know what `worst` is."""
    failed_rows: Literal["worst", "exclude"] = "worst"
    """What a row without an output scores."""
    unscored_rows: Literal["exclude", "worst"] = "exclude"
    """What a row that the evaluator gave no score counts as."""
    cluster_by: str | None = None
    """Column whose values say which rows belong together."""
    slice_by: str | None = None
    """Column whose values split every metric."""
    is_mid_p: bool = False
    all_pairs: bool = False
    """Test every pair of variants instead of each against the first."""
    seed: int = 0

    @property
    def alpha(self) -> float:
        return 1 - self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSummary:
    """One variant: its runs, and what they cost."""

    label: str
    runs: tuple[str, ...]
    n_rows: int
    failed: int
    latency_p50_s: float | None
    latency_p95_s: float | None
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """Money for all rows; None when the price of a model is unknown."""
    cell: Mapping[str, Any] = field(default_factory=dict)
    is_pareto: bool = False
    """No other variant is at least as good in score, money and time, and better in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """One metric of one variant."""

    candidate: str
    mean: float | None
    interval: Interval | None
    n: int
    """Rows in the mean; repeats of a row count once."""
    failed: int
    """Rows without an output; in the mean with the worst score unless the settings exclude them."""
    unscored: int
    """Rows that the evaluator gave no score; not in the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """One variant against another on one metric."""

    baseline: str
    candidate: str
    test: PairedTest | None
    """None when no row is scored on both sides."""
    p_corrected: float | None
    verdict: Verdict
    reason: str
    """Why the verdict is inconclusive; empty otherwise."""
    rows_needed: int | None
    """Rows in all that would find `effect` with the stated power; None for a settled question."""
    effect: float | None
    """The difference that `rows_needed` is about."""
    detectable: float | None
    """The smallest true difference that these rows would find with the stated power."""
    unpaired: int
    """Rows scored on one side only, left out of the test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """One metric over all variants."""

    name: str
    kind: Literal["pass/fail", "graded"]
    is_lower_better: bool
    worst: float
    """The score of a failed row."""
    summaries: tuple[MetricSummary, ...]
    pairs: tuple[PairResult, ...]

    def summary(self, candidate: str) -> MetricSummary:
        return next(item for item in self.summaries if item.candidate == candidate)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """One metric of one variant on the rows that share a column's value."""

    value: str
    metric: str
    candidate: str
    mean: float
    interval: Interval | None
    n: int
    difference: float | None
    """Against the first variant on the same rows."""
    difference_interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """One row of data under every variant."""

    line: int
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    """Variant -> output (of its first run)."""
    scores: Mapping[str, Mapping[str, float | None]]
    """Metric -> variant -> score."""
    states: Mapping[str, Mapping[str, RowState]]
    """Metric -> variant -> what kind of row this is."""
    problems: Mapping[str, str]
    """Variant -> error message of a failed row."""

    def change(self, metric: str, baseline: str, candidate: str) -> float | None:
        before, after = self.scores[metric].get(baseline), self.scores[metric].get(candidate)
        return None if before is None or after is None else after - before


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Variants compared on the same rows."""

    title: str
    settings: CompareSettings
    candidates: tuple[CandidateSummary, ...]
    metrics: tuple[MetricComparison, ...]
    slices: tuple[SliceResult, ...]
    rows: tuple[RowResult, ...]
    n_comparisons: int
    """Tests in the corrected family."""
    notes: tuple[str, ...]
    """What a reader must know: the rules applied, rows left out, data that differ."""

    @property
    def baseline(self) -> str:
        return self.candidates[0].label

    def metric(self, name: str) -> MetricComparison | None:
        return next((metric for metric in self.metrics if metric.name == name), None)

    def changed_rows(self, metric: str, candidate: str, *, baseline: str | None = None) -> list[RowResult]:
        """Rows whose score differs between two variants, the worst change first."""
        found = self.metric(metric)
        sign = -1 if found and found.is_lower_better else 1
        base = baseline or self.baseline
        changes = [(row.change(metric, base, candidate), row) for row in self.rows]
        moved = [(sign * change, row.line, row) for change, row in changes if change]
        return [row for _, _, row in sorted(moved, key=lambda item: item[:2])]

    def without_rows(self) -> dict[str, Any]:
        """The comparison as data for JSON, without the rows."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "rows"}
