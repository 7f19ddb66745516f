"""A comparison as a terminal table, as Markdown, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite._utils.text import spreadsheet_cell, truncate
from promptflow_lite.evals.comparison import CandidateSummary, Comparison, MetricComparison, PairResult, RowResult
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

_SCORE_HEAD = (
    "variant",
    "score",
    "interval",
    "rows",
    "difference",
    "interval ",
    "p",
    "w/l/t",
    "verdict",
    "rows needed",
)
_COST_HEAD = ("variant", "p50", "p95", "prompt tokens", "completion tokens", "cost", "failed", "pareto")
_VERDICT_STYLES = {"better": "green", "worse": "red", "inconclusive": "yellow"}


# --- rows of cells, shared by the table and Markdown ---


def score_rows(comparison: Comparison, metric: MetricComparison) -> Iterator[tuple[list[str], str]]:
    """Cells of one metric, a line a variant (and a line a further pair), each with its verdict."""
    first = {pair.candidate: pair for pair in metric.pairs if pair.baseline == comparison.baseline}
    for summary in metric.summaries:
        pair = first.get(summary.candidate)
        left = _left(summary.n, counts_text(summary.failed, summary.unscored))
        score = [summary.candidate, score_text(summary.mean, metric), interval_text(summary.interval, metric), left]
        yield score + _pair_cells(pair, metric), pair.verdict if pair else ""

    for pair in metric.pairs:
        if pair.baseline != comparison.baseline:
            yield [f"{pair.candidate} against {pair.baseline}", "", "", "", *_pair_cells(pair, metric)], pair.verdict


def _left(n: int, counts: str) -> str:
    return f"{n:,} ({counts})" if counts else f"{n:,}"


def _pair_cells(pair: PairResult | None, metric: MetricComparison) -> list[str]:
    if pair is None:
        return ["", "", "", "", "baseline", ""]

    if pair.test is None:
        return [NONE, NONE, NONE, NONE, verdict_text(pair), NONE]

    return [
        difference_text(pair.test.difference, metric),
        difference_interval_text(pair.test.interval, metric),
        p_text(pair.p_corrected),
        f"{pair.test.wins}/{pair.test.losses}/{pair.test.ties}",
        verdict_text(pair),
        rows_text(pair),
    ]


def cost_cells(candidate: CandidateSummary) -> list[str]:
    return [
        candidate.label,
        seconds_text(candidate.latency_p50_s),
        seconds_text(candidate.latency_p95_s),
        f"{candidate.prompt_tokens:,}",
        f"{candidate.completion_tokens:,}",
        money_text(candidate.cost),
        f"{candidate.failed:,}",
        "★" if candidate.is_pareto else "",
    ]


# --- terminal ---


def render_table(comparison: Comparison, *, width: int = 120, is_color: bool = False, n_changed: int = 5) -> str:
    """Tables for a terminal: scores and verdicts, cost, slices, the rows that changed most for the worse."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(), width=width, force_terminal=is_color, color_system="auto" if is_color else None
    )
    for metric in comparison.metrics:
        console.print(_metric_table(comparison, metric))

    console.print(_plain_table("Cost", _COST_HEAD, [cost_cells(candidate) for candidate in comparison.candidates]))
    if comparison.slices:
        console.print(_plain_table(f"By {comparison.settings.slice_by}", *_slice_cells(comparison)))

    changed = _changed_cells(comparison, n_changed)
    if changed:
        console.print(
            _plain_table(
                "Rows that changed, worst first", ("line", "variant", "change", "input", "before", "after"), changed
            )
        )

    console.print(headline(comparison), style="bold", markup=False, highlight=False)
    for note in comparison.notes:
        console.print(note, style="dim", markup=False, highlight=False)

    output: io.StringIO = console.file  # type: ignore[assignment]
    return output.getvalue()


def _metric_table(comparison: Comparison, metric: MetricComparison) -> Any:
    from rich.text import Text

    better = ", lower is better" if metric.is_lower_better else ""
    table = _empty_table(f"{metric.name} ({metric.kind}{better})", _SCORE_HEAD)
    for cells, verdict in score_rows(comparison, metric):
        style = _VERDICT_STYLES.get(verdict, "")
        cells[3] = cells[3].replace(" (", "\n").replace(", ", "\n").rstrip(")")
        table.add_row(*(Text(cell, style=style if index == 8 else "") for index, cell in enumerate(cells)))

    return table


def _plain_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from rich.text import Text

    table = _empty_table(title, head)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))

    return table


def _empty_table(title: str, head: Sequence[str]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(head):
        table.add_column(name.strip(), justify="left" if index == 0 else "right", overflow="fold")

    return table


def _slice_cells(comparison: Comparison) -> tuple[tuple[str, ...], list[list[str]]]:
    rows = []
    for item in comparison.slices:
        metric = comparison.metric(item.metric)
        if metric is not None:
            rows.append(
                [
                    item.value,
                    item.metric,
                    item.candidate,
                    score_text(item.mean, metric),
                    interval_text(item.interval, metric),
                    f"{item.n:,}",
                    difference_text(item.difference, metric),
                    difference_interval_text(item.difference_interval, metric),
                ]
            )

    return ("value", "metric", "variant", "score", "interval", "rows", "difference", "interval "), rows


def _changed_cells(comparison: Comparison, n_changed: int) -> list[list[str]]:
    metric = comparison.metrics[0]
    cells = []
    for candidate in comparison.candidates[1:]:
        for row in comparison.changed_rows(metric.name, candidate.label)[:n_changed]:
            change = row.change(metric.name, comparison.baseline, candidate.label)
            cells.append(
                [
                    str(row.line),
                    candidate.label,
                    f"{change:+.3g}",
                    _short(row.inputs, 40),
                    _short(row.outputs.get(comparison.baseline), 24),
                    _short(row.outputs.get(candidate.label) or row.problems.get(candidate.label), 24),
                ]
            )

    return cells


def _short(value: Any, width: int) -> str:
    parts = list(value.values()) if isinstance(value, dict) else [value]
    text = " · ".join(part if isinstance(part, str) else dumps(part) for part in parts)
    return truncate(" ".join(text.split()), width)


# --- Markdown, JSON, CSV ---


def render_markdown(comparison: Comparison, *, n_changed: int = 10) -> str:
    """GitHub-flavoured Markdown, for a pull request."""
    parts = [f"## {comparison.title}", headline(comparison)]
    for metric in comparison.metrics:
        better = ", lower is better" if metric.is_lower_better else ""
        rows = [cells for cells, _ in score_rows(comparison, metric)]
        parts += [f"### {metric.name} ({metric.kind}{better})", _markdown_table(_SCORE_HEAD, rows)]

    parts += ["### Cost", _markdown_table(_COST_HEAD, [cost_cells(candidate) for candidate in comparison.candidates])]
    if comparison.slices:
        parts += [f"### By {comparison.settings.slice_by}", _markdown_table(*_slice_cells(comparison))]

    changed = _changed_cells(comparison, n_changed)
    if changed:
        head = ("line", "variant", "change", "input", "before", "after")
        parts += ["### Rows that changed, worst first", _markdown_table(head, changed)]

    parts.append("\n".join(f"- {note}" for note in comparison.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.strip().replace("|", "\\|") for cell in line) + " |" for line in lines)


def render_json(comparison: Comparison, *, has_rows: bool = False) -> str:
    """Everything the comparison found; with `has_rows` also every row."""
    data = comparison.without_rows() | {"headline": headline(comparison)}
    if has_rows:
        data["rows"] = comparison.rows

    return dumps(data, indent=True)


def render_csv(comparison: Comparison) -> str:
    """One line a row of data: inputs, and output, scores and state of every variant, to recompute the report from."""
    labels = [candidate.label for candidate in comparison.candidates]
    metrics = [metric.name for metric in comparison.metrics]
    input_names = list(dict.fromkeys(name for row in comparison.rows for name in row.inputs))
    head = ["line", *(f"inputs.{name}" for name in input_names)]
    for label in labels:
        head += [f"{label}.output", *(f"{label}.{metric}" for metric in metrics), f"{label}.state"]

    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(map(spreadsheet_cell, head))
    for row in comparison.rows:
        writer.writerow(_csv_cells(row, labels, metrics, input_names))

    return buffer.getvalue()


def _csv_cells(row: RowResult, labels: Sequence[str], metrics: Sequence[str], input_names: Sequence[str]) -> list[Any]:
    cells: list[Any] = [row.line, *(_cell(row.inputs.get(name)) for name in input_names)]
    for label in labels:
        scores = [row.scores[metric].get(label) for metric in metrics]
        states = list(dict.fromkeys(row.states[metric].get(label, "missing") for metric in metrics))
        cells += [_cell(row.outputs.get(label)), *scores, "+".join(states)]

    return cells


def _cell(value: Any) -> Any:
    return spreadsheet_cell(value if value is None or isinstance(value, str | int | float) else dumps(value))
