"""Human labels: what to label next, blind to the variant; agreement, export, and judges held against them."""

from __future__ import annotations

import builtins
import csv
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.files import replace_file, replacing
from promptflow_lite._utils.jsonable import dumps
from promptflow_lite._utils.text import spreadsheet_cell
from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.calibration import Calibration, calibrate, human_scores
from promptflow_lite.evals.stats import Agreement, cohen_kappa, krippendorff_alpha
from promptflow_lite.records import HumanLabel, Status

if TYPE_CHECKING:
    from promptflow_lite.sdk.evaluations import EvaluationOperations
    from promptflow_lite.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One output to label. The run is for recording only; do not show it to the annotator."""

    run: str
    line: int
    inputs: dict[str, Any]
    output: dict[str, Any]


class LabelOperations:
    """Labels that people give.

    Args:
        store: Where they are kept.
        evaluations: Scores of judges.
    """

    def __init__(self, store: Store, evaluations: EvaluationOperations) -> None:
        self._store = store
        self._evaluations = evaluations

    def tasks(
        self, runs: Sequence[str], *, annotator: str, name: str, limit: int | None = None, seed: int = 0
    ) -> builtins.list[Task]:
        """Outputs that this annotator has not labelled yet, in random order over all runs.

        The order mixes runs, so that nothing tells which variant an output is from; it is the same for everybody with
        the same seed, so that several annotators label the same outputs first.
        """
        done = {(label.run, label.line) for label in self.list(runs, name=name, annotator=annotator)}
        tasks = [
            Task(run=run, line=line.line_number or 0, inputs=line.inputs or {}, output=line.output or {})
            for run in runs
            for line in self._store.runs.iter_lines(run, statuses=[Status.COMPLETED])
        ]
        random.Random(seed).shuffle(tasks)
        return [task for task in tasks if (task.run, task.line) not in done][:limit]

    def put(self, task: Task, *, annotator: str, name: str, value: str, comment: str = "") -> HumanLabel:
        """Record what a person said."""
        label = HumanLabel(
            run=task.run,
            line=task.line,
            annotator=annotator,
            name=name,
            value=value,
            comment=comment,
            created_on=time.time(),
        )
        self._store.labels.put(label)
        return label

    def list(
        self, runs: Sequence[str] | None = None, *, name: str | None = None, annotator: str | None = None
    ) -> builtins.list[HumanLabel]:
        """Labels by run, line and annotator."""
        return self._store.labels.list(runs=runs, name=name, annotator=annotator)

    def agreement(self, runs: Sequence[str] | None = None, *, name: str) -> Agreement:
        """How far annotators agree: Cohen's kappa of two, Krippendorff's alpha of more or with gaps.

        Raises:
            EvaluatorError: no output has labels of two annotators.
        """
        by_row: dict[tuple[str, int], dict[str, str]] = {}
        for label in self.list(runs, name=name):
            by_row.setdefault((label.run, label.line), {})[label.annotator] = label.value

        annotators = sorted({annotator for labels in by_row.values() for annotator in labels})
        shared = [labels for labels in by_row.values() if len(labels) > 1]
        if not shared:
            raise EvaluatorError("No output has labels of two annotators.", hint="Let two people label the same run.")

        if len(annotators) == 2:
            first, second = annotators
            return cohen_kappa([labels[first] for labels in shared], [labels[second] for labels in shared])

        is_number = all(_is_number(value) for labels in shared for value in labels.values())
        ratings = [[_rating(labels.get(annotator), is_number) for labels in shared] for annotator in annotators]
        return krippendorff_alpha(ratings, scale="ordinal" if is_number else "nominal")

    def disagreements(self, runs: Sequence[str] | None = None, *, name: str) -> builtins.list[dict[str, Any]]:
        """Outputs on which two annotators differ."""
        by_row: dict[tuple[str, int], dict[str, str]] = {}
        for label in self.list(runs, name=name):
            by_row.setdefault((label.run, label.line), {})[label.annotator] = label.value

        return [
            {"run": run, "line": line, "labels": labels}
            for (run, line), labels in by_row.items()
            if any(a != b for a, b in combinations(labels.values(), 2))
        ]

    def export(self, path: str | Path, runs: Sequence[str] | None = None, *, name: str | None = None) -> int:
        """Write labels to a `.jsonl` or `.csv` file, beside the inputs and output they are about; returns how many."""
        labels = self.list(runs, name=name)
        rows = [{**asdict(label), **self._line(label)} for label in labels]
        target = Path(path)
        if target.suffix == ".csv":
            with replacing(target) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.DictWriter(stream, [*HumanLabel.__slots__, "inputs", "output"])
                writer.writeheader()
                writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        else:
            replace_file(target, "".join(dumps(row) + "\n" for row in rows))

        return len(rows)

    def _line(self, label: HumanLabel) -> dict[str, Any]:
        line = self._store.runs.line(label.run, label.line) if self._store.runs.exists(label.run) else None
        return {"inputs": line.inputs if line else None, "output": line.output if line else None}

    def calibrate(
        self, runs: Sequence[str], metric: str, *, name: str, level: float = 0.95, threshold: float | None = None
    ) -> Calibration:
        """Hold a judge's scores of runs against the labels that people gave."""
        judge: dict[tuple[str, int], float] = {}
        for run in runs:
            found = self._evaluations.scores(run, metrics=[metric])
            for scored in found.metrics:
                judge |= {(run, line): score for line, score in scored.scores.items()}

        people = human_scores(self.list(runs, name=name))
        return calibrate(judge, people, level=level, threshold=threshold)


def _cell(value: Any) -> Any:
    return spreadsheet_cell(value if isinstance(value, str | int | float) else dumps(value))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False

    return True


def _rating(value: str | None, is_number: bool) -> Any:
    return None if value is None else float(value) if is_number else value
