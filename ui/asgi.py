"""The studio as an ASGI application; behind a token where other machines can reach it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from parts.gate import TokenGate
from parts.root import AtRoot
from starlette.middleware import Middleware

from promptflow_lite.sdk.studio import gate_token

gate = [Middleware(TokenGate, token=gate_token())] if gate_token() else []
app = st.App(Path(__file__).with_name("app.py"), middleware=[*gate, Middleware(AtRoot)])
