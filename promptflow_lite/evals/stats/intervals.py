"""Confidence intervals of one score: proportions, graded means, clustered rows, judge scores with some human labels."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Any

from promptflow_lite._utils.imports import require
from promptflow_lite.errors import DataError
from promptflow_lite.evals.stats.results import Interval

MIN_ROWS = 15
"""Below this many rows a bootstrap interval is refused: it would look surer than it is."""

N_RESAMPLES = 2000
_BCA_LIMIT = 2000
"""BCa needs a jackknife of n x n values; above this many rows its correction is far below the interval's own noise."""


def numpy() -> Any:
    """The numpy module, or an error that names the extra."""
    return require("numpy", extra="eval", feature="Statistics of evaluations")


def scipy_stats() -> Any:
    """The `scipy.stats` module, or an error that names the extra."""
    return require("scipy.stats", extra="eval", feature="Statistics of evaluations")


def normal_quantile(level: float) -> float:
    """The two-sided standard normal quantile of a confidence level."""
    if not 0 < level < 1:
        raise DataError(f"A confidence level lies between 0 and 1; got {level}.", hint="Use a fraction such as 0.95.")

    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion.

    Raises:
        DataError: without rows, or with more successes than rows.
    Source: Wilson 1927, without continuity correction.
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"A proportion needs 0 <= successes <= n and n >= 1; got {successes} of {n}.")

    z = normal_quantile(level)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high, level, "Wilson")


def bootstrap_interval(
    scores: Sequence[float], *, level: float = 0.95, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> Interval:
    """Bootstrap interval of a mean: BCa up to 2,000 rows, percentile above; the method is named in the result.

    Args:
        scores: One finite score a row; order does not matter.
        level: Coverage as a fraction.
        seed: Same seed, same interval.
        n_resamples: Bootstrap samples.
    Raises:
        DataError: fewer than `MIN_ROWS` rows.
    Source: Efron & Tibshirani 1993, ch. 14.
    """
    np = numpy()
    values = np.asarray(scores, dtype=float)
    if len(values) < MIN_ROWS:
        raise DataError(
            f"A bootstrap interval needs at least {MIN_ROWS} rows; there are {len(values)}.",
            hint="Run more rows, or read the mean without an interval.",
        )

    if np.ptp(values) == 0:
        return Interval(float(values[0]), float(values[0]), level, "bootstrap (all rows equal)")

    method = "BCa" if len(values) <= _BCA_LIMIT else "percentile"
    result = scipy_stats().bootstrap(
        (values,),
        np.mean,
        n_resamples=n_resamples,
        batch=max(1, 2_000_000 // len(values)),
        confidence_level=level,
        method=method,
        rng=np.random.default_rng(seed),
    )
    low, high = float(result.confidence_interval.low), float(result.confidence_interval.high)
    return Interval(low, high, level, f"bootstrap {method}, {n_resamples} resamples")


def mean_interval(scores: Sequence[float], *, level: float = 0.95, seed: int = 0) -> Interval | None:
    """The interval that suits the scores: Wilson for pass/fail, bootstrap for grades, None where neither is honest."""
    if not scores:
        return None

    if all(score in (0, 1) for score in scores):
        return wilson_interval(round(sum(scores)), len(scores), level=level)

    return bootstrap_interval(scores, level=level, seed=seed) if len(scores) >= MIN_ROWS else None


def cluster_interval(scores: Sequence[float], clusters: Sequence[Hashable], *, level: float = 0.95) -> Interval | None:
    """Interval of a mean whose rows belong together; None with fewer than two clusters.

    Source: Liang & Zeger 1986 with the G/(G-1) correction and Student's t on G-1 degrees of freedom.
    """
    error = cluster_standard_error(scores, clusters)
    if error is None:
        return None

    standard_error, n_clusters = error
    centre = sum(scores) / len(scores)
    half = float(scipy_stats().t.ppf(0.5 + level / 2, n_clusters - 1)) * standard_error
    return Interval(centre - half, centre + half, level, f"cluster-robust t, {n_clusters} clusters")


def cluster_standard_error(scores: Sequence[float], clusters: Sequence[Hashable]) -> tuple[float, int] | None:
    """Standard error of the mean and number of clusters; None with fewer than two clusters."""
    if len(scores) != len(clusters):
        raise DataError(f"Every row needs a cluster; got {len(scores)} scores and {len(clusters)} clusters.")

    mean = sum(scores) / len(scores) if scores else 0.0
    totals: dict[Hashable, float] = {}
    for score, cluster in zip(scores, clusters, strict=True):
        totals[cluster] = totals.get(cluster, 0.0) + score - mean

    count = len(totals)
    if count < 2:
        return None

    variance = count / (count - 1) * sum(total * total for total in totals.values()) / len(scores) ** 2
    return math.sqrt(variance), count


def prediction_powered_interval(
    judged: Sequence[float],
    judged_and_labelled: Sequence[float],
    labels: Sequence[float],
    *,
    level: float = 0.95,
) -> tuple[float, Interval]:
    """Mean human score of all rows, from a judge on all of them and human labels on some.

    Args:
        judged: Judge's scores of the rows without a human label.
        judged_and_labelled: Judge's scores of the labelled rows.
        labels: Human scores of the same rows, in the same order.
        level: Coverage as a fraction.
    Returns:
        The corrected mean and its interval.
    Raises:
        DataError: fewer than two labelled or unlabelled rows, or lists of different lengths.
    Source: Angelopoulos et al. 2023 (arXiv 2311.01453), power-tuned mean: the judge's weight minimises the variance,
        so a useless judge costs nothing and a good one shortens the interval.
    """
    np = numpy()
    f_unlabelled, f_labelled, y = (np.asarray(x, dtype=float) for x in (judged, judged_and_labelled, labels))
    n, n_unlabelled = len(y), len(f_unlabelled)
    if n < 2 or n_unlabelled < 2 or len(f_labelled) != n:
        raise DataError(
            f"Correcting a judge needs two labelled and two unlabelled rows at least; got {n} and {n_unlabelled}.",
            hint="Label more rows with: pfl annotate RUN",
        )

    judge_variance = float(np.concatenate([f_labelled, f_unlabelled]).var(ddof=1))
    covariance = float(np.cov(f_labelled, y, ddof=1)[0, 1])
    weight = min(max(covariance / ((1 + n / n_unlabelled) * judge_variance), 0.0), 1.0) if judge_variance else 0.0
    residuals = y - weight * f_labelled
    mean = weight * float(f_unlabelled.mean()) + float(residuals.mean())
    variance = weight**2 * float(f_unlabelled.var(ddof=1)) / n_unlabelled + float(residuals.var(ddof=1)) / n
    half = normal_quantile(level) * math.sqrt(variance)
    return mean, Interval(mean - half, mean + half, level, f"prediction-powered, {n} labels, weight {weight:.2f}")
