"""The studio behind a token, for addresses that other machines can reach."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from parts.gate import TokenGate
from starlette.middleware import Middleware

from promptflow_lite.sdk.studio import gate_token

app = st.App(
    Path(__file__).with_name("app.py"),
    middleware=[Middleware(TokenGate, token=gate_token())],
)
