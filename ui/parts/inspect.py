"""What went into a span and what came out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from promptflow_lite.sdk.studio import error_card, shown_value


def show_value(label: str, value: Any) -> None:
    """A value with its name."""
    st.caption(label)
    if value in (None, {}, ""):
        st.caption("—")
        return

    text, language = shown_value(value)
    st.code(text, language="json" if language == "json" else None, wrap_lines=True)


def show_span(details: Mapping[str, Any], *, key: str) -> None:
    """Inputs and output side by side; error and log where there are any."""
    if details.get("error"):
        card = error_card(details["error"])
        st.error("\n\n".join(part for part in (card["message"], card["hint"], card["where"]) if part))

    left, right = st.columns(2)
    with left:
        show_value("Inputs", details.get("inputs"))
    with right:
        show_value("Output", details.get("output"))
    if details.get("log"):
        show_value("Log", details["log"])
    if details.get("attributes"):
        with st.expander("Attributes", key=f"{key}-attributes"):
            st.json(details["attributes"], expanded=2)
