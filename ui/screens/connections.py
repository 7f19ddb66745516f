"""Connections: endpoints and keys. Secrets can be written, never read."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st
from parts.frame import empty, title
from parts.state import show_error, shown_errors, workspace
from parts.text import pairs_of

from promptflow_lite.sdk.studio import PromptflowException, connection_from_data, connection_kinds

FIRST = ("open_ai", "azure_open_ai", "custom")


def listing(records: list[dict[str, Any]]) -> None:
    """The connections, with nothing secret in sight."""
    rows = [
        {
            "Name": record["name"],
            "Type": record.get("type", ""),
            "Settings": ", ".join(
                f"{name}={value}"
                for name, value in record.items()
                if name not in HIDDEN and value not in (None, "", {})
            ),
            "Changed": str(record.get("last_modified_date", ""))[:16].replace("T", " "),
        }
        for record in records
    ]
    event = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height="content",
        on_select="rerun",
        selection_mode="single-row",
        key="connections_table",
    )
    chosen = event.selection.rows
    if chosen and chosen[0] < len(records):
        name = records[chosen[0]]["name"]
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{name}**")
            if st.button("Replace", icon=":material/edit:", key="connection_replace"):
                edit(records[chosen[0]])
            if st.button("Delete…", icon=":material/delete:", key="connection_delete"):
                delete(name)


HIDDEN = {"name", "type", "module", "created_date", "last_modified_date", "expiry_time", "is_default"}


@st.dialog("Delete a connection")
def delete(name: str) -> None:
    """Ask before a connection is gone."""
    st.markdown(f"Delete **{name}** with its secrets? Flows that name it will not run any more.")
    if st.button("Delete for good", type="primary", key="connection_delete_sure"):
        workspace().client.connections.delete(name)
        st.rerun()


@st.dialog("Connection", width="medium")
def edit(record: dict[str, Any] | None) -> None:
    """Write a connection; secrets left empty keep what is stored."""
    kinds = {kind.yaml_type: kind for kind in connection_kinds()}
    order = [*FIRST, *(name for name in kinds if name not in FIRST)]
    name = st.text_input("Name", record["name"] if record else "", disabled=record is not None, key="connection_name")
    given = next((kind.yaml_type for kind in kinds.values() if record and kind.type == record.get("type")), FIRST[0])
    kind = kinds[
        st.selectbox("Type", order, index=order.index(given), disabled=record is not None, key="connection_type")
    ]
    data: dict[str, Any] = {"name": name, "type": kind.yaml_type}
    for key in kind.config_keys:
        before = (record or {}).get(key) or kind.defaults.get(key)
        value = st.text_input(key, str(before or ""), key=f"connection_{key}")
        if value:
            data[key] = value
    for key in kind.secret_keys:
        hint = "stored; leave empty to keep it" if record else "a value, or ${env:NAME}"
        value = st.text_input(key, type="password", placeholder=hint, key=f"connection_{key}", autocomplete="off")
        data[key] = value or ("<no-change>" if record else "")
    if kind.yaml_type == "custom":
        configs = st.text_area("Settings, one NAME=VALUE a line", key="connection_configs")
        secrets = st.text_area("Secrets, one NAME=VALUE a line", key="connection_secrets")
        data["configs"], data["secrets"] = pairs_of(configs), pairs_of(secrets)
    if st.button("Save", type="primary", key="connection_save"):
        try:
            workspace().client.connections.create_or_update(connection_from_data(data))
        except PromptflowException as error:
            show_error(error)
        else:
            st.rerun()


def page() -> None:
    """Draw the page."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        title("Connections", "Endpoints and their keys. Secrets are encrypted on this machine and never shown again.")
        if st.button("New connection", type="primary", icon=":material/add:", key="connection_new"):
            edit(None)
    with shown_errors():
        records = workspace().client.connections.list()
        if records:
            listing(records)
        else:
            empty("No connections yet.", "Flows without one run on the default model of this machine.")


page()
