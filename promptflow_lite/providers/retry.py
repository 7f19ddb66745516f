"""Trying again, and not too often: retries with patience, and a limit on requests and tokens per minute.

**Why a patience.** The original tries up to 100 times with waits of up to a minute, so one dead endpoint can hold a run
for an hour and a half. Here the same waits apply, but all tries of one request together may take `patience_s` (five
minutes unless the user says otherwise), and a `Retry-After` that exceeds what is left ends them at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from promptflow_lite._utils.clock import SYSTEM_CLOCK, Clock
from promptflow_lite.errors import ExceedMaxRetryTimes, OpenAIError

Result = TypeVar("Result")

WINDOW_S = 60.0
_TRANSIENT_CONNECTION_ERRORS = ("connection aborted", "server disconnected", "connection reset")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to go on trying one request."""

    max_attempts: int = 100
    patience_s: float = 300.0
    """Waits and tries of one request together; no new try starts later."""
    max_same_refusals: int = 3
    """How often in a row the server may call one request unprocessable."""

    def delay_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Seconds to wait after the attempt of this number, counted from 1."""
        if retry_after_s is not None:
            return retry_after_s

        return float(min(60, 3 + 2 ** min(attempt - 1, 10) - 1))


class RateLimiter:
    """Spreads requests so that no 60 seconds hold more requests or tokens than allowed.

    Thread: shared by all callers of one endpoint; they start in the order in which they ask.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._max_requests = requests_per_minute
        self._max_tokens = tokens_per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._starts: deque[_Start] = deque()
        self._tokens_in_window = 0.0
        self._hold_until = 0.0

    def acquire(self, tokens: float = 0) -> _Start:
        """Wait for the turn of a request that is expected to use this many tokens."""
        with self._lock:
            start = self._reserve(tokens)
            wait_s = start.time - self._clock.monotonic()
        if wait_s > 0:
            self._clock.sleep(wait_s)

        return start

    def settle(self, start: _Start, tokens: float) -> None:
        """Replace the expected tokens of a request by the used ones."""
        with self._lock:
            if start.is_counted:
                self._tokens_in_window += tokens - start.tokens

            start.tokens = tokens

    def hold(self, seconds: float) -> None:
        """Let nobody start for a while: the server said so."""
        with self._lock:
            self._hold_until = max(self._hold_until, self._clock.monotonic() + seconds)

    def _reserve(self, tokens: float) -> _Start:
        """The earliest start that keeps every window within the limits; it is booked at once."""
        time = max(self._clock.monotonic(), self._hold_until, self._starts[-1].time if self._starts else 0.0)
        if self._max_tokens is not None:
            tokens = min(tokens, self._max_tokens)

        self._forget_before(time - WINDOW_S)
        while self._starts and not self._fits(tokens):
            time = max(time, self._starts[0].time + WINDOW_S)
            self._forget_before(time - WINDOW_S)

        start = _Start(time, tokens)
        if self._max_requests is not None or self._max_tokens is not None:
            self._starts.append(start)
            self._tokens_in_window += tokens

        return start

    def _fits(self, tokens: float) -> bool:
        requests_fit = self._max_requests is None or len(self._starts) + 1 <= self._max_requests
        return requests_fit and (self._max_tokens is None or self._tokens_in_window + tokens <= self._max_tokens)

    def _forget_before(self, time: float) -> None:
        while self._starts and self._starts[0].time <= time:
            old = self._starts.popleft()
            old.is_counted = False
            self._tokens_in_window -= old.tokens


class _Start:
    """A booked request."""

    __slots__ = ("is_counted", "time", "tokens")

    def __init__(self, time: float, tokens: float) -> None:
        self.time = time
        self.tokens = tokens
        self.is_counted = True


def call_with_retries(
    call: Callable[[], Result],
    policy: RetryPolicy,
    *,
    clock: Clock = SYSTEM_CLOCK,
    on_wait: Callable[[OpenAIError, float], None] = lambda error, seconds: None,
) -> Result:
    """Call until it succeeds, fails for good, or patience ends.

    Args:
        call: Raises our errors only.
        policy: Limits.
        clock: Time and sleep.
        on_wait: Told about each failure that is tried again, and the seconds until then.

    Raises:
        OpenAIError: the failure was not transient.
        ExceedMaxRetryTimes: it was, but attempts or patience are used up.
    """
    began = clock.monotonic()
    refusals_in_a_row = 0
    attempt = 0
    while True:
        attempt += 1
        try:
            return call()
        except OpenAIError as error:
            refusals_in_a_row = refusals_in_a_row + 1 if error.facts.get("status") == 422 else 0
            if not is_transient(error) or (refusals_in_a_row >= policy.max_same_refusals and policy.max_attempts > 1):
                raise

            delay_s = policy.delay_s(attempt, error.facts.get("retry_after_s"))
            waited_s = clock.monotonic() - began
            if attempt >= policy.max_attempts or waited_s + delay_s > policy.patience_s:
                raise _exhausted(error, attempt, waited_s, delay_s) from error

            on_wait(error, delay_s)
            clock.sleep(delay_s)


def is_transient(error: OpenAIError) -> bool:
    """Whether the same request may succeed later."""
    status = error.facts.get("status")
    if status is not None:
        if status == 429:
            return error.facts.get("provider_code") != "insufficient_quota"

        return bool(status >= 500 or status == 422)

    if isinstance(error, TimeoutError):
        return True

    text = error.message.lower()
    is_connection_error = error.facts.get("error_type") == "APIConnectionError"
    return is_connection_error and any(words in text for words in _TRANSIENT_CONNECTION_ERRORS)


def _exhausted(error: OpenAIError, attempts: int, waited_s: float, delay_s: float) -> ExceedMaxRetryTimes:
    facts = {**error.facts, "attempts": attempts}
    return ExceedMaxRetryTimes(
        f"Exceed max retry times. {error.message}",
        hint=f"Gave up after {attempts} attempts and {waited_s:.0f} s; the next try would have waited {delay_s:.0f} s. "
        f"{error.hint or ''}".rstrip(),
        **facts,
    )
