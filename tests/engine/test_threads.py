"""Threads of a step: the number that was faster for steps of its size, tried again now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from promptflow_lite.engine.threads import ThreadTuner


def run(tuner: ThreadTuner, n_tokens: int, n_steps: int, seconds: Callable[[int], float]) -> list[int]:
    """The threads of each of some steps."""
    chosen = []
    for _ in range(n_steps):
        n_threads = tuner.choose(n_tokens)
        tuner.record(n_tokens, n_threads, seconds(n_threads))
        chosen.append(n_threads)
    return chosen


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        (lambda n: 1 / n, 8),
        (lambda n: float(n), 1),
        (lambda n: 1 / n if n <= 4 else 1.0, 4),
        (lambda n: 1.0, 1),  # no gain: the fewest
    ],
)
def test_the_fastest_number_of_threads_is_preferred(seconds: Callable[[int], float], best: int) -> None:
    chosen = run(ThreadTuner(8), 1, 40, seconds)

    assert Counter(chosen[:16]) == {1: 4, 2: 4, 4: 4, 8: 4}
    assert set(chosen[16:]) == {best}


def test_sizes_are_judged_apart() -> None:
    tuner = ThreadTuner(2)

    assert run(tuner, 1, 20, lambda n: float(n))[-1] == 1
    assert run(tuner, 16, 20, lambda n: 1 / n)[-1] == 2
    assert tuner.choose(1) == 1


def test_large_steps_take_all_threads_untried() -> None:
    assert set(run(ThreadTuner(6), 128, 20, lambda n: float(n))) == {6}


@pytest.mark.parametrize("tuner", [ThreadTuner(1), ThreadTuner(3, is_fixed=True)])
def test_a_fixed_number_is_kept_to(tuner: ThreadTuner) -> None:
    assert set(run(tuner, 1, 20, lambda n: float(n))) == {tuner.n_threads}


def test_a_machine_that_changes_is_noticed() -> None:
    tuner = ThreadTuner(2)
    assert run(tuner, 1, 300, lambda n: float(n))[-1] == 1

    assert run(tuner, 1, 600, lambda n: 1 / n)[-1] == 2
