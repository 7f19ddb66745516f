"""The studio's own components: canvas, cells, editor, diff and trace."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import streamlit as st

from parts.ops import OnOp, inbox_of


@functools.cache
def _component(name: str) -> Any:
    # Registered on first use: outside of a running app there is nowhere to register it.
    return st.components.v2.component(
        f"promptflow-lite.{name}", js=f"{name}-*.js", css=f"{name}-*.css", html='<div class="pfl-mount"></div>'
    )


def safe_key(key: str) -> str:
    """A component's key; Streamlit forbids some texts in it that names of runs and variants may hold."""
    return f"c-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def with_ops(name: str, data: Mapping[str, Any], *, key: str, on_op: OnOp) -> None:
    """Show a component that sends operations; `deliver` applies them."""
    key = safe_key(key)
    inbox = inbox_of(key, on_op)
    payload = {**data, "ack": inbox.ack, "epoch": inbox.epoch}
    _component(name)(key=key, data=payload, default={"ops": []}, on_ops_change=lambda: None)


def canvas(data: Mapping[str, Any], *, key: str, on_op: OnOp) -> None:
    """The flow as a graph."""
    with_ops("flow_canvas", data, key=key, on_op=on_op)


def notebook(data: Mapping[str, Any], *, key: str, on_op: OnOp) -> None:
    """The flow as cells."""
    with_ops("code_cell", data, key=key, on_op=on_op)


def editor(
    text: str,
    *,
    key: str,
    name: str,
    language: str,
    on_op: OnOp,
    height: str = "360px",
    readonly: bool = False,
    lints: list[dict[str, Any]] | None = None,
    suggestions: list[dict[str, str]] | None = None,
) -> None:
    """One text to edit."""
    data = {
        "mode": "editor",
        "id": name,
        "text": text,
        "language": language,
        "readonly": readonly,
        "lints": lints or [],
        "suggestions": suggestions or [],
        "height": height,
    }
    with_ops("code_cell", data, key=key, on_op=on_op)


def diff(
    before: str, after: str, *, key: str, language: str = "text", unified: bool = False, height: str = "auto"
) -> None:
    """Two texts and what differs between them."""
    data = {"mode": "diff", "before": before, "after": after, "language": language, "unified": unified}
    with_ops("code_cell", {**data, "height": height}, key=key, on_op=lambda op: None)


def waterfall(trace: Mapping[str, Any], *, key: str) -> str:
    """A trace; returns the id of the span that is selected."""
    key = safe_key(key)
    selected = (st.session_state.get(key) or {}).get("selected") or trace["spans"][0]["id"]
    if selected not in trace["details"]:
        selected = trace["spans"][0]["id"]

    data = {"spans": trace["spans"], "total_ms": trace["total_ms"], "selected": selected}
    _component("trace_waterfall")(key=key, data=data, default={"selected": None}, on_selected_change=lambda: None)
    return str(selected)
