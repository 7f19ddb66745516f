"""How much a key may ask: a token bucket a minute and a quota a day."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from promptflow_lite._utils.clock import SYSTEM_CLOCK, Clock
from promptflow_lite.errors import QuotaExceededError, RateLimitedError

DAY_S = 86400


class RateLimiter:
    """Counts requests of each caller.

    The rate is a token bucket that refills continuously and holds one minute's worth. Counts of the day live in memory;
    `load` starts them from what was stored and `counts` hands them to whoever stores them.
    Thread: any.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._bucket_by_caller: dict[str, tuple[float, float]] = {}
        self._day = self._today()
        self._count_by_caller: dict[str, int] = {}

    def load(self, day: int, count_by_caller: Mapping[str, int]) -> None:
        """Continue the counts of a day that were stored earlier."""
        with self._lock:
            if day == self._day:
                for caller, count in count_by_caller.items():
                    self._count_by_caller[caller] = max(count, self._count_by_caller.get(caller, 0))

    def counts(self) -> tuple[int, dict[str, int]]:
        """The day (days since the epoch, UTC) and the requests of each caller in it."""
        with self._lock:
            return self._day, dict(self._count_by_caller)

    def admit(self, caller: str, *, rate_per_minute: int | None, quota_per_day: int | None) -> None:
        """Count one request, or refuse it.

        Raises:
            RateLimitedError: the bucket is empty.
            QuotaExceededError: the day's requests are used up.
        """
        if rate_per_minute is None and quota_per_day is None:
            return

        with self._lock:
            if quota_per_day is not None:
                self._check_quota(caller, quota_per_day)

            if rate_per_minute is not None:
                self._take(caller, rate_per_minute)

            if quota_per_day is not None:
                self._count_by_caller[caller] = self._count_by_caller.get(caller, 0) + 1

    def _check_quota(self, caller: str, quota: int) -> None:
        today = self._today()
        if today != self._day:
            self._day, self._count_by_caller = today, {}

        if self._count_by_caller.get(caller, 0) >= quota:
            raise QuotaExceededError(
                f"This key may send {quota} requests a day, and has.",
                hint="The count starts again at 00:00 UTC.",
                retry_after_s=(today + 1) * DAY_S - self._clock.now(),
            )

    def _take(self, caller: str, rate: int) -> None:
        now = self._clock.monotonic()
        level, filled_at = self._bucket_by_caller.get(caller, (float(rate), now))
        level = min(float(rate), level + (now - filled_at) * rate / 60)
        if level < 1:
            self._bucket_by_caller[caller] = (level, now)
            raise RateLimitedError(
                f"This key may send {rate} requests a minute.", retry_after_s=(1 - level) * 60 / max(rate, 1e-9)
            )

        self._bucket_by_caller[caller] = (level - 1, now)

    def _today(self) -> int:
        return int(self._clock.now() // DAY_S)
