"""Author: a flow as cells and as a graph, edited and run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from parts.code_view import draw_code_flow
from parts.components import canvas, editor, notebook, waterfall
from parts.file_view import file_panel
from parts.frame import empty, title
from parts.inspect import show_span
from parts.state import AuthorState, author_state, code_state, data_rows, show_error, tester, workspace

from promptflow_lite.sdk.studio import (
    MISSING,
    PromptflowException,
    canvas_data,
    flow_choices,
    is_code_flow,
    known_value,
    notebook_data,
    parse_value,
    problems_by_node,
    shown_value,
    trace_rows,
)

VIEWS = ["Split", "Cells", "Graph", "YAML"]
POLL_S = 0.4
FLOWS_TTL_S = 20
TEXT_STEP = 80
"""Characters of streamed text between two drawings of the page."""
CELLS_HEIGHT = "calc(100vh - 138px)"
CANVAS_HEIGHT = "calc(54vh - 60px)"


# --- what the canvas and the cells ask for --------------------------------------------------------------------------


def on_op(state: AuthorState, op: Mapping[str, Any]) -> None:
    """Apply one operation of the canvas or of the cells."""
    name, node = op["op"], op.get("node")
    if name == "select":
        state.selected = node
    elif name == "set_test":
        set_test(state, str(op["input"]), str(op["value"]))
    elif name == "run":
        run_node(state, node)
    elif name == "run_to":
        run_to(state, str(node))
    elif name == "open":
        state.selected, state.goto = node, f"screens/{op['page']}.py"
    else:
        before = set(state.document.graph.nodes)
        if state.document.apply(op):
            follow(state, op, before)


def follow(state: AuthorState, op: Mapping[str, Any], before: set[str]) -> None:
    """Keep results and selection in step with an edit."""
    name, node = op["op"], op.get("node")
    if name == "rename":
        if str(node) in state.results:
            state.results[op["name"]] = state.results.pop(str(node))
        state.selected = op["name"]
    elif name == "add":
        state.selected = next((item for item in state.document.graph.nodes if item not in before), None)
    elif name == "delete":
        for gone in op["nodes"]:
            state.results.pop(gone, None)
        state.selected = None
    elif name == "rename_flow_input" and op["input"] in state.inputs:
        state.inputs[op["name"]] = state.inputs.pop(op["input"])
    elif name == "show_variant":
        state.results.pop(str(node), None)


def set_test(state: AuthorState, name: str, text: str) -> None:
    """Take over a test value as its declared type."""
    declared = state.document.graph.inputs.get(name, {}).get("type")
    if text == "":
        state.inputs.pop(name, None)
    else:
        state.inputs[name] = text if declared in ("string", "secret", "file_path") else parse_value(text)


# --- running --------------------------------------------------------------------------------------------------------


def variant_of(state: AuthorState, node: str | None) -> str | None:
    """The variant on display, where it is not the default one: only one can be chosen at a time."""
    names = [node] if node else []
    for name in [*names, *state.document.shown]:
        entry = state.document.graph.nodes.get(name)
        if entry and entry.variant and entry.variant != entry.default_variant:
            return f"${{{name}.{entry.variant}}}"

    return None


def run_flow(state: AuthorState) -> None:
    """Run all nodes."""
    if not state.is_running:
        state.results = {}
        state.job = tester().run(
            state.document.folder, state.inputs, variant=variant_of(state, state.selected), stream=True
        )


def run_to(state: AuthorState, node: str) -> None:
    """Run a node and everything it needs."""
    if not state.is_running:
        only = state.document.graph.ancestors(node)
        state.job = tester().run(state.document.folder, state.inputs, variant=variant_of(state, node), only=only)


def run_node(state: AuthorState, node: str | None) -> None:
    """Run one node with the last outputs of those before it; those that never ran are run too."""
    graph = state.document.graph
    if state.is_running or node not in graph.nodes:
        return

    entry = graph.nodes[node]
    values = {
        name: known_value(entry.inputs[name], state.results, state.inputs)
        for name, _ in entry.references()
        if name in entry.inputs
    }
    if any(value is MISSING for value in values.values()) or entry.is_mapped or entry.is_aggregation:
        run_to(state, node)
    else:
        state.job = tester().run_node(state.document.folder, node, values, variant=variant_of(state, node))


# --- parts of the page ----------------------------------------------------------------------------------------------


def header(state: AuthorState) -> str:
    """Name, state and actions; returns the chosen view."""
    document = state.document
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"### {document.folder.name}")
        n_problems = sum(problem.severity == "error" for problem in document.problems)
        if document.conflict:
            st.badge("changed on disk", color="orange", icon=":material/warning:")
        elif n_problems:
            st.badge(f"{n_problems} problem{'s' if n_problems > 1 else ''}", color="red", icon=":material/error:")
        else:
            st.badge("saved", color="green", icon=":material/check:")
        view = st.segmented_control(
            "View", VIEWS, default="Split", required=True, key="author_view", label_visibility="collapsed"
        )
        st.space("stretch")
        row_picker(state)
        if state.is_running:
            if st.button("Stop", icon=":material/stop:", key="stop"):
                tester().cancel()
        else:
            st.button(
                "Run flow", type="primary", icon=":material/play_arrow:", key="run_flow", on_click=state.ask_for_run
            )
        query = {"flow": workspace().relative(document.folder)}
        if st.button("Batch", icon=":material/layers:", key="to_batch"):
            st.switch_page("screens/batch.py", query_params=query)
        if st.button("Chat", icon=":material/chat:", key="to_chat"):
            st.switch_page("screens/chat.py", query_params=query)
    return view or "Split"


def row_picker(state: AuthorState) -> None:
    """Take the test values from a row of the flow's data."""
    rows = data_rows(state.document.folder, limit=200)
    if not rows:
        return

    def take() -> None:
        number = st.session_state["author_row"]
        if number is not None:
            known = state.document.graph.inputs
            state.inputs |= {name: value for name, value in rows[number].items() if name in known}

    st.selectbox(
        "Test row",
        range(len(rows)),
        index=None,
        format_func=lambda number: f"Row {number}",
        placeholder="Test row",
        key="author_row",
        on_change=take,
        label_visibility="collapsed",
        width=120,
    )


def conflict_banner(state: AuthorState) -> None:
    """Say that a file changed on disk, and let the user decide."""
    document = state.document
    if document.conflict:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/warning: **{', '.join(document.conflict)}** changed on disk since it was opened.")
            st.button("Reload", key="reload", on_click=document.reload)
            st.button("Overwrite with mine", key="overwrite", on_click=document.overwrite)
    elif document.message:
        st.warning(document.message, icon=":material/block:")


def cells(state: AuthorState, height: str) -> None:
    """The flow as cells."""
    data = notebook_data(
        state.document,
        state.live_results,
        inputs=state.inputs,
        connections=workspace().client.connections.names(),
    )
    data |= {"selected": state.selected, "busy": state.is_running, "height": height}
    notebook(data, key=f"cells-{state.document.id}", on_op=lambda op: on_op(state, op))


def graph(state: AuthorState, height: str) -> None:
    """The flow as a graph."""
    document = state.document
    data = canvas_data(document, state.live_results, flows_to_add(document.folder))
    data |= {
        "selected": state.selected,
        "can_undo": document.can_undo,
        "can_redo": document.can_redo,
        "height": height,
    }
    canvas(data, key=f"canvas-{document.id}", on_op=lambda op: on_op(state, op))


@st.cache_data(ttl=FLOWS_TTL_S, show_spinner=False)
def flows_to_add(folder: Path) -> list[dict[str, str]]:
    """Flows of the workspace that can be nodes."""
    return flow_choices(folder, workspace().flows())


def yaml_view(state: AuthorState) -> None:
    """The flow's file as text."""
    document = state.document
    lints = [
        {
            "line": problem.where.line,
            "column": problem.where.column,
            "message": problem.message,
            "severity": problem.severity,
        }
        for problem in document.problems
        if problem.where and problem.where.line and problem.where.path.endswith(document.file.name)
    ]
    names = [f"${{inputs.{name}}}" for name in document.graph.inputs]
    names += [f"${{{name}.output}}" for name in document.graph.nodes]
    editor(
        document.project.yaml,
        key=f"yaml-{document.id}",
        name="flow.dag.yaml",
        language="yaml",
        on_op=lambda op: document.apply(op) if op["op"] == "set_text" else run_flow(state),
        height=CELLS_HEIGHT,
        lints=lints,
        suggestions=[{"label": name} for name in names],
    )


def inspector(state: AuthorState) -> None:
    """What the last run gave, its trace, problems and files."""
    n_problems = len(state.document.problems)
    output, trace, problems, files = st.tabs(
        ["Output", "Trace", f"Problems ({n_problems})" if n_problems else "Problems", "Files"], key="inspector"
    )
    with output:
        outcome_tab(state)
    with trace:
        trace_tab(state)
    with problems:
        problems_tab(state)
    with files:
        files_tab(state)


def outcome_tab(state: AuthorState) -> None:
    """The outputs of the flow."""
    outcome = state.outcome
    if state.job is not None:
        st.caption("Running…")
        for text in state.job.text.values():
            st.markdown(text)
        return

    if outcome is None:
        st.caption("Run the flow to see what it gives.")
    elif outcome.get("error"):
        show_error(outcome["error"])
    else:
        for name, value in (outcome.get("output") or {}).items():
            text, language = shown_value(value)
            st.caption(name)
            st.code(text, language="json" if language == "json" else None, wrap_lines=True)
        for name, value in (outcome.get("metrics") or {}).items():
            st.metric(name, value)


def trace_tab(state: AuthorState) -> None:
    """The waterfall of the last run."""
    outcome = state.outcome
    if not outcome or not outcome.get("nodes"):
        st.caption("Run the flow to see where its time goes.")
        return

    ran = trace_rows(outcome, state.document.folder.name)
    show_span(ran["details"][waterfall(ran, key=f"trace-{state.document.id}")], key="author")


def problems_tab(state: AuthorState) -> None:
    """What validation found."""
    if not state.document.problems:
        st.caption("No problems. Nothing was run to find out.")
    for node, problems in problems_by_node(state.document).items():
        for problem in problems:
            colour = "red" if problem.severity == "error" else "orange"
            where = f" · `{Path(problem.where.path).name}:{problem.where.line}`" if problem.where else ""
            st.markdown(f":{colour}[:material/error:] **{node or 'flow'}**{where}  \n{problem.message}")
            if problem.hint:
                st.caption(problem.hint)


def files_tab(state: AuthorState) -> None:
    """The text files of the flow's folder."""
    document = state.document
    file_panel(document.files, key=f"files-{document.id}", height="240px", on_run=lambda: run_flow(state))


def poll(state: AuthorState, drawn: tuple[int, int]) -> None:
    """Look after the running test, and draw the page again when it has more to show than what was drawn."""

    @st.fragment(run_every=POLL_S if state.is_running else None)
    def look() -> None:
        if state.take_outcome() or news(state) != drawn:
            st.rerun()

    look()


def news(state: AuthorState) -> tuple[int, int]:
    """Changes as the current test goes on: nodes start and end, now and then there is more text."""
    job = state.job
    return (0, 0) if job is None else (job.n_events, job.n_characters // TEXT_STEP)


def take_line(state: AuthorState, run: str, line: int) -> None:
    """Use the inputs of a recorded line as test values."""
    found = workspace().client.store.runs.line(run, line)
    if found and found.inputs:
        known = state.document.graph.inputs
        state.inputs = {name: value for name, value in found.inputs.items() if name in known}
        state.results = {}
        st.toast(f"Test values are those of line {line} of {run}.")


def page() -> None:
    """Draw the page."""
    asked = st.query_params.get("flow") or st.session_state.get("last_flow")
    if not asked:
        title("Author")
        empty("No flow is open.", "Choose one on the Home page.")
        st.page_link("screens/home.py", label="Go to the flows", icon=":material/arrow_back:")
        return

    st.session_state["last_flow"] = st.query_params["flow"] = asked
    try:
        path = workspace().flow(asked)
        if is_code_flow(path):
            draw_code_flow(code_state(path))
            return

        state = author_state(path)
    except PromptflowException as error:
        title("Author")
        show_error(error)
        return

    wanted = (st.query_params.get("run"), st.query_params.get("line"))
    if wanted[0] and wanted[1] and st.session_state.get("taken_line") != wanted:
        st.session_state["taken_line"] = wanted
        take_line(state, wanted[0], int(wanted[1]))

    state.take_outcome()
    draw(state)
    if state.goto:
        target, state.goto = state.goto, None
        st.switch_page(target, query_params={"flow": asked, "node": state.selected or ""})


def draw(state: AuthorState) -> None:
    """Draw an open flow."""
    if state.wants_run:
        state.wants_run = False
        run_flow(state)

    drawn = news(state)
    view = header(state)
    conflict_banner(state)
    if view == "Split":
        left, right = st.columns([1.08, 1], gap="small")
        with left:
            cells(state, CELLS_HEIGHT)
        with right:
            graph(state, CANVAS_HEIGHT)
            inspector(state)
    elif view == "Cells":
        cells(state, CELLS_HEIGHT)
    elif view == "Graph":
        graph(state, CELLS_HEIGHT)
    else:
        yaml_view(state)
    poll(state, drawn)


page()
