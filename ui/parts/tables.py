"""Tables of runs and of their lines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
import streamlit as st

from parts.state import workspace
from parts.text import ago, duration, number, short, status_mark
from promptflow_lite.sdk.studio import LineResult, RunFilter, RunRecord, variants_of


def main_metric(metrics: Mapping[str, Any]) -> str:
    """The first metric that is a number, with its name."""
    for name, value in metrics.items():
        if isinstance(value, int | float):
            return f"{name} {number(value)}"

    return ""


def run_seconds(run: RunRecord) -> float | None:
    """How long a run took, or has taken so far."""
    if run.start_time is None:
        return None

    return (run.end_time or time.time()) - run.start_time


RUN_COLUMNS = [
    "Status", "Run", "Flow", "Variant", "Experiment", "Done", "Lines", "Failed", "Metric", "Tokens", "Time", "Started",
    "Tags", "Evaluates", "Name",
]  # fmt: skip
RARE_RUN_COLUMNS = ("Experiment", "Tags", "Evaluates", "Name")
"""Columns that are shown on request."""


def runs_frame(runs: list[RunRecord]) -> pd.DataFrame:
    """Runs as rows; a run without metrics shows those of its newest evaluation."""
    names = tuple(run.name for run in runs)
    judges, _ = workspace().client.store.runs.page(RunFilter(base_runs=names), limit=None, sort="created")
    judged = {judge.run: judge.metrics for judge in judges if judge.metrics}
    rows = [
        {
            "Status": status_mark(run.status),
            "Run": run.name if "cell" in run.properties else run.display_name or run.name,
            "Flow": run.flow_name or run.flow,
            "Variant": run.variant or ", ".join(f"{node}={name}" for node, name in variants_of(run).items()),
            "Experiment": run.properties.get("experiment") or "",
            "Done": (run.completed_lines + run.failed_lines) / run.total_lines if run.total_lines else None,
            "Lines": run.completed_lines + run.failed_lines,
            "Failed": run.failed_lines,
            "Metric": main_metric(run.metrics or judged.get(run.name, {})),
            "Tokens": run.prompt_tokens + run.completion_tokens,
            "Time": duration(run_seconds(run)),
            "Started": ago(run.created_on),
            "Tags": ", ".join(f"{name}={value}" for name, value in run.tags.items()),
            "Evaluates": run.run or "",
            "Name": run.name,
        }
        for run in runs
    ]
    return pd.DataFrame(rows, columns=RUN_COLUMNS)


def runs_table(
    runs: list[RunRecord],
    *,
    key: str,
    selection: Literal["single-row", "multi-row"] | None,
    columns: Sequence[str] | None = None,
) -> list[RunRecord]:
    """Show runs; returns those selected."""
    options: dict[str, Any] = {"on_select": "rerun", "selection_mode": selection} if selection else {}
    event = st.dataframe(
        runs_frame(runs),
        key=key,
        hide_index=True,
        height="content",
        column_order=columns or [name for name in RUN_COLUMNS if name not in RARE_RUN_COLUMNS],
        column_config={
            "Status": st.column_config.TextColumn(width=110),
            "Run": st.column_config.TextColumn(width="medium"),
            "Done": st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent", width=90),
            "Lines": st.column_config.NumberColumn(format="localized", width=70),
            "Failed": st.column_config.NumberColumn(format="localized", width=60),
            "Tokens": st.column_config.NumberColumn(format="localized", width=80),
        },
        **options,
    )
    rows = event.selection.rows if selection else []
    return [runs[row] for row in rows if row < len(runs)]


def lines_frame(lines: list[LineResult], scores: dict[str, dict[int, dict[str, Any]]]) -> pd.DataFrame:
    """Lines as rows: inputs, outputs, the outputs of evaluators, and what each line took.

    Args:
        lines: The lines of one page.
        scores: Evaluator name -> line number -> its outputs.
    """
    rows = []
    for line in lines:
        row: dict[str, Any] = {"Line": line.line_number, "Status": status_mark(line.status)}
        row |= {f"inputs.{name}": short(value) for name, value in (line.inputs or {}).items() if name != "line_number"}
        row |= {f"outputs.{name}": short(value) for name, value in (line.output or {}).items()}
        for evaluator, outputs in scores.items():
            values = outputs.get(line.line_number or 0, {})
            row |= {f"{evaluator}.{name}": short(value) for name, value in values.items()}
        if line.error:
            row["Error"] = short(line.error.get("message"))
        row |= {"Time": duration(line.duration_s), "Tokens": line.usage.total_tokens}
        rows.append(row)
    frame = pd.DataFrame(rows)
    if "Error" in frame:
        frame["Error"] = frame["Error"].fillna("")

    return frame


def column_picker(columns: list[str], *, fixed: tuple[str, ...], key: str, hidden: tuple[str, ...] = ()) -> list[str]:
    """Which columns of a table are shown: those of `fixed` always, those of `hidden` on request."""
    with st.popover("Columns", icon=":material/view_column:", key=f"{key}-box"):
        choices = [name for name in columns if name not in fixed]
        put_away = set(st.session_state.setdefault(f"{key}.hidden", hidden))
        chosen = st.pills(
            "Columns",
            choices,
            selection_mode="multi",
            default=[name for name in choices if name not in put_away],
            key=f"{key}-{hash(tuple(choices))}",
            label_visibility="collapsed",
        )
        st.session_state[f"{key}.hidden"] = tuple((put_away - set(choices)) | (set(choices) - set(chosen)))
    return [name for name in columns if name in fixed or name in chosen]
