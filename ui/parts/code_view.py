"""A flow without nodes on the author page: its source in an editor, inputs, output, trace and rendered prompt."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from parts.components import waterfall
from parts.file_view import file_editor, file_panel
from parts.inspect import show_span, show_value
from parts.state import CodeState, show_error, tester, workspace
from promptflow_lite.sdk.studio import Parameter, parse_value, trace_rows, value_text

POLL_S = 0.4
EDITOR_HEIGHT = "calc(100vh - 190px)"
TEXT_TYPES = ("", "string", "str", "secret", "prompt_template")


def draw_code_flow(state: CodeState) -> None:
    """The page of a flex flow or a prompty."""
    take_inputs(state)
    header(state)
    left, right = st.columns([1.08, 1], gap="medium")
    with left:
        sources(state)
    with right:
        input_form(state)
        results(state)
    poll(state)


def header(state: CodeState) -> None:
    """Name, state and actions."""
    flow = state.flow
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"### {flow.path.stem}")
        st.badge(flow.kind, color="green")
        n_problems = sum(problem.severity == "error" for problem in flow.problems)
        if n_problems:
            st.badge(f"{n_problems} problem{'s' if n_problems > 1 else ''}", color="red", icon=":material/error:")
        else:
            st.badge("saved", color="green", icon=":material/check:")
        st.space("stretch")
        if state.job is not None:
            if st.button("Stop", icon=":material/stop:", key="stop"):
                tester().cancel()
        elif st.button("Run", type="primary", icon=":material/play_arrow:", key="run_flow"):
            run(state)
            st.rerun()
        query = {"flow": workspace().relative(flow.path)}
        if st.button("Batch", icon=":material/layers:", key="to_batch"):
            st.switch_page("screens/batch.py", query_params=query)
        if st.button("Chat", icon=":material/chat:", key="to_chat"):
            st.switch_page("screens/chat.py", query_params=query)


def run(state: CodeState) -> None:
    """Run the flow with the values of the form."""
    if state.job is None:
        state.job = tester().run(state.flow.path, state.inputs, stream=True)


def sources(state: CodeState) -> None:
    """The texts that make the flow, and the other files of its folder."""
    flow = state.flow
    main = [name for name in (flow.source, flow.definition) if name]
    chosen = st.segmented_control(
        "File", [*main, "Files"], default=main[0] if main else "Files", required=True, key=f"{state.key}-tab",
        label_visibility="collapsed",
    )  # fmt: skip
    if chosen in main:
        file_editor(flow.files, str(chosen), key=state.key, height=EDITOR_HEIGHT, on_run=lambda: run(state))
    else:
        file_panel(flow.files, key=state.key, height=EDITOR_HEIGHT, on_run=lambda: run(state))


def input_key(state: CodeState, parameter: Parameter) -> str:
    return f"{state.key}-input-{parameter.name}"


def take_inputs(state: CodeState) -> None:
    """Take over what was typed, before a click that came with it runs the flow."""
    for parameter in state.flow.parameters():
        text = st.session_state.get(input_key(state, parameter))
        if text == "":
            state.inputs.pop(parameter.name, None)
        elif text is not None:
            state.inputs[parameter.name] = text if parameter.type in TEXT_TYPES else parse_value(text)


def input_form(state: CodeState) -> None:
    """A field for each input."""
    parameters = state.flow.parameters()
    st.caption("Inputs")
    if not parameters:
        st.caption("The flow takes no inputs.")
    for parameter in parameters:
        key = input_key(state, parameter)
        if key not in st.session_state:
            st.session_state[key] = value_text(state.inputs.get(parameter.name))
        label = f"{parameter.name} · {parameter.type}" if parameter.type else parameter.name
        st.text_area(label, key=key, height=68)


def results(state: CodeState) -> None:
    """What the last run gave."""
    problems = state.flow.problems
    names = ["Output", "Trace", f"Problems ({len(problems)})" if problems else "Problems"]
    rendered = state.flow.rendered(state.inputs)
    tabs = st.tabs([*names, "Rendered prompt"] if rendered is not None else names, key=f"{state.key}-results")
    with tabs[0]:
        output(state)
    with tabs[1]:
        trace(state)
    with tabs[2]:
        if not problems:
            st.caption("No problems. Nothing was run to find out.")
        for problem in problems:
            st.markdown(f":red[:material/error:] {problem.message}  \n{problem.hint}")
    if rendered is not None:
        with tabs[3]:
            st.code(rendered, language=None, wrap_lines=True)


def output(state: CodeState) -> None:
    """Streamed text while it runs, then the output or the error."""
    outcome = state.outcome
    if state.job is not None:
        st.caption("Running…")
        for text in state.job.text.values():
            st.markdown(text)
    elif outcome is None:
        st.caption("Run the flow to see what it gives.")
    elif outcome.get("error"):
        show_error(outcome["error"])
    else:
        for name, value in (outcome.get("output") or {}).items():
            show_value(name, value)


def trace(state: CodeState) -> None:
    """The waterfall of the last run."""
    if not state.outcome or not state.outcome.get("start_time"):
        st.caption("Run the flow to see where its time goes.")
        return

    ran: dict[str, Any] = trace_rows(state.outcome, state.flow.path.stem)
    show_span(ran["details"][waterfall(ran, key=f"trace-{state.key}")], key="author")


def poll(state: CodeState) -> None:
    """Draw again while the run has news."""
    drawn = state.job.n_characters if state.job else 0

    @st.fragment(run_every=POLL_S if state.job else None)
    def look() -> None:
        job = state.job
        if job is not None and job.is_done:
            state.outcome, state.job = {**(job.result or {}), "finished": time.time()}, None
            st.rerun()
        elif job is not None and job.n_characters != drawn:
            st.rerun()

    look()
