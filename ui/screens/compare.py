"""Compare: which variant is better, by how much, and how sure that is; then the rows that changed."""

from __future__ import annotations

import time
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from parts.components import diff
from parts.frame import empty, title
from parts.inspect import show_value
from parts.state import author_state, shown_errors, workspace
from parts.text import duration, short

from promptflow_lite.sdk.studio import (
    ComparisonJob,
    Comparisons,
    EvaluatorError,
    RunRecord,
    chart_rows,
    comparable_names,
    cost_rows,
    headline,
    report_html,
    score_rows,
    sentences,
    variants_of,
)

MAX_CHANGED = 500
QUICK_S = 0.6
"""What takes longer is waited for without keeping the page from opening."""
POLL_S = 0.7
INTERVAL_COLOUR = "#8a93a6"
"""A rule does not follow the theme by itself; this grey is seen on light and on dark."""
COLOURS = {"better": "green", "worse": "red", "inconclusive": "gray"}


def choose() -> list[str]:
    """The runs and experiments to compare."""
    asked = list(dict.fromkeys(name for name in st.query_params.get("runs", "").split(",") if name))
    known = comparable_names(workspace().client)
    chosen = st.multiselect(
        "Runs and experiments; the first is the baseline",
        list(dict.fromkeys([*asked, *known])),
        default=asked,
        format_func=lambda name: known.get(name, name),
        key="compare_runs",
        placeholder="Choose two or more runs, or an experiment",
    )
    if chosen:
        st.query_params["runs"] = ",".join(chosen)
    return chosen


@st.cache_resource(show_spinner=False)
def comparisons() -> Comparisons:
    """Comparisons that were made or are being made, shared by all who look at them."""
    return Comparisons(workspace().client)


def metric_section(comparison: Any, metric: Any) -> None:
    """Table, verdict in words and intervals of one metric."""
    st.markdown(f"#### {metric.name}")
    frame = pd.DataFrame(score_rows(comparison, metric)).set_index("Variant")
    st.dataframe(frame.drop(columns=["Interval of the difference"]), height="content")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        for pair, sentence in zip(metric.pairs, sentences(comparison, metric), strict=True):
            colour = COLOURS.get(pair.verdict, "gray")
            st.markdown(f":{colour}-badge[{pair.verdict}] {sentence}")
    with right:
        interval_chart(chart_rows(metric), comparison.settings.level)


def interval_chart(rows: list[dict[str, Any]], level: float) -> None:
    """Means as points on their intervals."""
    if not rows:
        return

    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("Variant:N", sort=None, title=None, axis=alt.Axis(labelLimit=220))
    )
    bars = base.mark_rule(strokeWidth=3, color=INTERVAL_COLOUR).encode(
        x=alt.X("low:Q", title=f"mean and {level:.0%} interval", scale=alt.Scale(zero=False)), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x="mean:Q", tooltip=["Variant", "mean", "low", "high"]
    )
    st.altair_chart((bars + points).properties(height=40 + 42 * len(rows)), width="stretch")


def changed_section(comparison: Any) -> None:
    """Rows on which a variant and the baseline differ, the worst first."""
    others = [candidate.label for candidate in comparison.candidates[1:]]
    if not others or not comparison.metrics:
        return

    st.markdown("#### Rows that changed")
    with st.container(horizontal=True, vertical_alignment="center"):
        metric = st.selectbox("Metric", [metric.name for metric in comparison.metrics], key="changed_metric", width=220)
        candidate = st.selectbox("Variant", others, key="changed_candidate", width=320)
    rows = comparisons().changed_rows(comparison, metric, candidate)
    if not rows:
        empty("No row scores differently.", f"{candidate} and {comparison.baseline} agree on every row in {metric}.")
        return

    shown = rows[:MAX_CHANGED]
    table = [
        {
            "Line": row.line,
            "Change": row.change(metric, comparison.baseline, candidate),
            **{name: short(value, 120) for name, value in row.inputs.items() if name != "line_number"},
            "Baseline output": short(row.outputs.get(comparison.baseline) or row.problems.get(comparison.baseline)),
            "Variant output": short(row.outputs.get(candidate) or row.problems.get(candidate)),
        }
        for row in shown
    ]
    st.caption(f"{len(rows):,} of {len(comparison.rows):,} rows changed; the worst first.")
    event = st.dataframe(
        pd.DataFrame(table),
        key=f"changed-{metric}-{candidate}",
        hide_index=True,
        height=min(38 + 35 * len(table), 320),
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Line": st.column_config.NumberColumn(width=60),
            "Change": st.column_config.NumberColumn(width=70),
        },
    )
    chosen = event.selection.rows
    if chosen and chosen[0] < len(shown):
        row_detail(comparison, shown[chosen[0]], candidate)


def row_detail(comparison: Any, row: Any, candidate: str) -> None:
    """One row under both variants."""
    runs = {item.label: item.runs[0] for item in comparison.candidates}
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**Line {row.line}**")
            st.space("stretch")
            for label in (comparison.baseline, candidate):
                if st.button(f"Trace of {label}", key=f"trace-{label}-{row.line}", icon=":material/timeline:"):
                    st.switch_page("screens/run.py", query_params={"run": runs[label], "line": str(row.line)})
        show_value("Inputs", dict(row.inputs))
        st.caption(f"{comparison.baseline} (left) and {candidate} (right)")
        texts = [
            as_lines(row.outputs.get(label) or row.problems.get(label)) for label in (comparison.baseline, candidate)
        ]
        diff(texts[0], texts[1], key=f"rowdiff-{row.line}-{candidate}")


def as_lines(value: Any) -> str:
    """An output with one value a line, for a diff."""
    if isinstance(value, dict):
        return "\n".join(f"{name}: {item}" for name, item in value.items())

    return str(value or "")


def promote_section(comparison: Any) -> None:
    """Make the better variants the default of their nodes."""
    better = [
        pair.candidate for metric in comparison.metrics for pair in metric.pairs
        if pair.verdict == "better" and pair.baseline == comparison.baseline
    ]  # fmt: skip
    store = workspace().client.store
    runs = {item.label: store.runs.get(item.runs[0]) for item in comparison.candidates}
    options = [label for label, run in runs.items() if variants_of(run)]
    if not options:
        return

    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown("Promote a variant: it becomes the default in the flow's file.")
        index = options.index(better[0]) if better and better[0] in options else 0
        label = st.selectbox(
            "Variant to promote", options, index=index, key="promote_choice", label_visibility="collapsed", width=320
        )
        if st.button("Promote", icon=":material/arrow_upward:", key="promote"):
            promote(runs[label])


def promote(run: RunRecord) -> None:
    """Write the run's variants as the defaults of their nodes."""
    folder = workspace().flow(workspace().relative(run.flow))
    state = author_state(folder if folder.is_dir() else folder.parent)
    for node, variant in variants_of(run).items():
        if not state.document.apply({"op": "set_default_variant", "node": node, "variant": variant}):
            st.error(state.document.message)
            return

        st.success(f"{variant} is now the default of {node} in {state.document.folder.name}.", icon=":material/check:")


def page() -> None:
    """Draw the page."""
    title("Compare", "Scores on the rows that runs share, with intervals, paired tests and a verdict.")
    names = choose()
    if not names:
        empty(
            "Choose two or more runs, or an experiment.",
            "Runs of the variants of one flow over the same data compare best.",
        )
        return

    with shown_errors():
        job = comparisons().start(names)
        if job.wait(QUICK_S):
            show(job)
        else:
            wait_for(job)


def wait_for(job: ComparisonJob) -> None:
    """A long comparison is made in the background; the page says so and shows it when it is there."""

    @st.fragment(run_every=POLL_S)
    def waiting() -> None:
        if job.wait(0):
            st.rerun()
        with st.container(border=True):
            st.markdown(f"**Comparing {job.n_lines:,} lines…**")
            st.caption(f"{duration(time.time() - job.started)} so far. You can look at other pages meanwhile.")

    waiting()


def show(job: ComparisonJob) -> None:
    """A finished comparison, or why there is none."""
    try:
        comparison = job.result()
    except EvaluatorError as error:
        empty(str(error), error.hint or "")
        return

    if len(comparison.candidates) < 2:
        empty("This is a single variant.", "Choose another run to compare it with.")
        return

    left, right = st.columns([6, 1], vertical_alignment="center")
    left.markdown(f"**{headline(comparison)}**")
    right.download_button(
        "HTML report",
        lambda: report_html(comparison),
        "comparison.html",
        "text/html",
        icon=":material/download:",
        key="report",
        width="stretch",
        wrap=False,
    )
    for metric in comparison.metrics:
        metric_section(comparison, metric)
    promote_section(comparison)
    changed_section(comparison)
    st.markdown("#### Time and cost")
    st.dataframe(pd.DataFrame(cost_rows(comparison)), hide_index=True, height="content")
    for note in comparison.notes:
        st.caption(note)


page()
