"""Files of a flow's folder: choose one, edit it, make, rename and delete files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

import streamlit as st

from parts.components import editor
from parts.state import show_error
from promptflow_lite.sdk.studio import FlowFiles, PromptflowException, language_of


def file_panel(files: FlowFiles, *, key: str, height: str, on_run: Callable[[], None]) -> None:
    """The files of a folder, one of them in an editor."""
    names = files.names()
    choice = f"{key}-file"
    made = st.session_state.pop(f"{choice}-made", None)
    if made in names:
        st.session_state[choice] = made
    elif st.session_state.get(choice) not in names:
        st.session_state[choice] = names[0] if names else None
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        name = st.selectbox("File", names, key=choice, label_visibility="collapsed", placeholder="No text files")
        if st.button("New", icon=":material/add:", key=f"{key}-new"):
            ask_name(files, choice, None)
        if st.button("Rename", icon=":material/edit:", key=f"{key}-rename", disabled=name is None):
            ask_name(files, choice, name)
        if st.button("Delete", icon=":material/delete:", key=f"{key}-delete", disabled=name is None):
            confirm_delete(files, str(name))
    if name is not None:
        file_editor(files, name, key=key, height=height, on_run=on_run)


def file_editor(files: FlowFiles, name: str, *, key: str, height: str, on_run: Callable[[], None]) -> None:
    """One file in an editor that saves by itself."""
    try:
        file = files.open(name)
    except PromptflowException as error:
        show_error(error)
        return

    if file.conflict is not None:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/warning: **{name}** changed on disk before your text was saved.")
            st.button("Reload", key=f"{key}-reload", on_click=files.reload, args=(name,))
            st.button("Overwrite with mine", key=f"{key}-overwrite", on_click=files.overwrite, args=(name,))

    def on_op(op: Mapping[str, Any]) -> None:
        if op["op"] == "set_text":
            files.save(name, op["text"])
        else:
            on_run()

    text = file.text if file.conflict is None else file.conflict
    editor(text, key=f"{key}-{name}", name=name, language=language_of(name), on_op=on_op, height=height)


@st.dialog("File")
def ask_name(files: FlowFiles, choice: str, name: str | None) -> None:
    """Ask for the path of a new file, or the new path of a file."""
    given = st.text_input("Path below the flow's folder", name or "", placeholder="notes.md", key=f"{choice}-name")
    if st.button("Rename" if name else "Create", type="primary", key=f"{choice}-do"):
        try:
            if name:
                files.rename(name, given)
            else:
                files.create(given)
        except PromptflowException as error:
            show_error(error)
        else:
            st.session_state[f"{choice}-made"] = PurePosixPath(given).as_posix()
            st.rerun()


@st.dialog("Delete a file")
def confirm_delete(files: FlowFiles, name: str) -> None:
    """Delete after a second click."""
    st.markdown(f"Delete **{name}** from the flow's folder?")
    if st.button("Delete", type="primary", key="file-delete-do"):
        try:
            files.delete(name)
        except PromptflowException as error:
            show_error(error)
        else:
            st.rerun()
