"""Which variant is better: scores of several runs, paired by row, tested, corrected, and put into words.

Rules, all stated in the result: rows are paired by line number; repeats of a row are averaged first; a row without an
output scores worst; a row the evaluator could not score is left out of the pair, and a verdict that would change if it
scored worst instead is inconclusive.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.comparison import (
    CandidateSummary,
    CompareSettings,
    Comparison,
    MetricComparison,
    MetricSummary,
    PairResult,
    RowResult,
    RowState,
    SliceResult,
)
from promptflow_lite.evals.measures import quantile
from promptflow_lite.evals.scores import RUN_MEASURES, MetricScores, RunScores
from promptflow_lite.evals.stats import (
    Interval,
    PairedTest,
    Verdict,
    cluster_interval,
    holm,
    mean_interval,
    minimum_detectable_effect,
    paired_test,
    rows_needed,
)

KNOWN_RANGES: dict[str, tuple[float, float]] = {
    "gpt_relevance": (1, 5),
    "gpt_groundedness": (1, 5),
    "gpt_coherence": (1, 5),
    "gpt_fluency": (1, 5),
    "gpt_similarity": (1, 5),
    "gpt_retrieval": (1, 5),
}
"""Ranges of well-known metrics whose worst score is not zero."""

LOWER_IS_BETTER = frozenset({"latency_s", "latency_ms", "cost", "total_tokens", "error", "distance"})


@dataclass(slots=True)
class Candidate:
    """A variant to compare: one run, or several repeats of it."""

    label: str
    runs: Sequence[RunScores]
    cell: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Column:
    """One metric of one candidate, a score a row."""

    scores: dict[int, float]
    failed: set[int]
    unscored: set[int]


def compare(
    candidates: Sequence[Candidate],
    settings: CompareSettings | None = None,
    *,
    title: str = "",
    columns: Mapping[int, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """Compare variants on the rows they share.

    Args:
        candidates: The first one is the baseline.
        settings: The choices behind the comparison.
        title: Of the report.
        columns: Line number -> raw data row, where clusters and slices are looked up beside inputs.
        notes: What else a reader must know.
    Raises:
        EvaluatorError: nothing to compare, no metric in common, or a column that no row has.
    """
    settings = settings or CompareSettings()
    _require_distinct(candidates)
    names = _metric_names(candidates)
    if not names:
        raise EvaluatorError(
            "The runs have no score in common.",
            hint="Evaluate them first: pfl run create --flow EVALUATOR --run RUN, or name a metric with --metric.",
        )

    row_columns = _row_columns(candidates, columns or {})
    clusters = _column_values(row_columns, settings.cluster_by)
    tables = {name: _columns(candidates, key, name, settings) for key, name in names.items()}
    metrics = _corrected([_compare_metric(name, tables[name], settings, clusters) for name in names.values()], settings)
    summaries = _mark_pareto([_summarize_candidate(candidate) for candidate in candidates], metrics[0])
    return Comparison(
        title=title or " / ".join(candidate.label for candidate in candidates),
        settings=settings,
        candidates=tuple(summaries),
        metrics=tuple(metrics),
        slices=tuple(_slices(metrics, tables, settings, _column_values(row_columns, settings.slice_by))),
        rows=tuple(_rows(candidates, tables)),
        n_comparisons=sum(len(metric.pairs) for metric in metrics),
        notes=(*_notes(candidates, metrics, settings), *notes),
    )


def _require_distinct(candidates: Sequence[Candidate]) -> None:
    if not candidates:
        raise EvaluatorError("A comparison needs at least one run.")

    labels = [candidate.label for candidate in candidates]
    if len(set(labels)) < len(labels):
        raise EvaluatorError("Two variants of a comparison have the same name.", hint="Name every run once.")


# --- from runs to one score a row ---


def _metric_names(candidates: Sequence[Candidate]) -> dict[tuple[str, str], str]:
    """Metrics that every candidate has -> the shortest unambiguous name, in order of appearance."""
    shared: dict[tuple[str, str], None] = {}
    own = {candidate.label: _own_keys(candidate) for candidate in candidates}
    for key in own[candidates[0].label]:
        if all(key in keys for keys in own.values()):
            shared[key] = None

    outputs = [output for _, output in shared]
    return {key: key[1] if outputs.count(key[1]) == 1 else ".".join(key) for key in shared}


def _own_keys(candidate: Candidate) -> dict[tuple[str, str], None]:
    """Metrics found in every run; a run's own outputs are matched by name, since flows of variants differ in name."""
    keys: dict[tuple[str, str], None] = {}
    for run in candidate.runs:
        for metric in run.metrics:
            keys[_key(run, metric)] = None

    return keys


def _key(run: RunScores, metric: MetricScores) -> tuple[str, str]:
    return metric.key if run.evaluations or metric.output in RUN_MEASURES else ("", metric.output)


def _find(run: RunScores, key: tuple[str, str]) -> MetricScores | None:
    return next((metric for metric in run.metrics if _key(run, metric) == key), None)


def _columns(
    candidates: Sequence[Candidate], key: tuple[str, str], name: str, settings: CompareSettings
) -> dict[str, _Column]:
    found = {c.label: [(run, _find(run, key)) for run in c.runs] for c in candidates}
    observed = [score for pairs in found.values() for _, metric in pairs if metric for score in metric.scores.values()]
    worst = _worst(name, observed, settings)
    return {label: _average(pairs, worst, settings) for label, pairs in found.items()}


def _worst(name: str, observed: Iterable[float], settings: CompareSettings) -> float:
    """What a failed row scores: the bad end of the known range, else 0 (1), else the worst score seen."""
    is_lower_better = _is_lower_better(name, settings)
    output = name.rsplit(".", 1)[-1]
    limits = settings.ranges.get(name) or settings.ranges.get(output) or KNOWN_RANGES.get(output)
    values = list(observed)
    if limits is None:
        inside = all(0 <= value <= 1 for value in values)
        limits = (0.0, 1.0) if inside else (min(0.0, *values), max(values))

    return limits[1] if is_lower_better else limits[0]


def _is_lower_better(name: str, settings: CompareSettings) -> bool:
    output = name.rsplit(".", 1)[-1]
    return name in settings.lower_is_better or output in settings.lower_is_better or output in LOWER_IS_BETTER


def _average(
    pairs: Sequence[tuple[RunScores, MetricScores | None]], worst: float, settings: CompareSettings
) -> _Column:
    sums: dict[int, list[float]] = {}
    failed: set[int] = set()
    unscored: set[int] = set()
    for run, metric in pairs:
        for row in run.failed:
            failed.add(row)
            if settings.failed_rows == "worst":
                sums.setdefault(row, []).append(worst)

        scores = metric.scores if metric else {}
        for row in run.outputs:
            if row in scores:
                sums.setdefault(row, []).append(scores[row])
            else:
                unscored.add(row)
                if settings.unscored_rows == "worst":
                    sums.setdefault(row, []).append(worst)

    means = {row: sum(values) / len(values) for row, values in sorted(sums.items())}
    return _Column(
        scores=means,
        failed=failed,
        unscored={row for row in unscored if settings.unscored_rows == "worst" or row not in means},
    )


# --- one metric ---


def _compare_metric(
    name: str, table: Mapping[str, _Column], settings: CompareSettings, clusters: Mapping[int, Hashable] | None
) -> MetricComparison:
    values = [score for column in table.values() for score in column.scores.values()]
    labels = list(table)
    pairs = combinations(labels, 2) if settings.all_pairs else ((labels[0], other) for other in labels[1:])
    worst = _worst(name, values or [0.0], settings)
    return MetricComparison(
        name=name,
        kind="pass/fail" if all(value in (0, 1) for value in values) else "graded",
        is_lower_better=_is_lower_better(name, settings),
        worst=worst,
        summaries=tuple(_summarize(label, column, settings, clusters) for label, column in table.items()),
        pairs=tuple(_pair(a, b, table, worst, settings, clusters, name) for a, b in pairs),
    )


def _summarize(
    label: str, column: _Column, settings: CompareSettings, clusters: Mapping[int, Hashable] | None
) -> MetricSummary:
    rows = list(column.scores)
    values = list(column.scores.values())
    return MetricSummary(
        candidate=label,
        mean=sum(values) / len(values) if values else None,
        interval=_interval(rows, values, settings, clusters),
        n=len(values),
        failed=len(column.failed),
        unscored=len(column.unscored),
    )


def _interval(
    rows: Sequence[int], values: Sequence[float], settings: CompareSettings, clusters: Mapping[int, Hashable] | None
) -> Interval | None:
    if clusters is not None and values:
        groups = [clusters.get(row) for row in rows]
        if len(set(groups)) < len(groups):
            return cluster_interval(values, groups, level=settings.level)

    return mean_interval(values, level=settings.level, seed=settings.seed)


def _pair(
    baseline: str,
    candidate: str,
    table: Mapping[str, _Column],
    worst: float,
    settings: CompareSettings,
    clusters: Mapping[int, Hashable] | None,
    metric: str,
) -> PairResult:
    a, b = table[baseline], table[candidate]
    test = _test(a.scores, b.scores, settings, clusters)
    verdict = _verdict(test, test.p_value if test else None, metric, settings)
    reason = ""
    if a.unscored or b.unscored:
        strict = _test(_filled(a, worst), _filled(b, worst), settings, clusters)
        if _verdict(strict, strict.p_value if strict else None, metric, settings) != verdict:
            reason = f"it depends on rows without a score ({len(a.unscored)} and {len(b.unscored)})"

    return PairResult(
        baseline=baseline,
        candidate=candidate,
        test=test,
        p_corrected=test.p_value if test else None,
        verdict=verdict,
        reason=reason,
        rows_needed=None,
        effect=None,
        detectable=None,
        unpaired=len(set(a.scores) ^ set(b.scores)),
    )


def _filled(column: _Column, worst: float) -> dict[int, float]:
    return column.scores | dict.fromkeys(column.unscored, worst)


def _test(
    a: Mapping[int, float],
    b: Mapping[int, float],
    settings: CompareSettings,
    clusters: Mapping[int, Hashable] | None,
) -> PairedTest | None:
    rows = sorted(set(a) & set(b))
    if not rows:
        return None

    return paired_test(
        [a[row] for row in rows],
        [b[row] for row in rows],
        clusters=[clusters.get(row) for row in rows] if clusters is not None else None,
        level=settings.level,
        seed=settings.seed,
        is_mid_p=settings.is_mid_p,
    )


def _verdict(test: PairedTest | None, p_value: float | None, metric: str, settings: CompareSettings) -> Verdict:
    if test is None or p_value is None or p_value > settings.alpha or test.difference == 0:
        return "inconclusive"

    return "better" if (test.difference > 0) != _is_lower_better(metric, settings) else "worse"


def _corrected(metrics: Sequence[MetricComparison], settings: CompareSettings) -> list[MetricComparison]:
    """Final verdicts: p-values corrected over all tests of the comparison, and what would settle the open ones."""
    raw = {(m.name, p.baseline, p.candidate): p.test.p_value for m in metrics for p in m.pairs if p.test}
    adjusted = holm(raw) if settings.correction == "holm" else raw
    return [
        replace(
            metric,
            pairs=tuple(
                _settle(metric, pair, adjusted.get((metric.name, pair.baseline, pair.candidate)), len(raw), settings)
                for pair in metric.pairs
            ),
        )
        for metric in metrics
    ]


def _settle(
    metric: MetricComparison, pair: PairResult, p_value: float | None, family: int, settings: CompareSettings
) -> PairResult:
    test = pair.test
    if test is None:
        return replace(pair, reason="no row is scored on both sides")

    alpha = settings.alpha / family if settings.correction == "holm" else settings.alpha
    detectable = minimum_detectable_effect(test.sd, test.n, alpha=alpha, power=settings.power) if test.sd else None
    verdict: Verdict = "inconclusive" if pair.reason else _verdict(test, p_value, metric.name, settings)
    if verdict != "inconclusive":
        return replace(pair, p_corrected=p_value, verdict=verdict, detectable=detectable)

    effect = settings.min_effect or abs(test.difference) or None
    needed = rows_needed(test.sd, effect, alpha=alpha, power=settings.power) if effect and test.sd else None
    reason = pair.reason or ("the rows score the same" if not test.sd else "the difference could be chance")
    return replace(
        pair,
        p_corrected=p_value,
        verdict="inconclusive",
        reason=reason,
        rows_needed=needed,
        effect=effect,
        detectable=detectable,
    )


# --- slices, clusters, rows ---


def _row_columns(
    candidates: Sequence[Candidate], columns: Mapping[int, Mapping[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Line number -> everything known about the row: raw data, evaluation inputs, flow inputs (later ones win)."""
    merged: dict[int, dict[str, Any]] = {row: dict(values) for row, values in columns.items()}
    for candidate in candidates:
        for run in candidate.runs:
            for part in (run.extra_columns, run.inputs):
                for row, values in part.items():
                    merged.setdefault(row, {}).update(values)

    return merged


def _column_values(row_columns: Mapping[int, Mapping[str, Any]], column: str | None) -> dict[int, Hashable] | None:
    if column is None:
        return None

    values = {row: str(items[column]) for row, items in row_columns.items() if column in items}
    if not values:
        known = sorted({name for items in row_columns.values() for name in items})
        raise EvaluatorError(
            f"No row has a column {column!r}.", hint=f"Columns are: {', '.join(known) or 'none'}.", column=column
        )

    return {row: values.get(row, f"(line {row})") for row in row_columns}


def _slices(
    metrics: Sequence[MetricComparison],
    tables: Mapping[str, Mapping[str, _Column]],
    settings: CompareSettings,
    values: Mapping[int, Hashable] | None,
) -> list[SliceResult]:
    if values is None:
        return []

    groups: dict[str, list[int]] = {}
    for row, value in sorted(values.items()):
        groups.setdefault(str(value), []).append(row)

    return [
        found
        for metric in metrics
        for value, rows in sorted(groups.items())
        for label in tables[metric.name]
        if (found := _slice(metric.name, value, rows, label, tables[metric.name], settings))
    ]


def _slice(
    metric: str, value: str, rows: Sequence[int], label: str, table: Mapping[str, _Column], settings: CompareSettings
) -> SliceResult | None:
    column = table[label]
    scores = {row: column.scores[row] for row in rows if row in column.scores}
    if not scores:
        return None

    baseline = next(iter(table))
    base = {row: table[baseline].scores[row] for row in scores if row in table[baseline].scores}
    test = _test(base, scores, settings, None) if label != baseline else None
    return SliceResult(
        value=value,
        metric=metric,
        candidate=label,
        mean=sum(scores.values()) / len(scores),
        interval=mean_interval(list(scores.values()), level=settings.level, seed=settings.seed),
        n=len(scores),
        difference=test.difference if test else None,
        difference_interval=test.interval if test else None,
    )


def _rows(candidates: Sequence[Candidate], tables: Mapping[str, Mapping[str, _Column]]) -> Iterable[RowResult]:
    firsts = {candidate.label: candidate.runs[0] for candidate in candidates}
    for line in sorted({row for run in firsts.values() for row in run.rows}):
        yield RowResult(
            line=line,
            inputs=next((run.inputs[line] for run in firsts.values() if line in run.inputs), {}),
            outputs={label: run.outputs.get(line) for label, run in firsts.items()},
            scores={
                metric: {label: column.scores.get(line) for label, column in table.items()}
                for metric, table in tables.items()
            },
            states={
                metric: {label: _state(column, line) for label, column in table.items()}
                for metric, table in tables.items()
            },
            problems={label: run.failed[line] for label, run in firsts.items() if line in run.failed},
        )


def _state(column: _Column, line: int) -> RowState:
    if line in column.failed:
        return "failed"

    if line in column.unscored:
        return "unscored"

    return "scored" if line in column.scores else "missing"


# --- cost and latency ---


def _summarize_candidate(candidate: Candidate) -> CandidateSummary:
    latencies = sorted(value for run in candidate.runs for value in run.latency_s.values())
    answered = sum(len(run.outputs) for run in candidate.runs)
    priced = [value for run in candidate.runs for value in run.cost.values()]
    return CandidateSummary(
        label=candidate.label,
        runs=tuple(run.record.name for run in candidate.runs),
        n_rows=len({row for run in candidate.runs for row in run.rows}),
        failed=sum(len(run.failed) for run in candidate.runs),
        latency_p50_s=quantile(latencies, 0.5) if latencies else None,
        latency_p95_s=quantile(latencies, 0.95) if latencies else None,
        prompt_tokens=sum(run.record.prompt_tokens for run in candidate.runs),
        completion_tokens=sum(run.record.completion_tokens for run in candidate.runs),
        cost=sum(priced) if priced and len(priced) == answered else None,
        cell=candidate.cell,
    )


def _mark_pareto(candidates: Sequence[CandidateSummary], metric: MetricComparison) -> list[CandidateSummary]:
    """Mark those that no other beats in score, money (tokens where no price is known) and median time together."""
    has_cost = all(candidate.cost is not None for candidate in candidates)
    points = {}
    for candidate in candidates:
        mean = metric.summary(candidate.label).mean
        if mean is not None:
            score = mean if metric.is_lower_better else -mean
            spent = candidate.cost if has_cost else candidate.prompt_tokens + candidate.completion_tokens
            points[candidate.label] = (score, spent or 0.0, candidate.latency_p50_s or 0.0)

    return [
        replace(
            candidate,
            is_pareto=candidate.label in points
            and not any(_dominates(other, points[candidate.label]) for other in points.values()),
        )
        for candidate in candidates
    ]


def _dominates(other: tuple[float, ...], point: tuple[float, ...]) -> bool:
    return other != point and all(x <= y for x, y in zip(other, point, strict=True))


# --- words ---


def _notes(
    candidates: Sequence[Candidate], metrics: Sequence[MetricComparison], settings: CompareSettings
) -> Iterable[str]:
    n_tests = sum(len(metric.pairs) for metric in metrics)
    if n_tests:
        how = "corrected by Holm" if settings.correction == "holm" else "not corrected"
        yield f"{n_tests} comparison{'s' if n_tests > 1 else ''}, p-values {how}; verdicts at {settings.alpha:.3g}."

    if any(run.failed for candidate in candidates for run in candidate.runs):
        rule = "score worst" if settings.failed_rows == "worst" else "are left out (on request)"
        yield f"Rows that failed {rule}."

    if any(summary.unscored for metric in metrics for summary in metric.summaries):
        yield (
            "Rows that an evaluator gave no score score worst (on request)."
            if settings.unscored_rows == "worst"
            else "Rows that an evaluator gave no score are left out of means and pairs; "
            "a verdict that would change if they scored worst is inconclusive."
        )

    if any(len(candidate.runs) > 1 for candidate in candidates):
        yield "Repeats of a row are averaged before any test."

    if settings.cluster_by:
        yield f"Rows with the same {settings.cluster_by!r} count as one independent unit."

    sources = {run.record.data for candidate in candidates for run in candidate.runs}
    if len(sources) > 1:
        yield "The runs name different data files; rows are paired by line number. Check that the rows are the same."
