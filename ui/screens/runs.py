"""Runs: what ran and what runs, to find, open, compare, cancel, name or put away."""

from __future__ import annotations

import time

import streamlit as st
from parts.frame import empty, title
from parts.jobs import any_active, queued_notice
from parts.state import shown_errors, workspace
from parts.tables import RARE_RUN_COLUMNS, RUN_COLUMNS, column_picker, runs_table
from parts.text import counted, pairs_of, pairs_text

from promptflow_lite.sdk.studio import RunFilter, RunRecord, Status

PAGE_SIZE = 50
STATUSES = {"All": None, "Running": Status.RUNNING, "Completed": Status.COMPLETED, "Failed": Status.FAILED}
KINDS = {"runs and evaluations": None, "runs": False, "evaluations": True}
DAY_S = 86400.0
AGES = {"any time": None, "last day": DAY_S, "last week": 7 * DAY_S, "last month": 30 * DAY_S}
SORTS = {
    "Newest first": "-created",
    "Oldest first": "created",
    "Name": "name",
    "Longest first": "-duration",
    "Most lines first": "-lines",
    "Most failed first": "-failed",
    "Most tokens first": "-tokens",
}


def filters() -> tuple[RunFilter, str]:
    """Which runs are shown, and in which order."""
    with st.container(horizontal=True, vertical_alignment="center"):
        search = st.text_input(
            "Search",
            placeholder="Search name, flow, variant, tags",
            key="runs_search",
            label_visibility="collapsed",
            width=260,
        )
        status = st.segmented_control(
            "Status", list(STATUSES), default="All", required=True, key="runs_status", label_visibility="collapsed"
        )
        sort = st.selectbox("Sort", list(SORTS), key="runs_sort", label_visibility="collapsed", width=180)
        with st.popover("More filters", icon=":material/tune:", key="runs_more"):
            flows = workspace().client.store.runs.flow_names()
            flow = st.selectbox("Flow", [None, *flows], format_func=lambda name: name or "any", key="runs_flow")
            variant = st.text_input("Variant", placeholder="part of its name", key="runs_variant")
            kind = st.selectbox("What", list(KINDS), key="runs_kind")
            tag = st.text_input("Tag", placeholder="part of its name or value", key="runs_tag")
            age = AGES[st.selectbox("Started", list(AGES), key="runs_age")]
        archived = st.toggle("Archived", key="runs_archived")
    wanted = RunFilter(
        view="archived" if archived else "active",
        status=STATUSES[status or "All"],
        flow_name=flow,
        variant=variant or None,
        is_evaluation=KINDS[kind],
        tag=tag or None,
        since=round(time.time() - age, -2) if age else None,
        search=search or None,
    )
    return wanted, SORTS[sort]


def actions(chosen: list[RunRecord]) -> None:
    """What can be done with the selected runs."""
    client = workspace().client
    names = [run.name for run in chosen]
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Open", disabled=len(chosen) != 1, icon=":material/open_in_full:", key="runs_open"):
            st.switch_page("screens/run.py", query_params={"run": names[0]})
        if st.button(
            "Compare", disabled=len(chosen) < 2, icon=":material/balance:", key="runs_compare", type="primary"
        ):
            st.switch_page("screens/compare.py", query_params={"runs": ",".join(names)})
        active = [run for run in chosen if not run.status.is_final]
        if st.button("Cancel", disabled=not active, icon=":material/stop:", key="runs_cancel"):
            for run in active:
                client.runs.cancel(run.name)
            st.rerun()
        if st.button("Name and tags", disabled=len(chosen) != 1, icon=":material/edit:", key="runs_rename"):
            rename(chosen[0])
        is_archived = bool(chosen) and all(run.is_archived for run in chosen)
        label = "Restore" if is_archived else "Archive"
        if st.button(label, disabled=not chosen, icon=":material/archive:", key="runs_archive"):
            for name in names:
                client.runs.restore(name) if is_archived else client.runs.archive(name)
            st.rerun()
        if st.button("Delete", disabled=not chosen, icon=":material/delete:", key="runs_delete"):
            delete(names)


@st.dialog("Name and tags")
def rename(run: RunRecord) -> None:
    """Change what a run is called and tagged with."""
    name = st.text_input("Display name", run.display_name or run.name, key="rename_name")
    description = st.text_input("Description", run.description or "", key="rename_description")
    tags = st.text_area("Tags, one NAME=VALUE a line", pairs_text(run.tags), key="rename_tags")
    if st.button("Save", type="primary", key="rename_sure"):
        workspace().client.store.runs.update(
            run.name, display_name=name, description=description or None, tags=pairs_of(tags)
        )
        st.rerun()


@st.dialog("Delete runs")
def delete(names: list[str]) -> None:
    """Ask before runs are gone."""
    st.markdown(f"Delete {counted(len(names), 'run')} with everything recorded for them?")
    st.caption(", ".join(names))
    if st.button("Delete for good", type="primary", key="runs_delete_sure"):
        for name in names:
            workspace().client.runs.delete(name)
        st.rerun()


def page_of_runs(wanted: RunFilter, sort: str) -> None:
    """The table with its actions and its pages."""
    if st.session_state.get("runs_filters") != (wanted, sort):
        st.session_state["runs_filters"] = (wanted, sort)
        st.session_state["runs_page"] = 1
    number = int(st.session_state.get("runs_page", 1))
    runs, total = workspace().client.store.runs.page(
        wanted, limit=PAGE_SIZE, offset=PAGE_SIZE * (number - 1), sort=sort
    )
    if not runs:
        is_filtered = wanted != RunFilter()
        empty(
            "No run fits." if is_filtered else "No runs yet.",
            "Change the filters." if is_filtered else "Start one on the Batch page, or with: pfl run create",
        )
        return

    bar = st.container(horizontal=True, horizontal_alignment="distribute")
    with bar:
        buttons = st.container(width="content")
        columns = column_picker(RUN_COLUMNS, fixed=("Status", "Run"), key="runs_columns", hidden=RARE_RUN_COLUMNS)
    key = f"runs-{number}-{hash((repr(wanted), sort))}"
    chosen = runs_table(runs, key=key, selection="multi-row", columns=columns)
    with buttons:
        actions(chosen)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        first = PAGE_SIZE * (number - 1)
        hint = "" if chosen else " Select runs in the first column."
        st.caption(f"Runs {first + 1:,} to {first + len(runs):,} of {total:,}.{hint}")
        if total > PAGE_SIZE:
            st.pagination(-(-total // PAGE_SIZE), key="runs_page")


def page() -> None:
    """Draw the page."""
    title("Runs", "Every batch run of this machine. Select one to open it, or several to compare them.")
    wanted, sort = filters()
    active = any_active()

    @st.fragment(run_every=1.0 if active else None)
    def listing() -> None:
        queued_notice()
        with shown_errors():
            page_of_runs(wanted, sort)
        if active and not any_active():
            st.rerun()

    listing()


page()
