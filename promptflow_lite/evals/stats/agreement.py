"""Agreement between raters: judges against people, and people against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from promptflow_lite.errors import DataError
from promptflow_lite.evals.stats.intervals import normal_quantile, numpy
from promptflow_lite.evals.stats.results import Agreement, Interval

Scale = Literal["nominal", "ordinal", "interval"]

_N_RESAMPLES = 1000


def cohen_kappa(
    first: Sequence[Any],
    second: Sequence[Any],
    *,
    weights: Literal["linear", "quadratic"] | None = None,
    level: float = 0.95,
) -> Agreement:
    """Cohen's kappa of two raters on the same items, with its asymptotic interval.

    Args:
        first: Ratings of the first rater.
        second: Ratings of the second rater, in the same order.
        weights: How much near misses count on an ordered scale; None counts exact agreement only.
        level: Coverage as a fraction.
    Raises:
        DataError: no items, or lists of different lengths.
    Source: Cohen 1960, 1968; variance: Fleiss, Cohen & Everitt 1969.
    """
    if len(first) != len(second) or not first:
        raise DataError(f"Kappa needs the same items from both raters; got {len(first)} and {len(second)}.")

    np = numpy()
    categories = sorted({*first, *second}, key=lambda item: (isinstance(item, str), item))
    position = {category: index for index, category in enumerate(categories)}
    k, n = len(categories), len(first)
    table = np.zeros((k, k))
    for x, y in zip(first, second, strict=True):
        table[position[x], position[y]] += 1 / n

    agreement_weights = _weights(np, k, weights)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed = float((agreement_weights * table).sum())
    expected = float((agreement_weights * np.outer(rows, columns)).sum())
    name = f"weighted kappa ({weights})" if weights else "Cohen's kappa"
    exact = float(np.trace(table))
    if math.isclose(expected, 1.0):
        return Agreement(coefficient=name, value=1.0, interval=None, observed=exact, n=n)

    kappa = (observed - expected) / (1 - expected)
    by_row, by_column = agreement_weights @ columns, rows @ agreement_weights
    inner = agreement_weights - (by_row[:, None] + by_column[None, :]) * (1 - kappa)
    variance = (float((table * inner**2).sum()) - (kappa - expected * (1 - kappa)) ** 2) / ((1 - expected) ** 2 * n)
    half = normal_quantile(level) * math.sqrt(max(variance, 0.0))
    interval = Interval(max(-1.0, kappa - half), min(1.0, kappa + half), level, "asymptotic")
    return Agreement(coefficient=name, value=kappa, interval=interval, observed=exact, n=n)


def _weights(np: Any, k: int, weights: str | None) -> Any:
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / max(k - 1, 1)
    if weights is None:
        return np.eye(k)

    return 1 - (distance if weights == "linear" else distance**2)


def krippendorff_alpha(
    ratings: Sequence[Sequence[Any]], *, scale: Scale = "nominal", level: float = 0.95, seed: int = 0
) -> Agreement:
    """Krippendorff's alpha of any number of raters with gaps, with a bootstrap interval over the items.

    Args:
        ratings: One sequence a rater, one entry an item; None where a rater gave no rating.
        scale: Distance between ratings: different or not, ranks, or squared differences of numbers.
        level: Coverage as a fraction.
        seed: Of the bootstrap.
    Raises:
        DataError: no item has two ratings, or raters have different numbers of entries.
    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    np = numpy()
    if len({len(rater) for rater in ratings}) > 1:
        raise DataError("Every rater needs one entry an item; use None where a rating is missing.")

    items = [[value for value in item if value is not None] for item in zip(*ratings, strict=True)]
    items = [item for item in items if len(item) > 1]
    if not items:
        raise DataError("Krippendorff's alpha needs items with at least two ratings each.")

    categories = sorted({value for item in items for value in item}, key=lambda v: (isinstance(v, str), v))
    coincidences = np.stack([_coincidences(np, item, categories) for item in items])
    total = coincidences.sum(axis=0)
    value = _alpha(np, total, categories, scale)
    interval = _alpha_interval(np, coincidences, categories, scale, level, seed)
    observed = float(np.trace(total) / total.sum())
    name = f"Krippendorff's alpha ({scale})"
    return Agreement(coefficient=name, value=value, interval=interval, observed=observed, n=len(items))


def _coincidences(np: Any, item: Sequence[Any], categories: Sequence[Any]) -> Any:
    counts = np.array([item.count(category) for category in categories], dtype=float)
    return (np.outer(counts, counts) - np.diag(counts)) / (len(item) - 1)


def _alpha(np: Any, coincidences: Any, categories: Sequence[Any], scale: Scale) -> float:
    margin = coincidences.sum(axis=0)
    n = margin.sum()
    distance = _distance(np, margin, categories, scale)
    expected = (np.outer(margin, margin) * distance).sum() / (n - 1)
    return 1.0 if expected == 0 else float(1 - (coincidences * distance).sum() / expected)


def _distance(np: Any, margin: Any, categories: Sequence[Any], scale: Scale) -> Any:
    if scale == "nominal":
        return 1 - np.eye(len(categories))

    if scale == "interval":
        numbers = np.array(categories, dtype=float)
        return np.subtract.outer(numbers, numbers) ** 2

    middle = np.cumsum(margin) - margin / 2
    return np.subtract.outer(middle, middle) ** 2


def _alpha_interval(
    np: Any, coincidences: Any, categories: Sequence[Any], scale: Scale, level: float, seed: int
) -> Interval | None:
    count = len(coincidences)
    if count < 10:
        return None

    rng = np.random.default_rng(seed)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=_N_RESAMPLES)
    totals = np.tensordot(draws, coincidences, axes=(1, 0))
    values = [_alpha(np, total, categories, scale) for total in totals]
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(low), float(high), level, f"bootstrap percentile over items, {_N_RESAMPLES} resamples")
