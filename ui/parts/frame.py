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
    """Where signing in is set up, show nothing to those who have not, or who may not."""
    if not signs_in():
        return

    if not st.user.get("is_logged_in"):
        with st.container(border=True, horizontal_alignment="center"):
            st.markdown("**Sign in to see the studio.**")
            st.button("Sign in", type="primary", on_click=st.login, key="sign_in")
        st.stop()
    if not may_enter(str(st.user.get("email") or ""), is_verified=st.user.get("email_verified") is not False):
        with st.container(border=True, horizontal_alignment="center"):
            st.markdown("**This account may not see the studio.**")
            st.caption(str(st.user.get("email") or "It has no email address."))
            sign_out()
        st.stop()


def signs_in() -> bool:
    """Whether signing in is set up."""
    return bool(st.secrets.load_if_toml_exists()) and "auth" in st.secrets


def may_enter(email: str, *, is_verified: bool) -> bool:
    """Whether an account is among those that are allowed; every account of the provider is when none are named."""
    allowed = st.secrets.get("studio", {}).get("emails")
    return allowed is None or (is_verified and email.lower() in [item.lower() for item in allowed])


def sign_out() -> None:
    """A button that ends the session."""
    st.button("Sign out", icon=":material/logout:", on_click=st.logout, key="sign_out")


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
