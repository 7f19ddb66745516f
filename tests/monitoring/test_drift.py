"""Drift measures against hand-made and scipy's figures."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from promptflow_lite.monitoring.drift import (
    embedding_distance,
    ks_test,
    measure_drift,
    measure_embedding_drift,
    psi_of_categories,
    psi_of_numbers,
)


def normal(n: int, mean: float = 0.0, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(mean, 1) for _ in range(n)]


def test_psi_of_two_categories_by_hand() -> None:
    expected = (0.8 - 0.5) * math.log(0.8 / 0.5) + (0.2 - 0.5) * math.log(0.2 / 0.5)

    assert psi_of_categories(["a"] * 50 + ["b"] * 50, ["a"] * 80 + ["b"] * 20) == pytest.approx(expected)


def test_psi_is_zero_for_equal_samples_and_grows_with_the_shift() -> None:
    base = normal(500)

    assert psi_of_numbers(base, base) == 0
    near, far = psi_of_numbers(base, normal(500, 0.3, 2)), psi_of_numbers(base, normal(500, 1.5, 2))
    assert 0 < near < 0.25 < far


def test_psi_survives_constant_and_unseen_values() -> None:
    assert psi_of_numbers([1.0] * 30, [1.0] * 30) == 0
    assert psi_of_numbers([1.0] * 30, [0.0] * 30) > 1
    assert math.isfinite(psi_of_categories(["a"] * 30, ["new"] * 30))


@pytest.mark.parametrize(("n", "m", "shift"), [(30, 40, 0.0), (200, 100, 0.4), (500, 500, 0.1), (25, 25, 2.0)])
def test_ks_agrees_with_scipy(n: int, m: int, shift: float) -> None:
    a, b = normal(n), normal(m, shift, 2)
    expected = stats.ks_2samp(a, b)

    gap, p_value = ks_test(a, b)

    assert gap == pytest.approx(expected.statistic)
    assert p_value == pytest.approx(expected.pvalue, abs=0.03)


def test_ks_counts_ties_once() -> None:
    assert ks_test([1, 1, 2, 2], [1, 1, 2, 2]) == (0.0, 1.0)
    assert ks_test([0, 0], [1, 1])[0] == 1.0


@pytest.mark.parametrize(
    ("reference", "window", "kind", "verdict"),
    [
        (normal(200), normal(200, 0, 2), "number", "stable"),
        (normal(200), normal(200, 2, 2), "number", "drifted"),
        (["yes", "no"] * 50, ["yes", "no"] * 50, "category", "stable"),
        (["yes", "no"] * 50, ["yes"] * 95 + ["no"] * 5, "category", "drifted"),
        ([True, False] * 50, [True] * 95 + [False] * 5, "category", "drifted"),
        (["x" * (i % 40) for i in range(200)], ["x" * (i % 40) for i in range(200)], "text", "stable"),
        (["x" * (i % 40) for i in range(200)], ["x" * (i % 40 + 60) for i in range(200)], "text", "drifted"),
        (normal(200), normal(5), "number", "too few"),
        ([], [], "text", "too few"),
    ],
)
def test_the_fitting_test_is_chosen_and_judged(
    reference: list[object], window: list[object], kind: str, verdict: str
) -> None:
    drift = measure_drift("field", reference, window)

    assert (drift.kind, drift.verdict) == (kind, verdict)


def test_small_samples_of_one_distribution_rarely_count_as_drift() -> None:
    drifted = sum(
        measure_drift("f", normal(40, 0, seed), normal(40, 0, seed + 1000)).verdict == "drifted" for seed in range(200)
    )

    assert drifted <= 4


def test_embedding_distance_of_directions() -> None:
    assert embedding_distance([[1, 0], [1, 0]], [[2, 0]]) == pytest.approx(0)
    assert embedding_distance([[1, 0]], [[0, 3]]) == pytest.approx(1)
    assert embedding_distance([[1, 0]], [[-1, 0]]) == pytest.approx(2)
    assert measure_embedding_drift("f", [[1.0, 0.0]] * 20, [[0.0, 1.0]] * 20).verdict == "drifted"
    assert measure_embedding_drift("f", [[1.0, 0.0]] * 20, [[1.0, 0.01]] * 20).verdict == "stable"
