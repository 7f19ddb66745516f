"""Numbers and verdicts in words, the same in every kind of report."""

from __future__ import annotations

from promptflow_lite.evals.comparison import Comparison, MetricComparison, PairResult
from promptflow_lite.evals.stats import Interval

NONE = "–"
VERDICT_SIGNS = {"better": "▲", "worse": "▼", "inconclusive": "○"}


def score_text(value: float | None, metric: MetricComparison) -> str:
    """A mean: percent for pass/fail, three decimals otherwise."""
    if value is None:
        return NONE

    return f"{100 * value:.1f}%" if metric.kind == "pass/fail" else f"{value:.3f}"


def interval_text(interval: Interval | None, metric: MetricComparison) -> str:
    """`75.1 to 80.6%`, or a dash where no interval is honest."""
    if interval is None:
        return NONE

    if metric.kind == "pass/fail":
        return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}%"

    return f"{interval.low:.3f} to {interval.high:.3f}"


def difference_text(value: float | None, metric: MetricComparison) -> str:
    """`+3.1 pp` (percentage points) for pass/fail, `+0.123` otherwise."""
    if value is None:
        return NONE

    return f"{100 * value:+.1f} pp" if metric.kind == "pass/fail" else f"{value:+.3f}"


def difference_interval_text(interval: Interval | None, metric: MetricComparison) -> str:
    if interval is None:
        return NONE

    if metric.kind == "pass/fail":
        return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"

    return f"{interval.low:+.3f} to {interval.high:+.3f}"


def p_text(value: float | None) -> str:
    if value is None:
        return NONE

    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def seconds_text(value: float | None) -> str:
    if value is None:
        return NONE

    return f"{1000 * value:.1f} ms" if value < 1 else f"{value:.2f} s"


def money_text(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def rows_text(pair: PairResult) -> str:
    """Rows that would settle an open question."""
    return NONE if pair.rows_needed is None else f"{pair.rows_needed:,}"


def verdict_text(pair: PairResult) -> str:
    return f"{VERDICT_SIGNS[pair.verdict]} {pair.verdict}"


def counts_text(failed: int, unscored: int) -> str:
    """`3 failed, 2 unscored`; empty when every row has a score."""
    parts = [f"{failed:,} failed"] if failed else []
    parts += [f"{unscored:,} unscored"] if unscored else []
    return ", ".join(parts)


def pair_sentence(pair: PairResult, metric: MetricComparison, level: float) -> str:
    """One pair as a sentence that can stand alone."""
    if pair.test is None:
        return f"{pair.candidate} and {pair.baseline} cannot be compared on {metric.name}: {pair.reason}."

    p_name = "corrected p" if pair.p_corrected != pair.test.p_value else "p"
    evidence = (
        f"{difference_text(pair.test.difference, metric)} on {metric.name} ({100 * level:g}% interval "
        f"{difference_interval_text(pair.test.interval, metric)}, {p_name} {p_text(pair.p_corrected)})"
    )
    if pair.verdict != "inconclusive":
        return f"{pair.candidate} is {pair.verdict} than {pair.baseline}: {evidence}."

    return (
        f"{pair.candidate} against {pair.baseline} is inconclusive: {evidence}; {pair.reason}.{_advice(pair, metric)}"
    )


def _advice(pair: PairResult, metric: MetricComparison) -> str:
    if pair.rows_needed is None or pair.effect is None or pair.test is None:
        return ""

    size = difference_text(pair.effect, metric).lstrip("+")
    if pair.rows_needed <= pair.test.n:
        return f" These {pair.test.n:,} rows would have shown a difference of {size} in four cases of five."

    return f" About {pair.rows_needed:,} rows would settle a difference of {size}; there are {pair.test.n:,}."


def headline(comparison: Comparison) -> str:
    """What the first metric says about every variant, in one sentence."""
    metric = comparison.metrics[0]
    if not metric.pairs:
        summary = metric.summaries[0]
        shown = interval_text(summary.interval, metric)
        score = score_text(summary.mean, metric)
        return f"{summary.candidate} scores {score} on {metric.name} ({shown}, n = {summary.n:,})."

    if len(metric.pairs) == 1:
        return pair_sentence(metric.pairs[0], metric, comparison.settings.level)

    against = [pair for pair in metric.pairs if pair.baseline == comparison.baseline]
    groups = {verdict: [p.candidate for p in against if p.verdict == verdict] for verdict in VERDICT_SIGNS}
    parts = [
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {verdict}"
        for verdict, names in groups.items()
        if names
    ]
    return f"Against {comparison.baseline} on {metric.name}: {'; '.join(parts)}."
