"""Run: its lines with filters, the trace of a line, metrics, and what exactly was run."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from parts.components import waterfall
from parts.frame import empty, title
from parts.inspect import show_span, show_value
from parts.jobs import queued_notice
from parts.state import show_error, shown_errors, workspace
from parts.tables import lines_frame, run_seconds
from parts.text import STATUS_ICONS, ago, duration, number, short

from promptflow_lite.sdk.studio import LineResult, RunRecord, Status, start_resume, trace_of_line

PAGE_SIZE = 100
STATUSES = {"All": None, "Completed": Status.COMPLETED, "Failed": Status.FAILED}
SORTS = {"Line": "line_number", "Slowest first": "-duration", "Most tokens first": "-tokens", "Status": "status"}


def heading(run: RunRecord, evaluations: list[RunRecord]) -> None:
    """Name, status and what can be done."""
    client = workspace().client
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"### {STATUS_ICONS.get(run.status, '')} {run.display_name or run.name}")
        st.caption(f"{run.flow_name or run.flow} {run.variant or ''} · {ago(run.created_on)}")
        st.space("stretch")
        if not run.status.is_final:
            if st.button("Cancel", icon=":material/stop:", key="run_cancel"):
                client.runs.cancel(run.name)
                st.rerun()
        elif run.failed_lines or run.status is not Status.COMPLETED:
            if st.button("Run failed lines again", icon=":material/refresh:", key="run_resume"):
                start_resume(run.name)
                st.rerun()
        base = run.run or run.name
        if st.button("Compare with…", icon=":material/balance:", key="run_compare"):
            st.switch_page("screens/compare.py", query_params={"runs": base})
        if st.button("Label", icon=":material/label:", key="run_label"):
            st.switch_page("screens/annotate.py", query_params={"run": base})

    finished = run.completed_lines + run.failed_lines
    facts: dict[str, Any] = {
        "Lines": f"{finished:,} of {run.total_lines:,}" if run.total_lines else f"{finished:,}",
        "Failed": f"{run.failed_lines:,}",
        "Time": duration(run_seconds(run)),
        "Tokens": f"{run.prompt_tokens + run.completion_tokens:,}",
    }
    metrics = dict(run.metrics)
    for evaluation in evaluations:
        metrics |= evaluation.metrics
    facts |= {name: number(value) for name, value in metrics.items() if isinstance(value, int | float)}
    with st.container(border=True, horizontal=True, gap="large"):
        for name, value in facts.items():
            st.metric(name, value, width="content")


def lines_tab(run: RunRecord, evaluations: list[RunRecord]) -> None:
    """A page of lines with filters; a selected line opens below."""
    with st.container(horizontal=True, vertical_alignment="center"):
        search = st.text_input(
            "Search",
            placeholder="Search inputs, outputs, errors",
            key="line_search",
            label_visibility="collapsed",
            width=280,
        )
        status = st.segmented_control(
            "Status", list(STATUSES), default="All", required=True, key="line_status", label_visibility="collapsed"
        )
        sort = st.selectbox("Sort", list(SORTS), key="line_sort", label_visibility="collapsed", width=180)

    filters = (search, status, sort)
    if st.session_state.get("line_filters") != (run.name, filters):
        st.session_state["line_filters"] = (run.name, filters)
        st.session_state["line_page"] = 1

    page_number = int(st.session_state.get("line_page", 1))
    lines, total = workspace().client.store.runs.page_lines(
        run.name,
        limit=PAGE_SIZE,
        offset=PAGE_SIZE * (page_number - 1),
        status=STATUSES[status or "All"],
        search=search or None,
        sort=SORTS[sort],
    )
    if not lines:
        empty("No line fits." if search or status != "All" else "No line is recorded yet.")
        return

    event = st.dataframe(
        lines_frame(lines, scores_of(evaluations, lines)),
        key=f"lines-{run.name}-{page_number}-{hash(filters)}",
        hide_index=True,
        height=min(38 + 35 * len(lines), 330),
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Line": st.column_config.NumberColumn(width=60),
            "Status": st.column_config.TextColumn(width=110),
            "Tokens": st.column_config.NumberColumn(format="localized", width=70),
        },
    )
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        first = PAGE_SIZE * (page_number - 1)
        st.caption(f"Lines {first + 1:,} to {first + len(lines):,} of {total:,}. Select a line to see its trace.")
        if total > PAGE_SIZE:
            st.pagination(-(-total // PAGE_SIZE), key="line_page")

    rows = event.selection.rows
    if rows and rows[0] < len(lines):
        line_detail(run, lines[rows[0]], evaluations)
    elif st.query_params.get("line", "").isdigit():
        line = workspace().client.store.runs.line(run.name, int(st.query_params["line"]))
        if line:
            line_detail(run, line, evaluations)


def scores_of(evaluations: list[RunRecord], lines: list[LineResult]) -> dict[str, dict[int, dict[str, Any]]]:
    """What evaluators said of these lines."""
    store = workspace().client.store
    return {
        (evaluation.flow_name or evaluation.name): {
            line.line_number: found.output
            for line in lines
            if line.line_number is not None
            and (found := store.runs.line(evaluation.name, line.line_number)) is not None
            and found.output
        }
        for evaluation in evaluations
    }


def line_detail(run: RunRecord, line: LineResult, evaluations: list[RunRecord]) -> None:
    """The trace of a line, and what each of its parts received and gave."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{STATUS_ICONS.get(line.status, '')} Line {line.line_number}**")
            st.caption(f"{duration(line.duration_s)} · {line.usage.total_tokens} tokens")
            st.space("stretch")
            space = workspace()
            flow = space.relative(run.flow)
            query = {"flow": flow, "run": run.name, "line": str(line.line_number)}
            if st.button("Open in author with this row", icon=":material/edit:", key=f"author-{line.line_number}"):
                st.switch_page("screens/author.py", query_params=query)
            if st.button("Label", icon=":material/label:", key=f"label-{line.line_number}"):
                st.switch_page("screens/annotate.py", query_params={"run": run.name, "line": str(line.line_number)})

        trace = trace_of_line(line, f"line {line.line_number}")
        selected = waterfall(trace, key=f"trace-{run.name}-{line.line_number}")
        show_span(trace["details"][selected], key=f"span-{run.name}-{line.line_number}")
        for name, outputs in scores_of(evaluations, [line]).items():
            for value in outputs.values():
                show_value(f"Evaluated by {name}", value)


def shown_metric(value: Any) -> str:
    """A metric as text; some are more than a number."""
    return number(value) if isinstance(value, int | float) else short(value)


def metrics_tab(run: RunRecord, evaluations: list[RunRecord]) -> None:
    """Metrics of the run and of its evaluations, and how long lines took."""
    rows = [
        {
            "From": source.flow_name or source.name,
            "Metric": name,
            "Value": number(value) if isinstance(value, int | float) else str(value),
        }
        for source in [run, *evaluations]
        for name, value in source.metrics.items()
    ]
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", width=560)
    else:
        empty("No metrics.", "Evaluation flows log them; choose an evaluator on the Batch page.")

    sample, _ = workspace().client.store.runs.page_lines(run.name, limit=1000)
    times = pd.DataFrame({"seconds": [line.duration_s for line in sample]})
    if len(times) > 1:
        st.caption(f"Time of {'the first 1,000 lines' if len(sample) == 1000 else 'all lines'}")
        chart = (
            alt.Chart(times)
            .mark_bar()
            .encode(x=alt.X("seconds:Q", bin=alt.Bin(maxbins=40), title="seconds"), y=alt.Y("count()", title="lines"))
        )
        st.altair_chart(chart.properties(height=200), width="stretch")


def details_tab(run: RunRecord) -> None:
    """What exactly was run."""
    facts = {
        "Name": run.name,
        "Flow": run.flow,
        "Variant": run.variant,
        "Data": run.data,
        "Base run": run.run,
        "Column mapping": run.column_mapping,
        "Tags": run.tags,
        "Resumed from": run.resume_from,
        "Output folder": run.output_path,
        "Properties": run.properties,
    }
    st.json({name: value for name, value in facts.items() if value}, expanded=2)


def page() -> None:
    """Draw the page."""
    name = st.query_params.get("run") or st.session_state.get("last_run")
    if not name:
        title("Run")
        empty("No run is chosen.", "Open one on the Runs page.")
        return

    st.session_state["last_run"] = st.query_params["run"] = name
    client = workspace().client
    with shown_errors():
        run = client.runs.get(name)
        evaluations = client.store.runs.list(None, base_run=name)

        @st.fragment(run_every=None if run.status.is_final else 1.0)
        def live_heading() -> None:
            latest = client.runs.get(name)
            heading(latest, evaluations)
            if latest.status.is_final and not run.status.is_final:
                st.rerun()

        live_heading()
        queued_notice()
        if run.error:
            show_error(run.error)
        lines, metrics, details = st.tabs(["Lines", "Metrics", "Details"], key="run_tabs")
        with lines:
            lines_tab(run, evaluations)
        with metrics:
            metrics_tab(run, evaluations)
        with details:
            details_tab(run)


page()
