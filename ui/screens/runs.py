"""Runs: what ran and what runs, to open, compare, cancel or put away."""

from __future__ import annotations

import streamlit as st
from parts.frame import empty, title
from parts.jobs import any_active, queued_notice
from parts.state import shown_errors, workspace
from parts.tables import runs_table

from promptflow_lite.sdk.studio import RunRecord, Status

PAGE_SIZE = 50
STATUSES = {"All": None, "Running": Status.RUNNING, "Completed": Status.COMPLETED, "Failed": Status.FAILED}


def filters() -> tuple[str, Status | None, bool]:
    """Search text, status and whether archived runs are shown."""
    with st.container(horizontal=True, vertical_alignment="center"):
        search = st.text_input(
            "Search", placeholder="Search by name or flow", key="runs_search", label_visibility="collapsed", width=280
        )
        status = st.segmented_control(
            "Status", list(STATUSES), default="All", required=True, key="runs_status", label_visibility="collapsed"
        )
        archived = st.toggle("Archived", key="runs_archived")
    return search, STATUSES[status or "All"], archived


def found_runs(search: str, status: Status | None, archived: bool) -> tuple[list[RunRecord], bool]:
    """One page of runs, and whether there are more."""
    page = int(st.session_state.get("runs_page", 1))
    runs = workspace().client.store.runs.list(
        PAGE_SIZE * page + 1, view="archived" if archived else "active", status=status, search=search or None
    )
    return runs[PAGE_SIZE * (page - 1) : PAGE_SIZE * page], len(runs) > PAGE_SIZE * page


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
        is_archived = bool(chosen) and all(run.is_archived for run in chosen)
        label = "Restore" if is_archived else "Archive"
        if st.button(label, disabled=not chosen, icon=":material/archive:", key="runs_archive"):
            for name in names:
                client.runs.restore(name) if is_archived else client.runs.archive(name)
            st.rerun()
        if st.button("Delete", disabled=not chosen, icon=":material/delete:", key="runs_delete"):
            delete(names)
        if not chosen:
            st.caption("Select runs in the first column of the table.")


@st.dialog("Delete runs")
def delete(names: list[str]) -> None:
    """Ask before runs are gone."""
    st.markdown(f"Delete {len(names)} run{'s' if len(names) > 1 else ''} with everything recorded for them?")
    st.caption(", ".join(names))
    if st.button("Delete for good", type="primary", key="runs_delete_sure"):
        for name in names:
            workspace().client.runs.delete(name)
        st.rerun()


def page() -> None:
    """Draw the page."""
    title("Runs", "Every batch run of this machine. Select one to open it, or several to compare them.")
    search, status, archived = filters()
    active = any_active()

    @st.fragment(run_every=1.0 if active else None)
    def listing() -> None:
        queued_notice()
        with shown_errors():
            runs, has_more = found_runs(search, status, archived)
            if not runs:
                is_filtered = bool(search or status or archived)
                empty(
                    "No run fits." if is_filtered else "No runs yet.",
                    "Change the filters." if is_filtered else "Start one on the Batch page, or with: pfl run create",
                )
                return

            bar = st.container()
            page_number = int(st.session_state.get("runs_page", 1))
            chosen = runs_table(
                runs, key=f"runs-{page_number}-{hash((search, status, archived))}", selection="multi-row"
            )
            with bar:
                actions(chosen)
            if has_more or page_number > 1:
                st.pagination(page_number + int(has_more), key="runs_page")
        if active and not any_active():
            st.rerun()

    listing()


page()
