"""Comparisons for the studio: made in the background, kept while the runs stay as they are."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from promptflow_lite.evals.stats.intervals import scipy_stats
from promptflow_lite.records import RunRecord
from promptflow_lite.sdk.client import Client
from promptflow_lite.store.filters import RunFilter

if TYPE_CHECKING:
    from promptflow_lite.evals.comparison import Comparison, RowResult

_KEPT = 4
_N_OFFERED = 200


@dataclass(slots=True)
class ComparisonJob:
    """A comparison that is made, or was."""

    n_lines: int
    """Lines that it reads, evaluations included."""
    future: Future[Comparison]
    started: float = field(default_factory=time.time)

    def wait(self, timeout_s: float) -> bool:
        """Whether it is there, after waiting at most so long."""
        return not wait([self.future], timeout_s).not_done

    def result(self) -> Comparison:
        """The comparison. Raises what kept it from being made."""
        return self.future.result()


class Comparisons:
    """The comparisons that were asked for lately.

    Thread: safe; one comparison is made at a time.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._jobs: OrderedDict[tuple[Any, ...], ComparisonJob] = OrderedDict()
        self._changed: OrderedDict[tuple[int, str, str], tuple[Comparison, list[RowResult]]] = OrderedDict()
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="pfl-compare")
        # Importing SciPy parses signatures, which fails now and then while another thread compiles a page.
        scipy_stats()

    def start(self, names: Sequence[str]) -> ComparisonJob:
        """The comparison of runs and experiments as they are now; it begins at once unless it is there.

        Raises:
            RunNotFoundError: a name is neither a run nor an experiment.
        """
        runs = self._runs(names)
        stamp = (*names, *((run.name, run.status, run.completed_lines, run.failed_lines, run.end_time) for run in runs))
        with self._lock:
            if stamp not in self._jobs:
                n_lines = sum(run.completed_lines + run.failed_lines for run in runs)
                future = self._worker.submit(self._client.evaluations.compare, list(names))
                self._jobs[stamp] = ComparisonJob(n_lines, future)
            self._jobs.move_to_end(stamp)
            if len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)

            return self._jobs[stamp]

    def changed_rows(self, comparison: Comparison, metric: str, candidate: str) -> list[RowResult]:
        """Rows on which a variant and the baseline differ, the worst first; sorted once."""
        key = (id(comparison), metric, candidate)
        with self._lock:
            if key not in self._changed:
                self._changed[key] = (comparison, comparison.changed_rows(metric, candidate))
            if len(self._changed) > _KEPT:
                self._changed.popitem(last=False)

            return self._changed[key][1]

    def _runs(self, names: Sequence[str]) -> list[RunRecord]:
        """The runs behind names, with those that evaluated them."""
        store = self._client.store.runs
        found = []
        for name in names:
            found += [store.get(name)] if store.exists(name) else self._client.evaluations.members(name)
        children = [child for run in found for child in store.list(None, base_run=run.name)]
        return [*found, *children] or [store.get(names[0])]


def comparable_names(client: Client) -> dict[str, str]:
    """Names of the newest experiments and runs, with what they are."""
    runs, _ = client.store.runs.page(RunFilter(is_evaluation=False), limit=_N_OFFERED)
    sizes: dict[str, int] = {}
    for run in runs:
        experiment = str(run.properties.get("experiment") or run.name)
        sizes[experiment] = sizes.get(experiment, 0) + 1
    names = {name: f"{name} (experiment of {size})" for name, size in sizes.items() if size > 1}
    return names | {run.name: run_title(run) for run in runs if run.name not in names}


def run_title(run: RunRecord) -> str:
    """A run's name, with what it is where that says more."""
    label = run.display_name or run.variant or ""
    return f"{run.name} · {label}" if label and label != run.name else run.name


def variants_of(run: RunRecord) -> dict[str, str]:
    """Node -> variant that a run chose."""
    if run.variant:
        node, _, variant = run.variant.strip("${}").partition(".")
        return {node: variant}

    return dict((run.properties.get("cell") or {}).get("variants") or {})
