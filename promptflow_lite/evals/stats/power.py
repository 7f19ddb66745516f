"""How many rows a question needs, and what a number of rows can tell."""

from __future__ import annotations

import math
from statistics import NormalDist

from promptflow_lite.errors import DataError


def minimum_detectable_effect(sd: float, n: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true mean difference that `n` paired rows would find with the given power.

    Args:
        sd: Standard deviation of the differences between rows.
        n: Rows (or clusters).
        alpha: Two-sided error rate.
        power: Chance of finding the difference.
    Source: Miller 2024 (arXiv 2411.00640), section 5; normal approximation.
    """
    if n < 1:
        raise DataError(f"A power calculation needs at least one row; got {n}.")

    return _quantiles(alpha, power) * sd / math.sqrt(n)


def rows_needed(sd: float, effect: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Paired rows that find a true mean difference of `effect` with the given power.

    Raises:
        DataError: an effect of zero, which no number of rows finds.
    """
    if effect == 0:
        raise DataError(
            "No number of rows finds a difference of zero.", hint="Pass the smallest difference that matters."
        )

    return max(1, math.ceil((_quantiles(alpha, power) * sd / abs(effect)) ** 2 - 1e-9))


def _quantiles(alpha: float, power: float) -> float:
    if not (0 < alpha < 1 and 0 < power < 1):
        raise DataError(f"Error rate and power lie between 0 and 1; got {alpha} and {power}.")

    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
