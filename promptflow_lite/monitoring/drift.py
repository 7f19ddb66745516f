"""How far a window of values has moved from a reference: PSI, Kolmogorov-Smirnov, embedding distance. Pure functions.

**Why these three.** PSI speaks of shares in bins, works for numbers and categories and has thresholds people know. KS
tests whether two samples of numbers come from one distribution and gives a p-value. Texts have no order: they are
compared by their length here (KS) and by the distance of their mean embeddings.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["stable", "moved", "drifted", "too few"]

PSI_MOVED, PSI_DRIFTED = 0.1, 0.25
"""The customary thresholds: below 0.1 no change, above 0.25 a large one."""
MIN_VALUES = 20
"""Fewer values on either side say nothing."""
_FLOOR = 1e-4
"""Smallest share of a bin, so that an empty one costs much but not infinitely much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The movement of one field."""

    field: str
    kind: Literal["number", "category", "text", "embedding"]
    n_reference: int
    n_window: int
    psi: float | None = None
    ks: float | None = None
    p_value: float | None = None
    distance: float | None = None
    verdict: Verdict = "stable"


def psi_of_numbers(reference: Sequence[float], window: Sequence[float], *, n_bins: int = 10) -> float:
    """Population stability index over bins that hold equal shares of the reference.

    Cost: O(n log n).
    Source: Siddiqi 2006, ch. 10; shares below 0.01 % are raised to it. Equal reference values share one bin.
    """
    edges = _quantile_edges(sorted(reference), n_bins)
    return _psi(_shares([_bin_of(x, edges) for x in reference]), _shares([_bin_of(x, edges) for x in window]))


def psi_of_categories(reference: Sequence[str], window: Sequence[str], *, n_named: int = 50) -> float:
    """Population stability index over the reference's most frequent categories and one bin for all others."""
    named = {name for name, _ in Counter(reference).most_common(n_named)}
    return _psi(
        _shares([x if x in named else None for x in reference]), _shares([x if x in named else None for x in window])
    )


def ks_test(reference: Sequence[float], window: Sequence[float]) -> tuple[float, float]:
    """Two-sample Kolmogorov-Smirnov: the largest gap between both distribution functions, and its p-value.

    Source: Stephens' correction of the asymptotic distribution (Press et al., Numerical Recipes, 14.3); within 0.01 of
    the exact p-value from about 10 values a side.
    """
    a, b = sorted(reference), sorted(window)
    gap, i, j = 0.0, 0, 0
    while i < len(a) and j < len(b):
        value = min(a[i], b[j])
        while i < len(a) and a[i] == value:
            i += 1
        while j < len(b) and b[j] == value:
            j += 1
        gap = max(gap, abs(i / len(a) - j / len(b)))
    n = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    return gap, _kolmogorov_tail((n + 0.12 + 0.11 / n) * gap)


def embedding_distance(reference: Sequence[Sequence[float]], window: Sequence[Sequence[float]]) -> float:
    """Cosine distance (0 same direction, 1 unrelated, 2 opposite) between the mean vectors.

    Shape: `(n, dimensions)` each.
    """
    a, b = _mean_vector(reference), _mean_vector(window)
    norm = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return 1.0 if norm == 0 else 1.0 - sum(x * y for x, y in zip(a, b, strict=True)) / norm


def measure_drift(field: str, reference: Sequence[object], window: Sequence[object]) -> Drift:
    """Compare one field's values; which test fits is read from the reference's values."""
    reference = [value for value in reference if value is not None]
    window = [value for value in window if value is not None]
    if reference and all(isinstance(v, int | float) and not isinstance(v, bool) for v in reference):
        numbers = [float(v) for v in window if isinstance(v, int | float)]
        return _drift_of_numbers(field, "number", [float(v) for v in reference if isinstance(v, int | float)], numbers)

    texts, window_texts = [_text(v) for v in reference], [_text(v) for v in window]
    if texts and len(set(texts)) <= max(10, len(texts) // 10):
        return _drift_of_categories(field, texts, window_texts)

    return _drift_of_numbers(field, "text", [float(len(t)) for t in texts], [float(len(t)) for t in window_texts])


def measure_embedding_drift(
    field: str, reference: Sequence[Sequence[float]], window: Sequence[Sequence[float]], *, limit: float = 0.2
) -> Drift:
    """Compare the mean embeddings of a field's texts; above `limit` the field counts as drifted."""
    if min(len(reference), len(window)) < MIN_VALUES:
        return Drift(field=field, kind="embedding", n_reference=len(reference), n_window=len(window), verdict="too few")

    distance = embedding_distance(reference, window)
    return Drift(
        field=field,
        kind="embedding",
        n_reference=len(reference),
        n_window=len(window),
        distance=distance,
        verdict="drifted" if distance > limit else "moved" if distance > limit / 2 else "stable",
    )


def _drift_of_numbers(
    field: str, kind: Literal["number", "text"], reference: list[float], window: list[float]
) -> Drift:
    sizes = {"n_reference": len(reference), "n_window": len(window)}
    if min(len(reference), len(window)) < MIN_VALUES:
        return Drift(field=field, kind=kind, verdict="too few", **sizes)

    psi = psi_of_numbers(reference, window)
    ks, p_value = ks_test(reference, window)
    return Drift(field=field, kind=kind, psi=psi, ks=ks, p_value=p_value, verdict=_verdict(psi, p_value), **sizes)


def _drift_of_categories(field: str, reference: list[str], window: list[str]) -> Drift:
    sizes = {"n_reference": len(reference), "n_window": len(window)}
    if min(len(reference), len(window)) < MIN_VALUES:
        return Drift(field=field, kind="category", verdict="too few", **sizes)

    psi = psi_of_categories(reference, window)
    return Drift(field=field, kind="category", psi=psi, verdict=_verdict(psi, None), **sizes)


def _verdict(psi: float, p_value: float | None) -> Verdict:
    """Drift needs a large PSI and, where there is a test, its agreement: bins alone are noisy in small windows."""
    is_significant = p_value is None or p_value < 0.01
    if psi > PSI_DRIFTED and is_significant:
        return "drifted"

    return "moved" if psi > PSI_MOVED and is_significant else "stable"


def _quantile_edges(ordered: list[float], n_bins: int) -> list[float]:
    return sorted({ordered[int(len(ordered) * k / n_bins)] for k in range(1, n_bins)})


def _bin_of(value: float, edges: list[float]) -> int:
    return bisect.bisect_right(edges, value)


def _shares(keys: Sequence[object]) -> dict[object, float]:
    return {key: count / len(keys) for key, count in Counter(keys).items()}


def _psi(expected: dict[object, float], actual: dict[object, float]) -> float:
    total = 0.0
    for key in expected.keys() | actual.keys():
        e, a = max(expected.get(key, 0.0), _FLOOR), max(actual.get(key, 0.0), _FLOOR)
        total += (a - e) * math.log(a / e)
    return total


def _kolmogorov_tail(x: float) -> float:
    if x < 0.2:
        return 1.0

    tail: float = 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(max(tail, 0.0), 1.0)


def _mean_vector(vectors: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
