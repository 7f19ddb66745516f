"""What the statistics return: plain frozen data, each value beside the name of the method that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["better", "worse", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float
    """Coverage as a fraction, such as 0.95."""
    method: str

    def excludes(self, value: float) -> bool:
        return value < self.low or value > self.high

    @property
    def width(self) -> float:
        return self.high - self.low


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Two variants on the same rows: the mean difference and how surprising it is when there is none."""

    method: str
    n: int
    """Independent units behind the test: rows, or clusters."""
    difference: float
    """Mean of `b - a`."""
    interval: Interval | None
    """Of the difference; None where the sample is too small for one."""
    p_value: float
    wins: int
    """Rows on which `b` scores higher."""
    losses: int
    ties: int
    sd: float
    """Standard deviation of the differences between independent units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far raters agree beyond chance."""

    coefficient: str
    """`Cohen's kappa`, `weighted kappa (quadratic)`, `Krippendorff's alpha (ordinal)` …"""
    value: float
    interval: Interval | None
    observed: float
    """Share of items (or pairs of ratings) that agree exactly."""
    n: int
