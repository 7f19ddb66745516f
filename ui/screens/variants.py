"""Variants: the variants of one node side by side, on the same row or on a sample."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from parts.components import diff, editor
from parts.frame import empty, title
from parts.ops import deliver
from parts.state import AuthorState, author_state, data_rows, show_error, tester, workspace
from parts.text import duration, short

from promptflow_lite.sdk.studio import (
    FlowCard,
    GraphNode,
    PromptflowException,
    TestJob,
    error_card,
    settings_text,
    shown_value,
)

MAX_COLUMNS = 4
POLL_S = 0.3
Jobs = dict[tuple[str, int], TestJob]  # (variant, row) -> the test that runs or ran


def choose_flow() -> AuthorState | None:
    """The flow that is open, or one to choose."""
    cards: list[FlowCard] = [card for card in workspace().flows() if card.is_editable]
    paths = [workspace().relative(card.path) for card in cards]
    asked = st.query_params.get("flow") or st.session_state.get("last_flow")
    if not cards:
        return None

    with_variants = next((index for index, card in enumerate(cards) if card.variants), 0)
    index = paths.index(asked) if asked in paths else with_variants
    chosen = st.selectbox("Flow", paths, index=index, key="variants_flow", width=320)
    st.session_state["last_flow"] = st.query_params["flow"] = chosen
    return author_state(Path(workspace().flow(chosen)))


def choose_node(state: AuthorState) -> str | None:
    """The node whose variants are shown."""
    nodes = [node.name for node in state.document.graph.nodes.values() if node.source]
    if not nodes:
        return None

    asked = st.query_params.get("node") or state.selected
    with_variants = [node for node in nodes if state.document.graph.nodes[node].variants]
    wanted = asked if asked in nodes else (with_variants or nodes)[0]
    return st.selectbox("Node", nodes, index=nodes.index(wanted), key=f"variants_node-{state.document.id}", width=220)


def jobs_of(state: AuthorState, node: str) -> Jobs:
    """Tests of this node's variants."""
    return st.session_state.setdefault(f"variant_jobs-{state.document.id}-{node}", {})


def run_variants(state: AuthorState, node: str, variants: list[str], rows: list[dict[str, Any]]) -> None:
    """Start every variant on every row; they run at the same time."""
    jobs = jobs_of(state, node)
    jobs.clear()
    group = uuid.uuid4().hex
    only = state.document.graph.ancestors(node)
    known = state.document.graph.inputs
    for number, row in enumerate(rows):
        inputs = {**state.inputs, **{name: value for name, value in row.items() if name in known}}
        for variant in variants:
            jobs[variant, number] = tester().run(
                state.document.folder, inputs, variant=f"${{{node}.{variant}}}", only=only, stream=True, group=group
            )


def output_of(job: TestJob, node: str) -> tuple[str, dict[str, Any]]:
    """What a test gave so far, as text, and the node's record."""
    if not job.is_done:
        return job.text.get(node, ""), {}

    result = job.result or {}
    record = next((item for item in result.get("nodes") or [] if item["node"] == node), {})
    if result.get("error"):
        return f"✕ {error_card(result['error'])['message']}", record

    return shown_value(record.get("output"))[0], record


def column(state: AuthorState, node: str, variant: str, base: str | None) -> None:
    """One variant: settings, template, output."""
    document = state.document
    entry = document.graph_of({node: variant}).nodes[node]
    with st.container(border=True):
        column_head(state, entry, variant)
        text = document.project.sources.get(entry.source or "", "")
        if base is None:
            editor(
                text,
                key=f"variant-{document.id}-{node}-{variant}",
                name=entry.source or variant,
                language="python" if (entry.source or "").endswith(".py") else "jinja",
                on_op=lambda op: document.apply({**op, "node": node}) if op["op"] == "set_text" else None,
                height="260px",
            )
        else:
            other = document.graph_of({node: base}).nodes[node]
            before = document.project.sources.get(other.source or "", "")
            diff(
                f"{settings_text(other)}\n---\n{before}",
                f"{settings_text(entry)}\n---\n{text}",
                key=f"vdiff-{document.id}-{node}-{base}-{variant}",
                language="text",
                unified=True,
                height="260px",
            )
        st.caption(settings_text(entry).replace("\n", " · ") or "no settings")
        show_output(jobs_of(state, node).get((variant, 0)), node)


def column_head(state: AuthorState, node: GraphNode, variant: str) -> None:
    """Name of the variant, and what can be done with it."""
    document = state.document
    is_default = variant == node.default_variant
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{variant}**")
        st.space("stretch")
        actions = [
            ("set_default_variant", ":material/check:", "Default" if is_default else "Set default", "", is_default),
            ("add_variant", ":material/content_copy:", "", f"Duplicate {variant}", False),
            ("remove_variant", ":material/delete:", "", f"Remove {variant}", len(node.variants) < 2),
        ]
        for name, icon, label, help_text, disabled in actions:
            op = {"op": name, "node": node.name, "copy_of" if name == "add_variant" else "variant": variant}
            st.button(
                label, key=f"{name}-{variant}", on_click=document.apply, args=(op,), type="tertiary",
                icon=icon if is_default or not label else None, help=help_text or None, disabled=disabled,
            )  # fmt: skip


def show_output(job: TestJob | None, node: str) -> None:
    """Output of the first row as it comes, with what it took."""
    if job is None:
        st.caption("Not run yet.")
        return

    text, record = output_of(job, node)
    st.code(text or " ", language=None, wrap_lines=True)
    if record:
        st.caption(f"{duration(record['ms'] / 1000)} · {record['tokens']} tokens")
    elif not job.is_done:
        has_started = node in job.progress
        st.caption(":material/progress_activity: running" if has_started else ":material/schedule: waiting")


def sample_table(jobs: Jobs, node: str, variants: list[str], rows: list[dict[str, Any]]) -> None:
    """Outputs of a sample: a row of data a line, a variant a column."""
    table = [
        {
            "Row": number,
            **{name: short(value, 80) for name, value in row.items()},
            **{
                variant: short(output_of(jobs[variant, number], node)[0])
                for variant in variants
                if (variant, number) in jobs
            },
        }
        for number, row in enumerate(rows)
    ]
    st.dataframe(pd.DataFrame(table), hide_index=True, height="content")


def page() -> None:
    """Draw the page."""
    title("Variants", "The variants of a node side by side. Edits are saved in the flow; runs use the same rows.")
    try:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            state = choose_flow()
            node = choose_node(state) if state else None
            if state is None or node is None:
                st.empty()
            else:
                controls(state, node)
        if state is None or node is None:
            empty("There is no node to vary.", "Make a flow on the Home page first.")
            return

        draw(state, node)
    except PromptflowException as error:
        show_error(error)


def controls(state: AuthorState, node: str) -> None:
    """Rows, run, add, and the way to a whole batch."""
    st.number_input("Rows", 1, 20, 1, key="variants_rows", width=110)
    variants = state.document.graph.nodes[node].variants
    if any(not job.is_done for job in jobs_of(state, node).values()):
        if st.button("Stop", icon=":material/stop:", key="variants_stop"):
            tester().cancel()
    elif st.button("Run all", type="primary", icon=":material/play_arrow:", disabled=not variants, key="variants_run"):
        rows = sample(state)
        run_variants(state, node, variants, rows)
    add = {"op": "add_variant", "node": node}
    st.button("Add variant", icon=":material/add:", key="variants_add", on_click=state.document.apply, args=(add,))
    if st.button("Compare on data", icon=":material/layers:", key="variants_batch"):
        shown = st.session_state.get(f"variants_shown-{state.document.id}-{node}") or variants[:MAX_COLUMNS]
        query = {"flow": workspace().relative(state.document.folder), "variants": f"{node}:{','.join(shown)}"}
        st.switch_page("screens/batch.py", query_params=query)


def sample(state: AuthorState) -> list[dict[str, Any]]:
    """The first rows of the flow's data; the test values when it has none."""
    count = int(st.session_state.get("variants_rows", 1))
    return data_rows(state.document.folder, count) or [dict(state.inputs)]


def draw(state: AuthorState, node: str) -> None:
    """The columns and the sample."""
    document = state.document
    if document.message:
        st.warning(document.message, icon=":material/block:")

    variants = document.graph.nodes[node].variants
    if not variants:
        empty(f"{node} has no variants.", "Add one: the node as it is becomes variant_0, a copy of it variant_1.")
        return

    shown = variants
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(variants) > MAX_COLUMNS:
            shown = st.multiselect(
                "Shown",
                variants,
                default=variants[:MAX_COLUMNS],
                max_selections=MAX_COLUMNS,
                key=f"variants_shown-{document.id}-{node}",
            )
        view = st.segmented_control(
            "View",
            ["Edit", "Differences"],
            default="Edit",
            required=True,
            key="variants_view",
            label_visibility="collapsed",
        )
    jobs = jobs_of(state, node)
    rows = sample(state)
    is_active = any(not job.is_done for job in jobs.values())

    @st.fragment(run_every=POLL_S if is_active else None)
    def columns() -> None:
        deliver()
        if document.graph.nodes[node].variants != variants:
            st.rerun()
        for slot, variant in zip(st.columns(max(len(shown), 2)), shown, strict=False):
            with slot:
                base = shown[0] if view == "Differences" and variant != shown[0] else None
                column(state, node, variant, base)
        if len(rows) > 1 and jobs:
            sample_table(jobs, node, shown, rows)
        if is_active and all(job.is_done for job in jobs.values()):
            st.rerun()

    columns()


page()
