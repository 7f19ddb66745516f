"""Time, in one replaceable place."""

from __future__ import annotations

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """What needs time takes one of these, so that tests need not wait."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


SYSTEM_CLOCK: Clock = SystemClock()


def iso_utc(timestamp: float | None) -> str | None:
    """`2026-11-23T09:29:22.000000Z` for a time in seconds since the epoch."""
    if timestamp is None:
        return None

    return dt.datetime.fromtimestamp(timestamp, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def epoch_of(time: str | dt.datetime) -> float:
    """Seconds since the epoch of a moment; one without a zone is UTC.

    Raises:
        ValueError: the text is no ISO 8601 time.
    """
    moment = time if isinstance(time, dt.datetime) else dt.datetime.fromisoformat(time)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
