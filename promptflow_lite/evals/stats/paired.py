"""Two variants on the same rows: is the difference real?

Pass/fail scores get McNemar's exact test and Newcombe's interval; grades get a sign-flip permutation test and a
bootstrap interval of the differences; rows that belong together get cluster-robust standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from promptflow_lite.errors import DataError
from promptflow_lite.evals.stats.intervals import (
    MIN_ROWS,
    bootstrap_interval,
    cluster_interval,
    cluster_standard_error,
    numpy,
    scipy_stats,
    wilson_interval,
)
from promptflow_lite.evals.stats.results import Interval, PairedTest

N_PERMUTATIONS = 9999
_ENUMERATE_UP_TO = 13
"""With this many non-zero differences all sign patterns are counted instead of sampled."""
_EPSILON = 1e-12

K = TypeVar("K", bound=Hashable)


def average_repeats(samples: Iterable[tuple[Hashable, float]]) -> dict[Hashable, float]:
    """One score a row: several samples of one row are averaged, because repeats are not rows."""
    sums: dict[Hashable, tuple[float, int]] = {}
    for row, score in samples:
        total, count = sums.get(row, (0.0, 0))
        sums[row] = (total + score, count + 1)

    return {row: total / count for row, (total, count) in sums.items()}


def mcnemar_p(only_a: int, only_b: int, *, is_mid_p: bool = False) -> float:
    """Two-sided exact p-value of McNemar's test.

    Args:
        only_a: Rows that only the first variant passes.
        only_b: Rows that only the second variant passes.
        is_mid_p: Count the observed table half (less conservative; its use must be stated).
    Source: McNemar 1947; mid-p: Fagerland, Lydersen & Laake 2013.
    """
    discordant = only_a + only_b
    if discordant == 0:
        return 1.0

    binom = scipy_stats().binom
    smaller = min(only_a, only_b)
    tail = float(binom.cdf(smaller, discordant, 0.5))
    if is_mid_p:
        tail -= float(binom.pmf(smaller, discordant, 0.5)) / 2

    return min(1.0, 2 * tail)


def newcombe_interval(both: int, only_a: int, only_b: int, neither: int, *, level: float = 0.95) -> Interval:
    """Interval of the difference `share of b - share of a` of two paired proportions.

    Source: Newcombe 1998 (Statistics in Medicine 17:2635), method 10.
    """
    n = both + only_a + only_b + neither
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    a = wilson_interval(both + only_a, n, level=level)
    b = wilson_interval(both + only_b, n, level=level)
    phi = _phi(both, only_a, only_b, neither)
    down_b, up_b, down_a, up_a = share_b - b.low, b.high - share_b, share_a - a.low, a.high - share_a
    below = math.sqrt(max(down_b**2 - 2 * phi * down_b * up_a + up_a**2, 0.0))
    above = math.sqrt(max(up_b**2 - 2 * phi * up_b * down_a + down_a**2, 0.0))
    difference = share_b - share_a
    return Interval(difference - below, difference + above, level, "Newcombe, paired")


def _phi(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Correlation of the two outcomes, shrunk towards zero as Newcombe does when it is positive."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0

    cross = both * neither - only_a * only_b
    n = both + only_a + only_b + neither
    return (max(cross - n / 2, 0.0) if cross > 0 else cross) / math.sqrt(margins)


def sign_flip_p(differences: Sequence[float], *, seed: int = 0, n_permutations: int = N_PERMUTATIONS) -> float:
    """Two-sided p-value of the mean difference when each row's sign is arbitrary.

    All sign patterns are counted up to 13 non-zero differences; above that they are sampled, and the observed one is
    counted too, so that the p-value is never zero.
    Source: Fisher 1935; Phipson & Smyth 2010 for the sampled form.
    """
    np = numpy()
    values = np.asarray([d for d in differences if abs(d) > _EPSILON], dtype=float)
    if len(values) == 0:
        return 1.0

    observed = abs(float(values.sum())) - _EPSILON * max(1.0, float(np.abs(values).sum()))
    if len(values) <= _ENUMERATE_UP_TO:
        patterns = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float((np.abs((2 * patterns - 1) @ values) >= observed).mean())

    rng = np.random.default_rng(seed)
    extreme = 0
    block = max(1, 4_000_000 // len(values))
    for start in range(0, n_permutations, block):
        count = min(block, n_permutations - start)
        signs = rng.integers(0, 2, size=(count, len(values)), dtype=np.int8).astype(np.float32) * 2 - 1
        extreme += int((np.abs(signs @ values) >= observed).sum())

    return (1 + extreme) / (1 + n_permutations)


def paired_test(
    a: Sequence[float],
    b: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
    is_mid_p: bool = False,
) -> PairedTest:
    """Test `b` against `a` on the same rows with the method that suits the scores.

    Args:
        a: Scores of the first variant, one a row.
        b: Scores of the second variant, in the same order.
        clusters: Which rows belong together; a cluster is then the independent unit.
        level: Coverage of the interval.
        seed: Of the permutation and the bootstrap.
        is_mid_p: Use McNemar's mid-p for pass/fail scores.
    Raises:
        DataError: no rows, or lists of different lengths.
    """
    if len(a) != len(b) or not a:
        raise DataError(f"A paired test needs the same rows on both sides; got {len(a)} and {len(b)}.")

    a, b = [float(x) for x in a], [float(y) for y in b]
    differences = [y - x for x, y in zip(a, b, strict=True)]
    if clusters is not None and len(set(clusters)) < len(clusters):
        return _cluster_test(differences, clusters, level=level)

    if all(score in (0, 1) for score in (*a, *b)):
        return _pass_fail_test(a, b, level=level, is_mid_p=is_mid_p)

    interval = bootstrap_interval(differences, level=level, seed=seed) if len(differences) >= MIN_ROWS else None
    return _result("sign-flip permutation", differences, interval, sign_flip_p(differences, seed=seed))


def _pass_fail_test(a: Sequence[float], b: Sequence[float], *, level: float, is_mid_p: bool) -> PairedTest:
    pairs = list(zip(a, b, strict=True))
    both, only_a, only_b, neither = (pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0)))
    interval = newcombe_interval(both, only_a, only_b, neither, level=level)
    method = "McNemar mid-p" if is_mid_p else "McNemar exact"
    return _result(method, [y - x for x, y in pairs], interval, mcnemar_p(only_a, only_b, is_mid_p=is_mid_p))


def _cluster_test(differences: Sequence[float], clusters: Sequence[Hashable], *, level: float) -> PairedTest:
    error = cluster_standard_error(differences, clusters)
    if error is None:
        return _result("cluster-robust t (one cluster: no test)", differences, None, 1.0, n=1)

    standard_error, n_clusters = error
    interval = cluster_interval(differences, clusters, level=level)
    mean = sum(differences) / len(differences)
    if standard_error > _EPSILON:
        method = "cluster-robust t"
        p_value = float(2 * scipy_stats().t.sf(abs(mean) / standard_error, n_clusters - 1))
    else:
        method = "sign-flip permutation of clusters"
        p_value = sign_flip_p(_totals(differences, clusters))

    result = _result(method, differences, interval, p_value, n=n_clusters)
    return replace(result, sd=standard_error * math.sqrt(n_clusters))


def _totals(differences: Sequence[float], clusters: Sequence[Hashable]) -> list[float]:
    totals: dict[Hashable, float] = {}
    for difference, cluster in zip(differences, clusters, strict=True):
        totals[cluster] = totals.get(cluster, 0.0) + difference

    return list(totals.values())


def _result(
    method: str, differences: Sequence[float], interval: Interval | None, p_value: float, *, n: int | None = None
) -> PairedTest:
    count = len(differences)
    mean = sum(differences) / count
    variance = sum((d - mean) ** 2 for d in differences) / (count - 1) if count > 1 else 0.0
    wins = sum(d > _EPSILON for d in differences)
    losses = sum(d < -_EPSILON for d in differences)
    return PairedTest(
        method=method,
        n=count if n is None else n,
        difference=mean,
        interval=interval,
        p_value=p_value,
        wins=wins,
        losses=losses,
        ties=count - wins - losses,
        sd=math.sqrt(variance),
    )


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Holm's step-down correction: p-values that hold for the whole family.

    Source: Holm 1979.
    """
    adjusted: dict[K, float] = {}
    running = 0.0
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for rank, (name, p_value) in enumerate(ordered):
        running = max(running, min(1.0, (len(ordered) - rank) * p_value))
        adjusted[name] = running

    return {name: adjusted[name] for name in p_values}
