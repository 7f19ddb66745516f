"""Rate limits and daily quotas."""

from __future__ import annotations

import pytest

from promptflow_lite.errors import QuotaExceededError, RateLimitedError
from promptflow_lite.serving.limits import DAY_S, RateLimiter


class FakeClock:
    def __init__(self) -> None:
        self.time = 10.0 * DAY_S + 100

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_a_bucket_holds_one_minute_and_refills() -> None:
    clock = FakeClock()
    limiter = RateLimiter(clock)
    for _ in range(6):
        limiter.admit("k", rate_per_minute=6, quota_per_day=None)

    with pytest.raises(RateLimitedError) as caught:
        limiter.admit("k", rate_per_minute=6, quota_per_day=None)
    assert caught.value.facts["retry_after_s"] == pytest.approx(10)

    clock.sleep(10.01)
    limiter.admit("k", rate_per_minute=6, quota_per_day=None)
    with pytest.raises(RateLimitedError):
        limiter.admit("k", rate_per_minute=6, quota_per_day=None)


def test_callers_do_not_share_a_bucket() -> None:
    limiter = RateLimiter(FakeClock())
    limiter.admit("a", rate_per_minute=1, quota_per_day=None)
    limiter.admit("b", rate_per_minute=1, quota_per_day=None)

    with pytest.raises(RateLimitedError):
        limiter.admit("a", rate_per_minute=1, quota_per_day=None)


def test_a_quota_lasts_until_midnight() -> None:
    clock = FakeClock()
    limiter = RateLimiter(clock)
    limiter.admit("k", rate_per_minute=None, quota_per_day=2)
    limiter.admit("k", rate_per_minute=None, quota_per_day=2)

    with pytest.raises(QuotaExceededError) as caught:
        limiter.admit("k", rate_per_minute=None, quota_per_day=2)
    assert caught.value.facts["retry_after_s"] == pytest.approx(DAY_S - 100)

    clock.sleep(DAY_S)
    limiter.admit("k", rate_per_minute=None, quota_per_day=2)


def test_a_request_over_the_rate_does_not_use_up_quota() -> None:
    limiter = RateLimiter(FakeClock())
    limiter.admit("k", rate_per_minute=1, quota_per_day=10)
    with pytest.raises(RateLimitedError):
        limiter.admit("k", rate_per_minute=1, quota_per_day=10)

    assert limiter.counts()[1] == {"k": 1}


def test_stored_counts_continue_after_a_restart() -> None:
    clock = FakeClock()
    limiter = RateLimiter(clock)
    limiter.load(10, {"k": 2})
    limiter.load(9, {"other": 5})

    with pytest.raises(QuotaExceededError):
        limiter.admit("k", rate_per_minute=None, quota_per_day=2)
    limiter.admit("other", rate_per_minute=None, quota_per_day=1)
