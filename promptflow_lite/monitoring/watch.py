"""Watching an endpoint: on a schedule a sample of traffic is judged, drift is measured, rules are checked."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptflow_lite.errors import PromptflowException
from promptflow_lite.monitoring.alerts import AlertBook
from promptflow_lite.monitoring.drift import Drift, measure_drift, measure_embedding_drift
from promptflow_lite.monitoring.embedding import Embed
from promptflow_lite.monitoring.judging import Evaluator, judge_endpoint
from promptflow_lite.records import AlertRecord, ServedRequest
from promptflow_lite.store import Store

logger = logging.getLogger(__name__)

_MAX_EMBEDDED = 200
"""Texts of each side that are embedded: enough for a mean, and a bounded bill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """How closely to look."""

    fraction: float = 0.1
    """Share of requests that evaluators judge."""
    interval_s: float = 60.0
    window_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRound:
    """What one round found."""

    n_judged: int
    alerts: tuple[AlertRecord, ...]


class Watch:
    """Looks after one endpoint.

    Args:
        store: Where requests are recorded.
        endpoint: Its name.
        evaluators: Judge the sample.
        alerts: Rules and whom to tell.
        settings: How closely to look.
    """

    def __init__(
        self,
        store: Store,
        endpoint: str,
        *,
        evaluators: Sequence[Evaluator] = (),
        alerts: AlertBook | None = None,
        settings: WatchSettings | None = None,
    ) -> None:
        self._store = store
        self._endpoint = endpoint
        self._evaluators = evaluators
        self._alerts = alerts
        self._settings = settings or WatchSettings()

    def look(self, *, now: float | None = None) -> WatchRound:
        """One round."""
        now = time.time() if now is None else now
        since = now - self._settings.window_s
        scores = [
            score
            for evaluator in self._evaluators
            for score in judge_endpoint(
                self._store, self._endpoint, evaluator, fraction=self._settings.fraction, since=since
            )
        ]
        fired: list[AlertRecord] = []
        if self._alerts is not None:
            start = now - max(self._alerts.window_s, 1.0)
            records = self._store.requests.list(self._endpoint, since=start, limit=None, newest_first=False)
            fired = self._alerts.check(records, self._store.requests.scores(self._endpoint, since=start), now=now)

        return WatchRound(n_judged=len(scores), alerts=tuple(fired))

    def run(self, stop: threading.Event) -> None:
        """Look every `interval_s` until told to stop; a round that fails is logged and the next one tried."""
        while not stop.is_set():
            try:
                self.look()
            except PromptflowException as error:
                logger.error("A round of watching %s failed: %s", self._endpoint, error)

            stop.wait(self._settings.interval_s)


def drift_against_run(
    store: Store, endpoint: str, run: str, *, since: float | None = None, embed: Embed | None = None
) -> list[Drift]:
    """How inputs and outputs of recent requests moved from those of a reference run, field by field.

    Args:
        store: Where both are kept.
        endpoint: Whose requests.
        run: The reference.
        since: Start of the window (seconds since the epoch).
        embed: Also compares texts by their embeddings, a sample of each side.
    """
    lines = [line for line in store.runs.iter_lines(run) if line.output is not None]
    records = [
        r for r in store.requests.list(endpoint, since=since, is_shadow=False, limit=None) if r.status_code < 400
    ]
    reference = [(line.inputs or {}, line.output or {}) for line in lines]
    return drift_of([inputs for inputs, _ in reference], [outputs for _, outputs in reference], records, embed=embed)


def drift_of(
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
    records: Sequence[ServedRequest],
    *,
    embed: Embed | None = None,
) -> list[Drift]:
    """Drift of every field that both sides have, inputs first."""
    found = []
    sides = (
        ("inputs", inputs, [record.inputs or {} for record in records]),
        ("outputs", outputs, [record.output if isinstance(record.output, dict) else {} for record in records]),
    )
    for section, reference, window in sides:
        names = [name for name in dict.fromkeys(key for row in reference for key in row) if name != "line_number"]
        for name in names:
            before, after = [row.get(name) for row in reference], [row.get(name) for row in window]
            if all(value is None for value in after):
                continue

            drift = measure_drift(f"{section}.{name}", before, after)
            found.append(drift)
            if embed is not None and drift.kind == "text":
                found.append(measure_embedding_drift(drift.field, embed(_sampled(before)), embed(_sampled(after))))
    return found


def _sampled(values: Sequence[Any]) -> list[str]:
    """At most `_MAX_EMBEDDED` texts, spread evenly."""
    texts = [value if isinstance(value, str) else repr(value) for value in values if value is not None]
    step = max(1, len(texts) / _MAX_EMBEDDED)
    return [texts[int(i * step)] for i in range(min(len(texts), _MAX_EMBEDDED))]
