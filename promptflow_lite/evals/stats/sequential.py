"""Looking while the rows come in, without paying for it: an interval that holds at every look at once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from promptflow_lite.errors import DataError
from promptflow_lite.evals.stats.results import Interval

_MAX_BET = 0.75


@dataclass(slots=True)
class ConfidenceSequence:
    """Intervals for a running mean of bounded values that all hold together with probability `level`.

    Feed values in an order that does not depend on their scores; stop whenever the interval answers the question.

    **Source**: Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by betting, theorem 2
    (predictable plug-in empirical Bernstein).
    """

    low: float = -1.0
    """Smallest possible value."""
    high: float = 1.0
    """Largest possible value."""
    level: float = 0.95
    n: int = 0
    _bets: float = field(default=0.0, repr=False)
    _weighted: float = field(default=0.0, repr=False)
    _penalty: float = field(default=0.0, repr=False)
    _sum: float = field(default=0.0, repr=False)
    _squares: float = field(default=0.0, repr=False)
    _best: tuple[float, float] = field(default=(0.0, 1.0), repr=False)

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise DataError(f"A confidence sequence needs low < high; got {self.low} and {self.high}.")

    def add(self, value: float) -> None:
        """Take one more value.

        Raises:
            DataError: the value lies outside the bounds.
        """
        if not self.low <= value <= self.high:
            raise DataError(f"Value {value} lies outside [{self.low}, {self.high}].")

        x = (value - self.low) / (self.high - self.low)
        mean_before = (0.5 + self._sum) / (self.n + 1)
        variance_before = (0.25 + self._squares) / (self.n + 1)
        self.n += 1
        bet = math.sqrt(2 * math.log(2 / self.alpha) / (variance_before * self.n * math.log(1 + self.n)))
        bet = min(bet, _MAX_BET)
        self._bets += bet
        self._weighted += bet * x
        self._penalty += (x - mean_before) ** 2 * (-math.log(1 - bet) - bet)
        self._sum += x
        self._squares += (x - (0.5 + self._sum) / (self.n + 1)) ** 2
        self._narrow()

    def extend(self, values: Iterable[float]) -> None:
        for value in values:
            self.add(value)

    @property
    def alpha(self) -> float:
        return 1 - self.level

    @property
    def interval(self) -> Interval:
        """The narrowest interval so far, in the units of the values."""
        span = self.high - self.low
        low, high = self._best
        return Interval(
            self.low + low * span, self.low + high * span, self.level, "confidence sequence (empirical Bernstein)"
        )

    def _narrow(self) -> None:
        """Intersect with the earlier intervals: all of them hold, so their intersection does."""
        centre = self._weighted / self._bets
        half = (math.log(2 / self.alpha) + self._penalty) / self._bets
        low, high = self._best
        self._best = (max(low, centre - half), min(high, centre + half))
