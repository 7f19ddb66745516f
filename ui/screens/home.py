"""Home: the flows of the workspace, templates to start from, and the latest runs."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from parts.frame import empty, sign_out, signs_in, title
from parts.state import shown_errors, workspace
from parts.tables import runs_table
from parts.text import ago, counted

from promptflow_lite.sdk.studio import FlowCard, PromptflowException, templates

COLUMNS = 3
KIND_COLOURS = {"chat": "violet", "evaluation": "orange", "flex": "green", "prompty": "green", "broken": "red"}


def open_flow(path: Path) -> None:
    """Go to the author page of a flow."""
    st.switch_page("screens/author.py", query_params={"flow": workspace().relative(path)})


@st.dialog("New flow")
def new_flow(template: FlowCard | None) -> None:
    """Ask for a name and make the flow."""
    space = workspace()
    if template:
        st.markdown(f"From **{template.title}**: {template.description}")
    taken = {card.path.name for card in space.flows()}
    stem = template.name if template else "my_flow"
    suggestion = next(name for n in range(1, 1000) if (name := stem if n == 1 else f"{stem}_{n}") not in taken)
    name = st.text_input("Name of the folder", suggestion, key="new_flow_name")
    if st.button("Create", type="primary", key="create_flow"):
        try:
            made = space.create_from_template(template.path, name) if template else space.create_empty(name)
        except PromptflowException as error:
            st.error(f"{error} {error.hint or ''}")
        else:
            open_flow(made)


def flow_card(card: FlowCard) -> None:
    """A flow of the workspace."""
    with st.container(border=True, height=156, gap=None, vertical_alignment="distribute"):
        with st.container(gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.markdown(f"**{card.title}**")
                st.badge(card.kind, color=KIND_COLOURS.get(card.kind, "blue"))
            st.caption(card.problem or card.description or "No description.")
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            n_variants = sum(len(names) for names in card.variants.values())
            counts = [
                counted(count, noun) for count, noun in ((card.n_nodes, "node"), (n_variants, "variant")) if count
            ]
            st.caption(" · ".join([*counts, ago(card.modified)]))
            if st.button("Open", key=f"open-{card.path}", type="tertiary"):
                open_flow(card.path)


def template_card(card: FlowCard) -> None:
    """A template."""
    with st.container(border=True, height=148, gap=None, vertical_alignment="distribute"):
        with st.container(gap="xsmall"):
            st.markdown(f"**{card.title}**")
            st.caption(card.description)
        if st.button("Use template", key=f"use-{card.name}", type="tertiary", icon=":material/add:"):
            new_flow(card)


def grid(cards: list[FlowCard], draw: object) -> None:
    """Cards side by side."""
    for start in range(0, len(cards), COLUMNS):
        for column, card in zip(st.columns(COLUMNS), cards[start : start + COLUMNS], strict=False):
            with column:
                draw(card)  # type: ignore[operator]


def page() -> None:
    """Draw the page."""
    space = workspace()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        title("Flows", str(space.root))
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            if signs_in():
                st.caption(str(st.user.get("email") or st.user.get("name") or ""))
                sign_out()
            if st.button("New flow", type="primary", icon=":material/add:", key="new_flow"):
                new_flow(None)

    with shown_errors():
        flows = space.flows()
        if flows:
            grid(flows, flow_card)
        else:
            empty("This folder has no flows yet.", "Start from a template below, or put a flow folder here.")

    st.markdown("#### Start from a template")
    grid(templates(), template_card)

    st.markdown("#### Recent runs")
    with shown_errors():
        runs = space.client.store.runs.list(8)
        if runs:
            runs_table(runs, key="recent", selection=None)
        else:
            empty("No runs yet.", "Run a flow over data on the Batch page, or with: pfl run create")


page()
