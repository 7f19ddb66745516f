"""Retrieval: how well a ranked list finds the relevant documents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptflow_lite.errors import EvaluatorError


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """Measures of one ranked list."""

    precision: float
    """Share of the first k that is relevant."""
    recall: float
    """Share of the relevant that is among the first k."""
    reciprocal_rank: float
    """One over the rank of the first relevant document; 0 without one."""
    ndcg: float
    """Discounted gain at k against the best possible order."""


def rank_scores(retrieved: Sequence[str], relevant: Sequence[str] | Mapping[str, float], k: int = 5) -> RetrievalScores:
    """Score a ranked list of document ids.

    Args:
        retrieved: Ids, best first; a repeated id counts at its first place.
        relevant: Relevant ids, or id -> gain for graded relevance.
        k: How far down to look.
    Raises:
        EvaluatorError: nothing is relevant, or k is not positive.
    Source: Manning, Raghavan & Schütze 2008, ch. 8; nDCG with gains as given: Järvelin & Kekäläinen 2002.
    """
    gains = dict(relevant) if isinstance(relevant, Mapping) else dict.fromkeys(relevant, 1.0)
    gains = {name: float(gain) for name, gain in gains.items() if gain > 0}
    if not gains or k < 1:
        raise EvaluatorError(f"Retrieval needs relevant documents and k >= 1; got {len(gains)} and k = {k}.")

    ranked = list(dict.fromkeys(retrieved))
    top = ranked[:k]
    hits = sum(name in gains for name in top)
    first = next((rank for rank, name in enumerate(ranked, 1) if name in gains), None)
    best = _discounted(sorted(gains.values(), reverse=True)[:k])
    return RetrievalScores(
        precision=hits / k,
        recall=hits / len(gains),
        reciprocal_rank=1 / first if first else 0.0,
        ndcg=_discounted([gains.get(name, 0.0) for name in top]) / best,
    )


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def quantile(values: Sequence[float], share: float) -> float:
    """A quantile by linear interpolation between order statistics, as numpy's default.

    Raises:
        EvaluatorError: there are no values.
    """
    if not values:
        raise EvaluatorError("A quantile needs values.")

    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])
