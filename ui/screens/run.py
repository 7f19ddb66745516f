"""Run: its lines with filters, the trace of a line, metrics, and what exactly was run."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from parts.components import waterfall
from parts.frame import empty, title
from parts.inspect import show_span
from parts.jobs import queued_notice
from parts.state import show_error, shown_errors, workspace
from parts.tables import column_picker, lines_frame, run_seconds
from parts.text import STATUS_ICONS, ago, duration, number, pairs_of, pairs_text, short

from promptflow_lite.sdk.studio import (
    LineFilter,
    LineResult,
    RunRecord,
    Status,
    rendered_prompts,
    run_title,
    score_names,
    score_range,
    start_resume,
    trace_of_line,
)

PAGE_SIZE = 100
SHORT_TABLE = 9
"""Lines that are shown without a scroll bar."""
STATUSES = {"All": None, "Completed": Status.COMPLETED, "Failed": Status.FAILED}
SORTS = {"Line": "line_number", "Slowest first": "-duration", "Most tokens first": "-tokens", "Status": "status"}


# --- heading ---


def heading(run: RunRecord, evaluations: list[RunRecord]) -> None:
    """Name, status and what can be done."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"### {STATUS_ICONS.get(run.status, '')} {run_title(run)}")
        st.caption(" · ".join(part for part in (run.flow_name or run.flow, run.variant, ago(run.created_on)) if part))
        st.space("stretch")
        actions(run)

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


def actions(run: RunRecord) -> None:
    """Stop it or go on with it; compare and label what it made; change what it is called."""
    if not run.status.is_final:
        if st.button("Cancel", icon=":material/stop:", key="run_cancel"):
            workspace().client.runs.cancel(run.name)
            st.rerun()
    elif run.failed_lines or run.status is not Status.COMPLETED:
        label = "Run failed lines again" if run.failed_lines else "Go on"
        help_text = "Its evaluations then judge those lines too."
        if st.button(label, icon=":material/refresh:", key="run_resume", help=help_text):
            start_resume(run.name)
            st.rerun()
    base = run.run or run.name
    if st.button("Compare with…", icon=":material/balance:", key="run_compare"):
        st.switch_page("screens/compare.py", query_params={"runs": base})
    if st.button("Label", icon=":material/label:", key="run_label"):
        st.switch_page("screens/annotate.py", query_params={"run": base})


# --- lines ---


def choose_lines(run: RunRecord, evaluations: list[RunRecord]) -> tuple[LineFilter, str, Any]:
    """Which lines are shown, in which order, and where the choice of columns goes."""
    with st.container(horizontal=True, vertical_alignment="center"):
        search = st.text_input(
            "Search",
            placeholder="Search inputs, outputs, errors",
            key="line_search",
            label_visibility="collapsed",
            width=260,
        )
        status = st.segmented_control(
            "Status", list(STATUSES), default="All", required=True, key="line_status", label_visibility="collapsed"
        )
        sort = st.selectbox("Sort", list(SORTS), key="line_sort", label_visibility="collapsed", width=170)
        with st.popover("More filters", icon=":material/tune:", key="line_more"):
            slow = st.number_input("Took at least, in seconds", 0.0, value=0.0, step=0.5, key="line_slow")
            score = choose_score(run, evaluations)
        columns_box = st.container(width="content")
    wanted = LineFilter(status=STATUSES[status or "All"], search=search or None, min_seconds=slow or None, score=score)
    return wanted, SORTS[sort], columns_box


def choose_score(run: RunRecord, evaluations: list[RunRecord]) -> Any:
    """A range of a score that an evaluation gave; None for all lines."""
    found = {f"{source.flow_name}.{name}": (source, name) for source in evaluations for name in output_names(source)}
    if not found:
        return None

    chosen = st.selectbox("Score", [None, *found], format_func=lambda name: name or "any", key=f"line_score-{run.name}")
    if chosen is None:
        return None

    left, right = st.columns(2)
    low = left.number_input("From", value=None, key="line_low", placeholder="lowest")
    high = right.number_input("To", value=None, key="line_high", placeholder="highest")
    evaluation, name = found[chosen]
    return score_range(evaluation.name, name, low, high)


def output_names(evaluation: RunRecord) -> list[str]:
    """Outputs of an evaluation that are scores, by its first line."""
    return score_names(workspace().client, evaluation.name)


def lines_tab(run: RunRecord, evaluations: list[RunRecord]) -> None:
    """A page of lines with filters; a selected line opens below."""
    wanted, sort, columns_box = choose_lines(run, evaluations)
    if st.session_state.get("line_filters") != (run.name, wanted, sort):
        st.session_state["line_filters"] = (run.name, wanted, sort)
        st.session_state["line_page"] = 1

    page_number = int(st.session_state.get("line_page", 1))
    first = PAGE_SIZE * (page_number - 1)
    lines, total = workspace().client.runs.page(run.name, wanted, limit=PAGE_SIZE, offset=first, sort=sort)
    if not lines:
        empty("No line fits." if wanted != LineFilter() else "No line is recorded yet.")
        return

    frame = lines_frame(lines, scores_of(evaluations, lines))
    with columns_box:
        shown = column_picker(list(frame.columns), fixed=("Line",), key="line_columns")
    event = st.dataframe(
        frame,
        key=f"lines-{run.name}-{page_number}-{hash((repr(wanted), sort))}",
        hide_index=True,
        height="content" if len(lines) <= SHORT_TABLE else 330,
        column_order=shown,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Line": st.column_config.NumberColumn(width=60),
            "Status": st.column_config.TextColumn(width=110),
            "Tokens": st.column_config.NumberColumn(format="localized", width=70),
        },
    )
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(f"Lines {first + 1:,} to {first + len(lines):,} of {total:,}. Select a line to see its trace.")
        if total > PAGE_SIZE:
            st.pagination(-(-total // PAGE_SIZE), key="line_page")

    rows = event.selection.rows
    if rows and rows[0] < len(lines):
        line_detail(run, lines[rows[0]], evaluations)
    elif st.query_params.get("line", "").isdigit():
        line = workspace().client.runs.line(run.name, int(st.query_params["line"]))
        if line:
            line_detail(run, line, evaluations)


def scores_of(evaluations: list[RunRecord], lines: list[LineResult]) -> dict[str, dict[int, dict[str, Any]]]:
    """What evaluators said of these lines."""
    store = workspace().client.store
    numbers = [line.line_number for line in lines if line.line_number is not None]
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for evaluation in reversed(evaluations):  # of two runs of one evaluator the newer one counts
        judged = store.runs.lines_at(evaluation.name, numbers)
        outputs = {number: line.output for number, line in judged.items() if line.output}
        found[evaluation.flow_name or evaluation.name] = outputs
    return found


# --- one line ---


def line_detail(run: RunRecord, line: LineResult, evaluations: list[RunRecord]) -> None:
    """The trace of a line, what its parts received and gave, its prompts, and what evaluators said."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{STATUS_ICONS.get(line.status, '')} Line {line.line_number}**")
            st.caption(f"{duration(line.duration_s)} · {line.usage.total_tokens} tokens")
            st.space("stretch")
            query = {"flow": workspace().relative(run.flow), "run": run.name, "line": str(line.line_number)}
            if st.button("Open in author with this row", icon=":material/edit:", key=f"author-{line.line_number}"):
                st.switch_page("screens/author.py", query_params=query)
            if st.button("Label", icon=":material/label:", key=f"label-{line.line_number}"):
                st.switch_page("screens/annotate.py", query_params={"run": run.name, "line": str(line.line_number)})

        trace = trace_of_line(line, f"line {line.line_number}")
        selected = waterfall(trace, key=f"trace-{run.name}-{line.line_number}")
        show_span(trace["details"][selected], key=f"span-{run.name}-{line.line_number}")
        for node, prompt in rendered_prompts(line).items():
            with st.expander(f"Prompt of {node}", key=f"prompt-{line.line_number}-{node}"):
                st.code(prompt, language=None, wrap_lines=True)
        verdicts(scores_of(evaluations, [line]))


def verdicts(scores: dict[str, dict[int, dict[str, Any]]]) -> None:
    """What evaluators said of one line."""
    rows = [
        {"Evaluator": name, "Output": output, "Value": short(value)}
        for name, outputs in scores.items()
        for values in outputs.values()
        for output, value in values.items()
    ]
    if rows:
        st.caption("Evaluators")
        st.dataframe(pd.DataFrame(rows), hide_index=True, height="content")


# --- metrics and details ---


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
    left, right = st.columns(2, gap="medium")
    with left:
        if rows:
            st.dataframe(pd.DataFrame(rows), hide_index=True, height="content")
        else:
            empty("No metrics.", "Evaluation flows log them; choose an evaluator on the Batch page.")
    with right:
        times_chart(run)


def times_chart(run: RunRecord) -> None:
    """How long lines took."""
    sample, total = workspace().client.runs.page(run.name, limit=1000)
    times = pd.DataFrame({"seconds": [line.duration_s for line in sample]})
    if len(times) < 2:
        return

    st.caption(f"Time of {'all lines' if len(sample) == total else f'the first {len(sample):,} lines'}")
    chart = (
        alt.Chart(times)
        .mark_bar()
        .encode(x=alt.X("seconds:Q", bin=alt.Bin(maxbins=40), title="seconds"), y=alt.Y("count()", title="lines"))
    )
    st.altair_chart(chart.properties(height=220), width="stretch")


def details_tab(run: RunRecord) -> None:
    """What exactly was run; its name, description and tags can be changed."""
    left, right = st.columns([2, 3], gap="large")
    with left, st.form("run_words", border=False):
        display_name = st.text_input("Display name", run.display_name or run.name, key=f"run_display-{run.name}")
        description = st.text_area("Description", run.description or "", key=f"run_description-{run.name}", height=80)
        tags = st.text_area(
            "Tags, one NAME=VALUE a line",
            pairs_text(run.tags),
            key=f"run_tags-{run.name}",
            height=90,
        )
        if st.form_submit_button("Save", icon=":material/save:"):
            workspace().client.store.runs.update(
                run.name,
                display_name=display_name,
                description=description or None,
                tags=pairs_of(tags),
            )
            st.rerun()
    facts = {
        "Name": run.name,
        "Flow": run.flow,
        "Variant": run.variant,
        "Data": run.data,
        "Base run": run.run,
        "Column mapping": run.column_mapping,
        "Resumed from": run.resume_from,
        "Output folder": run.output_path,
        "Properties": run.properties,
    }
    right.json({name: value for name, value in facts.items() if value}, expanded=2)


def page() -> None:
    """Draw the page."""
    name = st.query_params.get("run") or st.session_state.get("last_run")
    if not name:
        title("Run")
        empty("No run is chosen.", "Open one on the Runs page.")
        return

    client = workspace().client
    if not client.store.runs.exists(name):
        title("Run")
        empty(f"There is no run {name}.", "It may have been deleted. Open another one on the Runs page.")
        return

    st.session_state["last_run"] = st.query_params["run"] = name
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
