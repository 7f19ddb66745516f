"""Statuses of runs, lines and nodes."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Status of a run, a line or a node; the values are the original's."""

    RUNNING = "Running"
    PREPARING = "Preparing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    BYPASSED = "Bypassed"
    CANCELED = "Canceled"
    NOT_STARTED = "NotStarted"
    CANCEL_REQUESTED = "CancelRequested"

    @property
    def is_final(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED, Status.BYPASSED, Status.CANCELED)
