"""The frame of every page: pages of the navigation, logo and the few styles that the theme cannot set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

ICON = Path(__file__).with_name("icon.svg")
_LOGO = Path(__file__).with_name("logo.svg")

PAGES: dict[str, list[dict[str, Any]]] = {
    "": [
        {"page": "screens/home.py", "title": "Home", "default": True},
        {"page": "screens/author.py", "title": "Author"},
        {"page": "screens/variants.py", "title": "Variants"},
        {"page": "screens/chat.py", "title": "Chat"},
        {"page": "screens/batch.py", "title": "Batch"},
        {"page": "screens/runs.py", "title": "Runs"},
        {"page": "screens/run.py", "title": "Run", "visibility": "hidden"},
        {"page": "screens/compare.py", "title": "Compare"},
        {"page": "screens/annotate.py", "title": "Annotate"},
        {"page": "screens/models.py", "title": "Models"},
        {"page": "screens/connections.py", "title": "Connections"},
        {"page": "screens/endpoints.py", "title": "Endpoints"},
    ],
}

_STYLE = """
<style>
.stMainBlockContainer { padding: 4.4rem 1.75rem 1.5rem; }
.stMainBlockContainer h2 { padding: 0 0 1rem; font-size: 1.7rem; }
.stMainBlockContainer h3 { padding: 0 0 1rem; font-size: 1.4rem; }
.stMainBlockContainer h4 { padding: 0.9rem 0 1rem; font-size: 1.15rem; }
.stMainBlockContainer h5 { padding: 0 0 1rem; font-size: 1rem; }
[data-testid="stMetric"] { padding: 0; min-width: 7rem; }
[data-testid="stMetricValue"] { font-size: 1.35rem; }
.stVerticalBlock { gap: 0.7rem; }
</style>
"""


def frame() -> None:
    """Draw what all pages share."""
    st.logo(str(_LOGO), size="medium")
    st.html(_STYLE)
    require_sign_in()


def require_sign_in() -> None:
    """Where signing in is set up, show nothing to those who have not."""
    if not st.secrets.load_if_toml_exists() or "auth" not in st.secrets or st.user.is_logged_in:
        return

    with st.container(border=True, horizontal_alignment="center"):
        st.markdown("**Sign in to see the studio.**")
        st.button("Sign in", type="primary", on_click=st.login, key="sign_in")
    st.stop()


def title(text: str, caption: str = "") -> None:
    """A page's heading with one line that says what the page is for."""
    with st.container(gap=None):
        st.markdown(f"## {text}")
        if caption:
            st.caption(caption)


def empty(message: str, hint: str = "") -> None:
    """What a list shows when it has nothing to show."""
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown(f"**{message}**", text_alignment="center")
        if hint:
            st.caption(hint, text_alignment="center")
