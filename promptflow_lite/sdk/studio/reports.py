"""A comparison as the studio shows it: words and numbers of the reports, arranged in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptflow_lite.evals.comparison import Comparison, MetricComparison


def report_html(comparison: Comparison) -> str:
    """The self-contained report with charts."""
    from promptflow_lite.evals.reports.html import render_html

    return render_html(comparison)


def headline(comparison: Comparison) -> str:
    """What the comparison says, in a sentence."""
    from promptflow_lite.evals.reports import words

    return words.headline(comparison)


def score_rows(comparison: Comparison, metric: MetricComparison) -> list[dict[str, Any]]:
    """One row for each variant: mean, interval, difference to the baseline, verdict."""
    from promptflow_lite.evals.reports import words

    pairs = {pair.candidate: pair for pair in metric.pairs if pair.baseline == comparison.baseline}
    rows = []
    for summary in metric.summaries:
        pair = pairs.get(summary.candidate)
        test = pair.test if pair else None
        rows.append(
            {
                "Variant": summary.candidate,
                "Score": words.score_text(summary.mean, metric),
                "Interval": words.interval_text(summary.interval, metric),
                "Rows": summary.n,
                "Failed": summary.failed + summary.unscored,
                "Difference": words.difference_text(test.difference, metric) if test else "baseline",
                "Interval of the difference": words.difference_interval_text(test.interval, metric) if test else "",
                "Won / lost / tied": f"{test.wins} / {test.losses} / {test.ties}" if test else "",
                "p": words.p_text(pair.p_corrected) if pair else "",
                "Verdict": pair.verdict if pair else "",
                "Rows needed": words.rows_text(pair) if pair else "",
            }
        )
    return rows


def chart_rows(metric: MetricComparison) -> list[dict[str, Any]]:
    """Means with their intervals as numbers."""
    return [
        {
            "Variant": summary.candidate,
            "mean": summary.mean,
            "low": summary.interval.low if summary.interval else summary.mean,
            "high": summary.interval.high if summary.interval else summary.mean,
        }
        for summary in metric.summaries
        if summary.mean is not None
    ]


def sentences(comparison: Comparison, metric: MetricComparison) -> list[str]:
    """The verdict on each variant in words."""
    from promptflow_lite.evals.reports import words

    return [words.pair_sentence(pair, metric, comparison.settings.level) for pair in metric.pairs]


def cost_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """What each variant took."""
    from promptflow_lite.evals.reports import words

    return [
        {
            "Variant": candidate.label,
            "Rows": candidate.n_rows,
            "Failed": candidate.failed,
            "Median time": words.seconds_text(candidate.latency_p50_s),
            "95 % below": words.seconds_text(candidate.latency_p95_s),
            "Prompt tokens": candidate.prompt_tokens,
            "Completion tokens": candidate.completion_tokens,
            "Cost": words.money_text(candidate.cost),
            "Pareto": "✓" if candidate.is_pareto else "",
        }
        for candidate in comparison.candidates
    ]
