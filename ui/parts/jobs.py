"""Batch processes that the studio started, and whether any run is still going on."""

from __future__ import annotations

import time

import streamlit as st

from parts.state import show_error, workspace
from promptflow_lite.sdk.studio import Job, Status, batch_jobs, is_alive

RECENT_S = 3600.0
SHOWN_ERROR_S = 600.0
_ACTIVE = (Status.RUNNING, Status.PREPARING, Status.CANCEL_REQUESTED)


def recent_jobs() -> list[Job]:
    """Jobs of the last hour."""
    return batch_jobs(within_s=RECENT_S)


def any_active() -> bool:
    """Whether a run is going on or about to start."""
    store = workspace().client.store
    return any(is_alive(job) for job in recent_jobs()) or any(store.runs.list(1, status=status) for status in _ACTIVE)


def queued_notice() -> None:
    """Runs that wait for their turn, and jobs that could not even start."""
    store = workspace().client.store
    for job in recent_jobs():
        if job.error and time.time() - job.started < SHOWN_ERROR_S:
            show_error(job.error)
        elif is_alive(job):
            waiting = [name for name in job.names if not store.runs.exists(name)]
            if waiting:
                st.caption(f":material/schedule: Queued: {', '.join(waiting)}")
