"""Endpoints: served flows, their traffic, and the trace behind a request."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st
from parts.colours import SERIES
from parts.components import waterfall
from parts.frame import empty, title
from parts.inspect import show_span
from parts.state import shown_errors, workspace
from parts.text import ago, duration, short

from promptflow_lite.sdk.studio import Traffic, endpoints, served_names, trace_of_request, traffic

REFRESH_S = 2.0


def deployments(name: str) -> None:
    """Which versions answer, and with which share."""
    spec = next((item for item in endpoints(workspace().client) if item.name == name), None)
    if spec is None:
        return

    total = sum(item.weight for item in spec.deployments) or 1.0
    rows = [
        {
            "Deployment": item.name,
            "Flow": workspace().relative(item.flow),
            "Variant": (item.variant or "").strip("${}"),
            "Traffic": item.weight / total,
            "Mirrored": item.mirror_fraction,
            "State": "draining" if item.is_draining else "serving",
        }
        for item in spec.deployments
    ]
    share = st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent", width=110)
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, height="content", column_config={"Traffic": share, "Mirrored": share}
    )


def numbers(seen: Traffic) -> None:
    """The last hour."""
    with st.container(border=True, horizontal=True, gap="large"):
        st.metric("Requests", f"{seen.n_requests:,}", width="content")
        st.metric("A minute", f"{seen.per_minute:.1f}", width="content")
        st.metric("Failed", f"{seen.n_failed:,}", width="content")
        st.metric("Median", duration(seen.p50_ms / 1000 if seen.p50_ms is not None else None) or "–", width="content")
        st.metric(
            "95 % below", duration(seen.p95_ms / 1000 if seen.p95_ms is not None else None) or "–", width="content"
        )
        st.metric("Tokens", f"{seen.tokens:,}", width="content")


def chart(seen: Traffic) -> None:
    """Latency over time."""
    if len(seen.requests) < 2:
        return

    frame = pd.DataFrame(
        {
            "time": pd.to_datetime([item.start_time for item in seen.requests], unit="s"),
            "milliseconds": [item.duration_ms for item in seen.requests],
            "deployment": [item.deployment for item in seen.requests],
        }
    )
    points = alt.Chart(frame).mark_circle(size=28, opacity=0.7).encode(
        x=alt.X("time:T", title=None),
        y=alt.Y("milliseconds:Q"),
        color=alt.Color("deployment:N", title=None, scale=SERIES),
    )  # fmt: skip
    st.altair_chart(points.properties(height=180), width="stretch")


def requests_table(name: str, seen: Traffic) -> None:
    """Recent requests; a selected one opens its trace."""
    shown = seen.requests[:100]
    rows = [
        {
            "When": ago(item.start_time),
            "Status": item.status_code,
            "Deployment": f"{item.deployment} (shadow)" if item.is_shadow else item.deployment,
            "Inputs": short(item.inputs),
            "Output": short(item.output if item.error is None else item.error.get("message")),
            "Time": duration(item.duration_ms / 1000),
            "Tokens": item.prompt_tokens + item.completion_tokens,
        }
        for item in shown
    ]
    event = st.dataframe(
        pd.DataFrame(rows),
        key=f"requests-{name}",
        hide_index=True,
        height=min(38 + 35 * len(rows), 300),
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Status": st.column_config.NumberColumn(width=60),
            "When": st.column_config.TextColumn(width=80),
        },
    )
    chosen = event.selection.rows
    if chosen and chosen[0] < len(shown):
        request = shown[chosen[0]]
        trace = trace_of_request(request)
        with st.container(border=True):
            st.markdown(f"**Request {request.request_id}**")
            show_span(trace["details"][waterfall(trace, key=f"request-{request.request_id}")], key=request.request_id)


def page() -> None:
    """Draw the page."""
    title("Endpoints", "Flows that are served, their traffic of the last hour, and what each request did.")
    with shown_errors():
        names = served_names(workspace().client)
        if not names:
            empty("Nothing is served yet.", "Serve a flow with: pfl serve FLOW")
            return

        name = st.segmented_control("Endpoint", names, default=names[0], required=True, label_visibility="collapsed")
        deployments(name)

        @st.fragment(run_every=REFRESH_S)
        def live() -> None:
            seen = traffic(workspace().client, name)
            numbers(seen)
            chart(seen)
            if seen.requests:
                requests_table(name, seen)
            else:
                st.caption("No requests in the last hour.")

        live()


page()
