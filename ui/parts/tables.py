"""Tables of runs and of their lines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
import streamlit as st

from parts.text import ago, duration, number, short, status_mark
from promptflow_lite.sdk.studio import LineResult, RunRecord


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


def runs_frame(runs: list[RunRecord]) -> pd.DataFrame:
    """Runs as rows; a run without metrics shows those of its evaluations, where they are listed too."""
    judged = {run.run: run.metrics for run in runs if run.run and run.metrics}
    return pd.DataFrame(
        [
            {
                "Status": status_mark(run.status),
                "Run": run.display_name or run.name,
                "Flow": run.flow_name or run.flow,
                "Variant": run.variant or "",
                "Done": (run.completed_lines + run.failed_lines) / run.total_lines if run.total_lines else None,
                "Lines": run.completed_lines + run.failed_lines,
                "Failed": run.failed_lines,
                "Metric": main_metric(run.metrics or judged.get(run.name, {})),
                "Tokens": run.prompt_tokens + run.completion_tokens,
                "Time": duration(run_seconds(run)),
                "Started": ago(run.created_on),
            }
            for run in runs
        ]
    )


def runs_table(
    runs: list[RunRecord], *, key: str, selection: Literal["single-row", "multi-row"] | None
) -> list[RunRecord]:
    """Show runs; returns those selected."""
    options: dict[str, Any] = {"on_select": "rerun", "selection_mode": selection} if selection else {}
    event = st.dataframe(
        runs_frame(runs),
        key=key,
        hide_index=True,
        height="content",
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
