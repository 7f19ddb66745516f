"""What a person said about one output."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanLabel:
    """One annotator's label of one line of a run."""

    run: str
    line: int
    annotator: str
    name: str
    """What was asked, such as `quality`."""
    value: str
    """The label; a number as text on a graded scale."""
    comment: str = ""
    created_on: float = 0.0
    """Seconds since the epoch."""
