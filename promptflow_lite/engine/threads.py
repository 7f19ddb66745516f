"""How many threads a step uses: measured, because more are often slower.

Threads meet after every operation of the model, some thousand times a step. With few rows there is little to do between
two meetings, and on a machine with few or busy cores waiting for each other costs more than sharing the work saves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_TRIALS = 4
"""Steps with each number of threads before one is preferred."""
_STEPS_TO_TRUST = 512
"""Steps after which all numbers are tried again: other work on the machine comes and goes."""
_WORTH = 0.9
"""More threads must take less than this share of the time that fewer take."""
_LARGE_STEP = 32
"""Steps from this many tokens on have enough to do for all threads."""


@dataclass(slots=True)
class _Measured:
    """Steps of one size."""

    seconds_by_threads: dict[int, list[float]]
    n_steps: int = 0
    best: int = 0
    """0 while trying."""


@dataclass(slots=True)
class ThreadTuner:
    """Prefers, for each size of step, the number of threads that was fastest lately; pure.

    Args:
        n_threads: The most threads a step may use.
        is_fixed: Use as many in every step.
    """

    n_threads: int
    is_fixed: bool = False
    _by_size: dict[int, _Measured] = field(default_factory=dict)

    def choose(self, n_tokens: int) -> int:
        """Threads for a step."""
        if not self._tries(n_tokens):
            return self.n_threads

        measured = self._measured(n_tokens)
        return measured.best or min(
            measured.seconds_by_threads, key=lambda n: (len(measured.seconds_by_threads[n]), -n)
        )

    def record(self, n_tokens: int, n_threads: int, seconds: float) -> None:
        """Say how long a step took with the chosen threads."""
        if not self._tries(n_tokens):
            return

        measured = self._measured(n_tokens)
        measured.n_steps += 1
        if measured.best:
            if measured.n_steps >= _STEPS_TO_TRUST:
                del self._by_size[n_tokens.bit_length()]
            return

        measured.seconds_by_threads[n_threads].append(seconds / n_tokens)
        if all(len(seconds) >= _TRIALS for seconds in measured.seconds_by_threads.values()):
            measured.best = _fastest(measured.seconds_by_threads)

    def _tries(self, n_tokens: int) -> bool:
        return not self.is_fixed and self.n_threads > 1 and n_tokens < _LARGE_STEP

    def _measured(self, n_tokens: int) -> _Measured:
        """Of steps of about this size: 1, 2 to 3, 4 to 7, and so on."""
        size = n_tokens.bit_length()
        if size not in self._by_size:
            self._by_size[size] = _Measured({n: [] for n in _numbers(self.n_threads)})

        return self._by_size[size]


def _numbers(most: int) -> list[int]:
    """1, 2, 4 … and the most."""
    return sorted({1 << bit for bit in range(most.bit_length()) if 1 << bit < most} | {most})


def _fastest(seconds_by_threads: dict[int, list[float]]) -> int:
    """The fewest threads that more would not beat clearly; by means, since waiting comes in spikes."""
    best, least = 0, 0.0
    for n_threads, seconds in sorted(seconds_by_threads.items()):
        mean = sum(seconds) / len(seconds)
        if not best or mean < _WORTH * least:
            best, least = n_threads, mean
    return best
