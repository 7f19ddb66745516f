"""Batch: a flow over many rows. Data, mapping, variants and evaluators, then start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from parts.frame import empty, title
from parts.jobs import any_active, queued_notice, recent_jobs
from parts.state import data_files, shown_errors, workspace
from parts.tables import runs_table
from parts.text import short

from promptflow_lite.sdk.studio import (
    BatchPlan,
    EvaluationPlan,
    FlowCard,
    auto_evaluation,
    auto_mapping,
    count_rows,
    evaluators,
    flow_graph,
    model_calls,
    preview,
    start_batch,
    unused_name,
)

DEFAULT = "(flow default)"


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
    upload = st.file_uploader("Upload other data", type=["jsonl", "csv", "tsv", "parquet"], key="batch_upload")
    if upload is not None:
        target = card.path / Path(upload.name).name
        if not target.exists() or target.read_bytes() != upload.getvalue():
            target = target if not target.exists() else target.with_stem(f"{target.stem}_uploaded")
            target.write_bytes(upload.getvalue())
        if target not in files:
            files.append(target)

    if not files:
        return None

    default = files.index(target) if upload is not None and target in files else 0
    return st.selectbox("Data", files, index=default, format_func=lambda path: path.name, key="batch_data")


def mapping_table(card: FlowCard, rows: list[dict[str, Any]]) -> dict[str, str]:
    """What each input of the flow reads; matched by name, to be changed."""
    graph = flow_graph(card.path)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    matched = auto_mapping(graph, columns)
    options = [f"${{data.{name}}}" for name in columns]
    mapping: dict[str, str] = {}
    for name, spec in graph.inputs.items():
        has_default = spec.get("default") is not None
        choices = [DEFAULT, *options] if has_default else options
        left, middle, right = st.columns([2, 3, 4], vertical_alignment="center")
        left.markdown(f"`{name}` :gray[{spec.get('type', 'string')}]")
        wanted = matched.get(name)
        chosen = middle.selectbox(
            f"Source of {name}",
            choices,
            index=choices.index(wanted) if wanted in choices else (0 if has_default else None),
            placeholder="choose a column",
            key=f"map-{card.name}-{name}",
            label_visibility="collapsed",
        )
        if chosen and chosen != DEFAULT:
            mapping[name] = chosen
            column = chosen.removeprefix("${data.").removesuffix("}")
            right.caption(" · ".join(short(row.get(column), 60) for row in rows[:3]))
        elif chosen == DEFAULT:
            right.caption(short(spec.get("default"), 80))
        else:
            right.caption(":red[needs a column]")
    return mapping


def choose_variants(card: FlowCard) -> list[str | None]:
    """Variants to run, each as a run of its own."""
    options = [f"${{{node}.{variant}}}" for node, names in card.variants.items() for variant in names]
    if not options:
        return [None]

    chosen = st.pills(
        "Variants: each becomes a run",
        options,
        selection_mode="multi",
        default=options,
        format_func=lambda text: text.strip("${}").replace(".", ": "),
        key=f"batch_variants-{card.name}",
    )
    return list(chosen) or [None]


def choose_evaluators(card: FlowCard, rows: list[dict[str, Any]]) -> tuple[list[EvaluationPlan], int]:
    """Evaluators with their mappings, and the model calls they make a line."""
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
    plans, calls = [], 0
    for name in chosen:
        graph = flow_graph(known[name].path)
        calls += model_calls(graph)
        matched = auto_evaluation(graph, columns, outputs)
        sources = [f"${{run.outputs.{output}}}" for output in outputs] + [f"${{data.{column}}}" for column in columns]
        mapping: dict[str, str] = {}
        with st.container(border=True):
            st.caption(known[name].description or known[name].title)
            for input_name in graph.inputs:
                left, right = st.columns([2, 5], vertical_alignment="center")
                left.markdown(f"`{input_name}`")
                wanted = matched.get(input_name)
                source = right.selectbox(
                    f"{name} {input_name}",
                    sources,
                    index=sources.index(wanted) if wanted in sources else None,
                    placeholder="its default",
                    key=f"eval-{card.name}-{name}-{input_name}",
                    label_visibility="collapsed",
                )
                if source:
                    mapping[input_name] = source
        plans.append(EvaluationPlan(flow=str(known[name].path), mapping=mapping))
    return plans, calls


def local_evaluators(card: FlowCard) -> list[FlowCard]:
    """Evaluation flows of the workspace."""
    return [item for item in workspace().flows() if item.kind == "evaluation" and item.path != card.path]


def unmapped(card: FlowCard, mapping: dict[str, str]) -> list[str]:
    """Inputs that have neither a column nor a default."""
    inputs = flow_graph(card.path).inputs
    return [name for name, spec in inputs.items() if spec.get("default") is None and name not in mapping]


def estimate(card: FlowCard, n_rows: int, n_variants: int, n_evaluators: int, judge_calls: int) -> str:
    """What starting will do, in numbers."""
    calls = n_rows * n_variants * (model_calls(flow_graph(card.path)) + judge_calls)
    runs = n_variants * (1 + n_evaluators)
    lines = n_rows * runs
    plural = "s" if runs > 1 else ""
    return f"{runs} run{plural} · {lines:,} lines · **{calls:,} model calls**"


def live() -> None:
    """Progress of what was started."""
    active = any_active()

    @st.fragment(run_every=1.0 if active else None)
    def progress() -> None:
        queued_notice()
        store = workspace().client.store
        names = [name for job in recent_jobs()[:3] for name in job.names if store.runs.exists(name)]
        runs = [store.runs.get(name) for name in dict.fromkeys(names)]
        children = [child for run in runs for child in store.runs.list(None, base_run=run.name)]
        if runs:
            st.markdown("#### Started here")
            chosen = runs_table([*runs, *children], key="batch_runs", selection="multi-row")
            with st.container(horizontal=True):
                selected = [run.name for run in chosen if not run.run] or [run.name for run in runs]
                if st.button(
                    "Compare",
                    icon=":material/balance:",
                    type="primary",
                    disabled=len(selected) < 2,
                    key="batch_compare",
                ):
                    st.switch_page("screens/compare.py", query_params={"runs": ",".join(selected)})
                if st.button("Open", icon=":material/open_in_full:", disabled=len(chosen) != 1, key="batch_open"):
                    st.switch_page("screens/run.py", query_params={"run": chosen[0].name})
                running = [run for run in runs if not run.status.is_final]
                if st.button("Cancel all", icon=":material/stop:", disabled=not running, key="batch_cancel"):
                    for run in running:
                        workspace().client.runs.cancel(run.name)
        if active and not any_active():
            st.rerun()

    progress()


def page() -> None:
    """Draw the page."""
    title("Batch", "Run a flow over many rows, every variant if you like, and let evaluators judge the outputs.")
    with shown_errors():
        left, right = st.columns([3, 2], gap="medium")
        with left, st.container(border=True):
            st.markdown("##### 1 · Flow and data")
            card = choose_flow()
            if card is None:
                empty("There is no flow to run.", "Make one on the Home page.")
                return

            data = choose_data(card)
            if data is None:
                empty("There is no data beside this flow.", "Upload a file with one row for each line to run.")
                return

            rows = preview(data)
            n_rows = count_rows(data)
            st.dataframe(pd.DataFrame(rows).map(short), hide_index=True, height="content")
            st.caption(f"{n_rows:,} rows; the first {len(rows)} are shown.")
        with left, st.container(border=True):
            st.markdown("##### 2 · Mapping")
            mapping = mapping_table(card, rows)
        with right, st.container(border=True):
            st.markdown("##### 3 · Variants and evaluators")
            variants = choose_variants(card)
            plans, judge_calls = choose_evaluators(card, rows)
        with right, st.container(border=True):
            st.markdown("##### 4 · Start")
            taken = [run.name for run in workspace().client.store.runs.list(500, "all")]
            name = st.text_input("Name", unused_name(card.name, taken), key=f"batch_name-{len(taken)}")
            concurrency = st.slider("Lines at once", 1, 32, 8, key="batch_concurrency")
            st.markdown(estimate(card, n_rows, len(variants), len(plans), judge_calls))
            missing = [
                item
                for item, spec in flow_graph(card.path).inputs.items()
                if spec.get("default") is None and item not in mapping
            ]
            if missing:
                st.caption(f":red[Map these inputs first: {', '.join(missing)}]")
            if st.button(
                "Start",
                type="primary",
                icon=":material/play_arrow:",
                disabled=bool(missing) or not name,
                key="batch_start",
            ):
                plan = BatchPlan(
                    flow=str(card.path), data=str(data), mapping=mapping, variants=variants,
                    evaluations=plans, name=name, concurrency=concurrency,
                )  # fmt: skip
                start_batch(plan)
                st.rerun()
        live()


page()
