"""A comparison as one HTML page: charts, tables and every row in a paged table; no network, light and dark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite._utils.text import truncate
from promptflow_lite.evals.comparison import Comparison, MetricComparison, PairResult
from promptflow_lite.evals.reports.charts import Bar, Point, balance, forest, scatter
from promptflow_lite.evals.reports.words import (
    NONE,
    counts_text,
    difference_interval_text,
    difference_text,
    headline,
    interval_text,
    money_text,
    p_text,
    rows_text,
    score_text,
    seconds_text,
    verdict_text,
)

MAX_TEXT = 1500
"""Characters of an input or output kept in the page; the rest is in the CSV export."""


def render_html(comparison: Comparison) -> str:
    """One self-contained page. Its content policy forbids every request."""
    assets = files("promptflow_lite.evals.reports") / "assets"
    page = (assets / "report.html").read_text("utf-8")
    parts = {
        "title": escape(comparison.title),
        "style": (assets / "report.css").read_text("utf-8"),
        "script": (assets / "report.js").read_text("utf-8"),
        "body": _body(comparison),
        "data": dumps(_row_data(comparison)).replace("<", "\\u003c"),
    }
    return re.sub(r"%%(\w+)%%", lambda match: parts[match.group(1)], page)


def _body(comparison: Comparison) -> str:
    sections = [_header(comparison), *(_metric_section(comparison, metric) for metric in comparison.metrics)]
    sections += [_cost_section(comparison), _slice_section(comparison)]
    return "".join(sections)


def _header(comparison: Comparison) -> str:
    settings = comparison.settings
    n_rows = len(comparison.rows)
    chips = [
        f"{n_rows:,} row{'s' if n_rows != 1 else ''}",
        f"{len(comparison.candidates)} variants",
        f"{100 * settings.level:g}% intervals",
    ]
    pairs = comparison.metrics[0].pairs
    verdict = pairs[0].verdict if len({pair.verdict for pair in pairs}) == 1 else "plain"
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
    return (
        f"<header><p class='kicker'>Comparison</p><h1>{escape(comparison.title)}</h1>"
        f"<p class='chips'>{''.join(f'<span>{escape(chip)}</span>' for chip in chips)}</p></header>"
        f"<section class='headline {verdict}'><p>{escape(headline(comparison))}</p><ul>{notes}</ul></section>"
    )


def _metric_section(comparison: Comparison, metric: MetricComparison) -> str:
    def tick(value: float) -> str:
        return f"{100 * value:g}%" if metric.kind == "pass/fail" else f"{value:g}"

    def difference_tick(value: float) -> str:
        return f"{100 * value:+g}" if metric.kind == "pass/fail" else f"{value:+g}"

    scores = [
        Bar(
            label=summary.candidate,
            value=summary.mean,
            low=summary.interval.low if summary.interval else None,
            high=summary.interval.high if summary.interval else None,
            text=score_text(summary.mean, metric),
        )
        for summary in metric.summaries
        if summary.mean is not None
    ]
    differences = [
        Bar(
            label=_pair_label(pair, comparison),
            value=pair.test.difference,
            low=pair.test.interval.low if pair.test.interval else None,
            high=pair.test.interval.high if pair.test.interval else None,
            text=difference_text(pair.test.difference, metric),
            style=pair.verdict,
        )
        for pair in metric.pairs
        if pair.test
    ]
    unit = " in percentage points" if metric.kind == "pass/fail" else ""
    figures = [_figure(f"Mean {metric.name}", forest(scores, tick=tick, title=f"Mean {metric.name}"))]
    if differences:
        caption = f"Difference against {comparison.baseline}{unit}"
        figures.append(_figure(caption, forest(differences, tick=difference_tick, zero=0.0, title=caption)))

    hint = " <small>lower is better</small>" if metric.is_lower_better else ""
    return (
        f"<section><h2>{escape(metric.name)} <small>{metric.kind}</small>{hint}</h2>"
        f"<div class='figures'>{''.join(figures)}</div>{_score_table(comparison, metric)}</section>"
    )


def _pair_label(pair: PairResult, comparison: Comparison) -> str:
    return pair.candidate if pair.baseline == comparison.baseline else f"{pair.candidate} vs {pair.baseline}"


def _figure(caption: str, chart: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{chart}</figure>"


def _score_table(comparison: Comparison, metric: MetricComparison) -> str:
    head = (
        "variant",
        "score",
        "interval",
        "rows",
        "difference",
        "interval",
        "p",
        "wins / ties / losses",
        "verdict",
        "rows needed",
    )
    first = {pair.candidate: pair for pair in metric.pairs if pair.baseline == comparison.baseline}
    rows = []
    for summary in metric.summaries:
        counts = counts_text(summary.failed, summary.unscored)
        warning = f" <em class='warning'>{escape(counts)}</em>" if counts else ""
        cells = [
            escape(summary.candidate),
            f"<b>{score_text(summary.mean, metric)}</b>",
            interval_text(summary.interval, metric),
            f"{summary.n:,}{warning}",
            *_pair_cells(first.get(summary.candidate), metric),
        ]
        rows.append(cells)

    rows += [
        [escape(_pair_label(pair, comparison)), "", "", "", *_pair_cells(pair, metric)]
        for pair in metric.pairs
        if pair.baseline != comparison.baseline
    ]
    return _table(head, rows)


def _pair_cells(pair: PairResult | None, metric: MetricComparison) -> list[str]:
    if pair is None:
        return ["", "", "", "", "<span class='verdict'>baseline</span>", ""]

    reason = escape(pair.reason, quote=True)
    verdict = f"<span class='verdict {pair.verdict}' title='{reason}'>{verdict_text(pair)}</span>"
    if pair.test is None:
        return [NONE, NONE, NONE, NONE, verdict, NONE]

    counts = f"{pair.test.wins:,} / {pair.test.ties:,} / {pair.test.losses:,}"
    return [
        difference_text(pair.test.difference, metric),
        difference_interval_text(pair.test.interval, metric),
        f"<span title='{escape(pair.test.method)}'>{escape(p_text(pair.p_corrected))}</span>",
        counts + balance(pair.test.wins, pair.test.losses, pair.test.ties),
        verdict,
        rows_text(pair),
    ]


def _cost_section(comparison: Comparison) -> str:
    metric = comparison.metrics[0]
    has_cost = all(candidate.cost is not None for candidate in comparison.candidates)
    points = []
    for candidate in comparison.candidates:
        mean = metric.summary(candidate.label).mean
        spent = candidate.cost if has_cost else candidate.latency_p50_s
        if mean is not None and spent is not None:
            points.append(Point(label=candidate.label, x=spent, y=mean, is_marked=candidate.is_pareto))

    x_name = "money for all rows" if has_cost else "median time a row"
    chart = scatter(
        points,
        x_tick=(lambda value: f"{value:g}") if has_cost else seconds_text,
        y_tick=lambda value: f"{100 * value:g}%" if metric.kind == "pass/fail" else f"{value:g}",
        x_name=x_name,
        y_name=metric.name,
    )
    head = ("variant", "p50", "p95", "prompt tokens", "completion tokens", "money", "failed rows", "")
    rows = [
        [
            escape(candidate.label),
            seconds_text(candidate.latency_p50_s),
            seconds_text(candidate.latency_p95_s),
            f"{candidate.prompt_tokens:,}",
            f"{candidate.completion_tokens:,}",
            money_text(candidate.cost),
            f"{candidate.failed:,}",
            "<span class='verdict better'>Pareto</span>" if candidate.is_pareto else "",
        ]
        for candidate in comparison.candidates
    ]
    caption = f"{metric.name} against {x_name}; green: no other variant beats it in every respect"
    figure = f"<div class='figures'>{_figure(caption, chart)}</div>"
    return f"<section><h2>What it costs</h2>{figure}{_table(head, rows)}</section>"


def _slice_section(comparison: Comparison) -> str:
    if not comparison.slices:
        return ""

    head = (
        str(comparison.settings.slice_by),
        "metric",
        "variant",
        "score",
        "interval",
        "rows",
        "difference",
        "interval",
    )
    rows = []
    for item in comparison.slices:
        metric = comparison.metric(item.metric)
        if metric is not None:
            rows.append(
                [
                    escape(item.value),
                    escape(item.metric),
                    escape(item.candidate),
                    f"<b>{score_text(item.mean, metric)}</b>",
                    interval_text(item.interval, metric),
                    f"{item.n:,}",
                    difference_text(item.difference, metric),
                    difference_interval_text(item.difference_interval, metric),
                ]
            )

    note = "<p class='muted'>For looking, not for testing: these intervals are not corrected for their number.</p>"
    return f"<section><h2>By {escape(str(comparison.settings.slice_by))}</h2>{note}{_table(head, rows)}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


# --- rows ---


def _row_data(comparison: Comparison) -> dict[str, Any]:
    """Rows for the page's script: lists instead of objects, to stay small with many rows."""
    labels = [candidate.label for candidate in comparison.candidates]
    metrics = [metric.name for metric in comparison.metrics]
    return {
        "variants": labels,
        "metrics": [
            {"name": metric.name, "lower": metric.is_lower_better, "binary": metric.kind == "pass/fail"}
            for metric in comparison.metrics
        ],
        "rows": [
            [
                row.line,
                _text(row.inputs),
                [
                    _text(row.outputs.get(label)) if label not in row.problems else row.problems[label]
                    for label in labels
                ],
                [[_rounded(row.scores[metric].get(label)) for label in labels] for metric in metrics],
                [[row.states[metric].get(label, "missing")[0] for label in labels] for metric in metrics],
            ]
            for row in comparison.rows
        ],
    }


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


def _text(value: Any) -> str:
    """A value for reading: a lone text as it is, several fields as `name: value` lines."""
    if value is None:
        return ""

    if isinstance(value, dict):
        lines = [f"{name}: {_text(item)}" for name, item in value.items()]
        return truncate(_text(next(iter(value.values()))) if len(value) == 1 else "\n".join(lines), MAX_TEXT)

    return truncate(value if isinstance(value, str) else dumps(value), MAX_TEXT)
