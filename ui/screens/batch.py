"""Batch: a flow over many rows. Data, mapping, what to combine and what judges it, then start, pause and go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from parts.frame import empty, title
from parts.jobs import any_active, recent_jobs
from parts.state import DATA_SUFFIXES, data_files, show_error, shown_errors, workspace
from parts.tables import runs_table
from parts.text import ago, counted, short

from promptflow_lite.sdk.studio import (
    BatchEstimate,
    BatchPlan,
    EvaluationPlan,
    FlowCard,
    GridRequest,
    Job,
    PromptflowException,
    RunRecord,
    auto_evaluation,
    auto_mapping,
    cancel_job,
    count_rows,
    estimate,
    evaluators,
    flow_graph,
    is_alive,
    mapped_row,
    model_entries,
    parse_sweeps,
    pause_job,
    preview,
    resume_batch,
    start_batch,
    start_resume,
    unused_name,
)

DEFAULT = "(flow default)"
CONSTANT = "(a constant)"
SHOWN_JOBS = 3
MAX_CELLS = 200
MAX_PRESELECTED = 8


# --- flow and data ---


def choose_flow() -> FlowCard | None:
    """The flow to run."""
    cards = [card for card in workspace().flows() if card.is_editable and card.kind != "broken"]
    if not cards:
        return None

    paths = [workspace().relative(card.path) for card in cards]
    asked = st.query_params.get("flow") or st.session_state.get("last_flow")
    index = paths.index(asked) if asked in paths else 0
    chosen = st.selectbox(
        "Flow", range(len(cards)), index=index, format_func=lambda i: f"{cards[i].title} ({paths[i]})", key="batch_flow"
    )
    st.query_params["flow"] = paths[chosen]
    return cards[chosen]


def choose_data(card: FlowCard) -> Path | None:
    """The data file: beside the flow, or uploaded."""
    files = data_files(card.path)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with right.popover("Upload", icon=":material/upload:", width="stretch"):
        upload = st.file_uploader(
            "A row for each line to run", type=[suffix[1:] for suffix in DATA_SUFFIXES], key="batch_upload"
        )
    target = saved_upload(card, upload) if upload is not None else None
    if target is not None and target not in files:
        files.append(target)
    if not files:
        left.caption("There is no data beside this flow.")
        return None

    default = files.index(target) if target is not None else 0
    return left.selectbox("Data", files, index=default, format_func=lambda path: path.name, key="batch_data")


def saved_upload(card: FlowCard, upload: Any) -> Path:
    """The uploaded file beside the flow; a file of that name with other content stays."""
    target = card.path / Path(upload.name).name
    content = upload.getvalue()
    if target.exists() and target.read_bytes() != content:
        target = target.with_stem(f"{target.stem}_uploaded")
    if not target.exists() or target.read_bytes() != content:
        target.write_bytes(content)
    return target


@st.cache_data(show_spinner=False, max_entries=16)
def described(path: str, modified: float) -> tuple[list[dict[str, Any]], int]:
    """The first rows of a file and how many it has; read again when it changes."""
    return preview(path), count_rows(path)


def flow_and_data() -> tuple[FlowCard, Path, list[dict[str, Any]], int] | None:
    """What runs over what; None while something is missing."""
    st.markdown("##### 1 · Flow and data")
    card = choose_flow()
    if card is None:
        empty("There is no flow to run.", "Make one on the Home page.")
        return None

    data = choose_data(card)
    if data is None:
        empty("There is no data beside this flow.", "Upload a file with one row for each line to run.")
        return None

    rows, n_rows = described(str(data), data.stat().st_mtime)
    if not rows:
        empty(f"{data.name} has no rows.", "Choose other data, or upload some.")
        return None

    st.dataframe(pd.DataFrame(rows).map(short), hide_index=True, height="content")
    st.caption(f"{n_rows:,} rows; the first {len(rows)} are shown.")
    return card, data, rows, n_rows


# --- mapping ---


def mapping_table(card: FlowCard, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What each input of the flow reads; matched by name, to be changed."""
    st.markdown("##### 2 · Mapping")
    graph = flow_graph(card.path)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    matched = auto_mapping(graph, columns)
    mapping: dict[str, Any] = {}
    for name, spec in graph.inputs.items():
        source = source_of(card, name, spec, columns, matched.get(name), rows)
        if source is not None:
            mapping[name] = source
    n_matched = sum(mapping.get(name) == source for name, source in matched.items())
    st.caption(f"{n_matched} of {counted(len(graph.inputs), 'input')} matched by name.")
    with st.expander("The first row as the flow gets it", key="batch_mapped"):
        st.json(mapped_row(graph, mapping, rows[0]), expanded=2)
    return mapping


def source_of(
    card: FlowCard,
    name: str,
    spec: dict[str, Any],
    columns: list[str],
    wanted: str | None,
    rows: list[dict[str, Any]],
) -> str | None:
    """A column, a constant, or None for the input's default."""
    has_default = spec.get("default") is not None
    choices = [*([DEFAULT] if has_default else []), *(f"${{data.{column}}}" for column in columns), CONSTANT]
    left, middle, right = st.columns([2, 3, 4], vertical_alignment="center")
    left.markdown(f"`{name}` :small[:gray[{spec.get('type', 'string')}]]")
    chosen = middle.selectbox(
        f"Source of {name}",
        choices,
        index=choices.index(wanted) if wanted in choices else (0 if has_default else None),
        placeholder="choose a column",
        key=f"map-{card.name}-{name}",
        label_visibility="collapsed",
    )
    if chosen is None:
        right.caption(":red[needs a column]")
    elif chosen == DEFAULT:
        right.caption(short(spec.get("default"), 80))
    elif chosen == CONSTANT:
        text = right.text_input(
            f"Constant of {name}",
            key=f"map-constant-{card.name}-{name}",
            placeholder="the same for every row",
            label_visibility="collapsed",
        )
        return text or None
    else:
        column = chosen.removeprefix("${data.").removesuffix("}")
        right.caption(" · ".join(short(row.get(column), 40) for row in rows[:3]))
        return chosen
    return None


def unmapped(card: FlowCard, mapping: dict[str, Any]) -> list[str]:
    """Inputs that have neither a source nor a default."""
    inputs = flow_graph(card.path).inputs
    return [name for name, spec in inputs.items() if spec.get("default") is None and name not in mapping]


# --- what to combine ---


def asked_variants(node: str, names: list[str], otherwise: list[str]) -> list[str]:
    """The variants that the address asks for (`NODE:A,B`)."""
    asked_node, _, asked = st.query_params.get("variants", "").partition(":")
    if not asked_node:
        return otherwise

    return [name for name in asked.split(",") if name in names] if node == asked_node else []


def choose_grid(card: FlowCard) -> GridRequest:
    """Variants of each node, models, values of inputs and repeats; every combination becomes a run.

    Raises:
        PromptflowException: a text is no sweep.
    """
    st.markdown("##### 3 · Combine")
    variants: dict[str, list[str]] = {}
    is_small = math.prod(len(names) for names in card.variants.values()) <= MAX_PRESELECTED
    for node, names in card.variants.items():
        chosen = st.pills(
            f"Variants of {node}",
            names,
            selection_mode="multi",
            default=asked_variants(node, names, names if is_small else []),
            key=f"batch_variants-{card.name}-{node}",
            help="None chosen: the node's default.",
        )
        if chosen:
            variants[node] = list(chosen)
    models = st.multiselect(
        "Models",
        [entry.name for entry in model_entries(workspace().client) if entry.card],
        accept_new_options=True,
        placeholder="As the flow says; or choose and type names",
        key=f"batch_models-{card.name}",
    )
    left, right = st.columns([1, 2])
    repeat = left.number_input("Repeats", 1, 20, 1, key="batch_repeat", help="Repeats of a row are averaged.")
    sweep = right.text_input(
        "Values of inputs", placeholder="classify.temperature=0,0.7", key=f"batch_sweep-{card.name}"
    )
    return GridRequest(variants=variants, models=models, repeat=int(repeat), sweeps=parse_sweeps(sweep.split()))


def choose_evaluators(card: FlowCard, rows: list[dict[str, Any]]) -> list[EvaluationPlan]:
    """Evaluators with their mappings."""
    known = {item.name: item for item in [*evaluators(), *local_evaluators(card)]}
    columns = list(dict.fromkeys(name for row in rows for name in row))
    outputs = list(flow_graph(card.path).outputs)
    chosen = st.multiselect(
        "Evaluators",
        list(known),
        format_func=lambda name: known[name].title,
        placeholder="Choose what judges the outputs",
        key=f"batch_evaluators-{card.name}",
    )
    return [evaluation_plan(card, known[name], columns, outputs) for name in chosen]


def evaluation_plan(card: FlowCard, evaluator: FlowCard, columns: list[str], outputs: list[str]) -> EvaluationPlan:
    """What the inputs of an evaluator read; guessed by name, to be changed."""
    graph = flow_graph(evaluator.path)
    matched = auto_evaluation(graph, columns, outputs)
    sources = [f"${{run.outputs.{output}}}" for output in outputs] + [f"${{data.{column}}}" for column in columns]
    mapping: dict[str, Any] = {}
    with st.container(border=True):
        st.caption(evaluator.description or evaluator.title)
        for name in graph.inputs:
            left, right = st.columns([2, 5], vertical_alignment="center")
            left.markdown(f"`{name}`")
            wanted = matched.get(name)
            source = right.selectbox(
                f"{evaluator.name} {name}",
                sources,
                index=sources.index(wanted) if wanted in sources else None,
                placeholder="its default",
                key=f"eval-{card.name}-{evaluator.name}-{name}",
                label_visibility="collapsed",
            )
            if source:
                mapping[name] = source
    return EvaluationPlan(flow=str(evaluator.path), mapping=mapping)


def local_evaluators(card: FlowCard) -> list[FlowCard]:
    """Evaluation flows of the workspace."""
    return [item for item in workspace().flows() if item.kind == "evaluation" and item.path != card.path]


# --- start ---


def start_box(
    card: FlowCard, data: Path, mapping: dict[str, Any], grid: GridRequest, judges: list[EvaluationPlan]
) -> None:
    """Name, what it will take, and the button."""
    st.markdown("##### 4 · Start")
    taken = [run.name for run in workspace().client.store.runs.list(500, "all")]
    left, right = st.columns([3, 2])
    name = left.text_input("Name", unused_name(card.name, taken), key=f"batch_name-{card.name}-{len(taken)}")
    concurrency = right.number_input("Lines at once", 1, 64, 8, key="batch_concurrency")
    plan = BatchPlan(
        flow=str(card.path), data=str(data), mapping=mapping, grid=grid, evaluations=judges, name=name,
        concurrency=int(concurrency),
    )  # fmt: skip
    try:
        expected = estimate(workspace().client, plan)
    except PromptflowException as error:
        show_error(error)
        return

    show_estimate(expected)
    missing = unmapped(card, mapping)
    if missing:
        st.caption(f":red[Map these inputs first: {', '.join(missing)}]")
    if len(expected.cells) > MAX_CELLS:
        st.caption(f":red[More than {MAX_CELLS} combinations; choose fewer.]")
    is_ready = bool(name) and not missing and len(expected.cells) <= MAX_CELLS
    if st.button("Start", type="primary", icon=":material/play_arrow:", disabled=not is_ready, key="batch_start"):
        start_batch(workspace().client, plan)
        st.rerun()


def show_estimate(expected: BatchEstimate) -> None:
    """What starting will do, in numbers."""
    calls = expected.calls + expected.judge_calls
    naive = expected.naive_calls + expected.judge_calls
    facts = {
        "Runs": expected.n_runs,
        "Lines": expected.n_lines,
        "Model calls": calls,
        "Tokens": expected.tokens,
    }
    with st.container(border=True):
        for column, (name, value) in zip(st.columns(len(facts)), facts.items(), strict=True):
            column.metric(name, f"{value:,}")
        st.caption("Evaluators are included, except in the tokens, which are a rough estimate.")
    if naive > calls:
        st.caption(f"Each combination on its own would make {naive:,} calls; shared work is done once.")
    if len(expected.cells) > 1:
        with st.expander(f"{len(expected.cells)} combinations", key="batch_cells"):
            st.dataframe(pd.DataFrame({"Combination": expected.cells}), height=min(38 + 35 * len(expected.cells), 240))


# --- what was started ---


def live() -> None:
    """Progress of what was started, and the ways to stop it and to go on."""
    active = any_active()

    @st.fragment(run_every=1.0 if active else None)
    def progress() -> None:
        jobs = recent_jobs()[:SHOWN_JOBS]
        if jobs:
            st.markdown("#### Started here")
        for job in jobs:
            job_state(job)
        if active and not any_active():
            st.rerun()

    progress()


def job_state(job: Job) -> None:
    """One job: how far it is, its runs, and what can be done."""
    store = workspace().client.store
    runs = [store.runs.get(name) for name in job.names if store.runs.exists(name)]
    children = [child for run in runs for child in store.runs.list(None, base_run=run.name)]
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{job_title(job)}**")
            st.caption(f"{job_words(job)} · {ago(job.started)}")
            st.space("stretch")
            job_buttons(job, runs)
        if job.error:
            show_error(job.error)
        if is_alive(job):
            done = sum(run.completed_lines + run.failed_lines for run in runs)
            total = sum(run.total_lines or 0 for run in runs) * len(job.names) / max(len(runs), 1)
            st.progress(min(done / total, 1.0) if total else 0.0, f"{done:,} of {total:,.0f} lines")
        if runs:
            chosen = runs_table([*runs, *children], key=f"batch_runs-{job.id}", selection="single-row")
            if chosen:
                st.switch_page("screens/run.py", query_params={"run": chosen[0].name})


def job_title(job: Job) -> str:
    """The experiment's name, or the run that is continued."""
    return str(job.request["plan"]["name"]) if job.kind == "grid" else f"{job.names[0]}, failed lines again"


def job_words(job: Job) -> str:
    """How a job stands."""
    if is_alive(job):
        return f"running {job.progress['cell']}" if job.progress.get("cell") else "starting"

    if job.error or not job.is_finished:
        return "failed" if job.error else "ended unexpectedly"

    saved = job.progress.get("shared")
    return job.stopped or ("done" + (f", {counted(saved, 'node run')} shared" if saved else ""))


def job_buttons(job: Job, runs: Sequence[RunRecord]) -> None:
    """Stop, go on, compare."""
    if is_alive(job):
        if job.kind == "grid" and st.button("Pause", icon=":material/pause:", key=f"pause-{job.id}"):
            pause_job(job)
        if st.button("Cancel", icon=":material/stop:", key=f"cancel-{job.id}"):
            cancel_job(job)
        return

    again = resume_label(job, runs)
    if again and st.button(again, icon=":material/play_arrow:", key=f"again-{job.id}"):
        resume_batch(job) if job.kind == "grid" else start_resume(job.names[0])
        st.rerun(scope="app")
    if len(runs) > 1 and st.button("Compare", icon=":material/balance:", type="primary", key=f"compare-{job.id}"):
        st.switch_page("screens/compare.py", query_params={"runs": job_title(job)})


def resume_label(job: Job, runs: Sequence[RunRecord]) -> str:
    """What going on means for a job; empty when nothing is left to do."""
    if job.stopped == "paused":
        return "Go on"

    if job.stopped or job.error or len(runs) < len(job.names):
        return "Finish"

    return "Run failed lines again" if any(run.failed_lines for run in runs) else ""


def page() -> None:
    """Draw the page."""
    title("Batch", "Run a flow over many rows, every combination if you like, and let evaluators judge the outputs.")
    with shown_errors():
        left, right = st.columns([3, 2], gap="medium")
        with left, st.container(border=True):
            found = flow_and_data()
        if found is not None:
            card, data, rows, _ = found
            with left, st.container(border=True):
                mapping = mapping_table(card, rows)
            with right, st.container(border=True):
                grid = choose_grid(card)
                judges = choose_evaluators(card, rows)
            with right, st.container(border=True):
                start_box(card, data, mapping, grid, judges)
    with shown_errors():
        live()


page()
