"""What to label next, found without reading the runs as a whole."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.labels import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelQueue:
    """An annotator's work."""

    task: Task | None
    """The next output; None when nothing is left."""
    n_done: int
    n_waiting: int


def label_queue(
    client: Client,
    runs: Sequence[str],
    *,
    annotator: str,
    question: str,
    skipped: Collection[tuple[str, int]] = (),
    seed: int = 0,
) -> LabelQueue:
    """The next output to label, in an order that mixes the runs and is the same for everybody with the same seed.

    Args:
        client: Where runs and labels are.
        runs: Whose outputs are labelled.
        annotator: Who labels.
        question: What is asked.
        skipped: Outputs to leave for later.
        seed: Of the order.
    """
    done = {(label.run, label.line) for label in client.labels.list(runs, name=question, annotator=annotator)}
    outputs = [(run, line) for run in runs for line in sorted(client.store.runs.completed_line_numbers(run))]
    random.Random(seed).shuffle(outputs)
    waiting = [output for output in outputs if output not in done]
    chosen = next((output for output in waiting if output not in skipped), None)
    return LabelQueue(task=_task(client, *chosen) if chosen else None, n_done=len(done), n_waiting=len(waiting))


def _task(client: Client, run: str, number: int) -> Task | None:
    line = client.store.runs.line(run, number)
    return Task(run=run, line=number, inputs=line.inputs or {}, output=line.output or {}) if line else None
