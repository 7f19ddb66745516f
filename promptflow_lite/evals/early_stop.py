"""Stopping a losing cell early, by a rule that keeps the error rate.

Rows come in random order; the differences to the baseline's scores on the same rows feed a confidence sequence. The
cell stops when the whole sequence lies on the losing side, which happens to a cell that is not worse with a probability
of at most `1 - level`, however often one looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptflow_lite.evals.stats import ConfidenceSequence, Interval


@dataclass(slots=True)
class LosingRule:
    """Watches one cell against the baseline.

    Args:
        baseline: Line number -> score of the baseline.
        limits: Smallest and largest possible score.
        level: Chance of never stopping a cell that is not worse; divide the error among the cells beforehand.
        is_lower_better: Whether less is more.
        min_rows: Never stop before so many rows.
    """

    baseline: Mapping[int, float]
    limits: tuple[float, float] = (0.0, 1.0)
    level: float = 0.95
    is_lower_better: bool = False
    min_rows: int = 30
    _seen: set[int] = field(default_factory=set)
    _sequence: ConfidenceSequence = field(init=False)

    def __post_init__(self) -> None:
        span = self.limits[1] - self.limits[0]
        self._sequence = ConfidenceSequence(low=-span, high=span, level=self.level)

    def take(self, line: int, score: float) -> None:
        """Look at one more row; rows that the baseline lacks, and rows seen before, say nothing."""
        if line in self._seen or line not in self.baseline:
            return

        self._seen.add(line)
        difference = score - self.baseline[line]
        self._sequence.add(-difference if self.is_lower_better else difference)

    @property
    def n(self) -> int:
        return self._sequence.n

    @property
    def interval(self) -> Interval:
        """Of the mean difference, turned so that more is better."""
        return self._sequence.interval

    @property
    def is_lost(self) -> bool:
        return self.n >= self.min_rows and self.interval.high < 0
