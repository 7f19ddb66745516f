"""Evaluation operations of the client: scores, comparisons and gates over stored runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptflow_lite.errors import DataError, EvaluatorError

if TYPE_CHECKING:
    from promptflow_lite.evals.compare import Candidate
    from promptflow_lite.evals.comparison import CompareSettings, Comparison
    from promptflow_lite.evals.gate import GateResult
    from promptflow_lite.evals.scores import RunScores
    from promptflow_lite.records import RunRecord
    from promptflow_lite.sdk.config import ConfigOperations
    from promptflow_lite.store import Store


class EvaluationOperations:
    """What runs scored, which is better, and whether a change may ship."""

    def __init__(self, store: Store, config: ConfigOperations) -> None:
        self._store = store
        self._config = config

    def scores(self, run: str, *, metrics: Sequence[str] = (), prices: Mapping[str, Any] | None = None) -> RunScores:
        """Scores of a run, read from its evaluation runs or its own outputs."""
        from promptflow_lite.evals.pricing import parse_prices
        from promptflow_lite.evals.scores import ScoreRules, collect_scores

        table = parse_prices({**(self._config.get("prices") or {}), **(prices or {})})
        rules = ScoreRules(metrics=tuple(metrics))
        return collect_scores(self._store.runs, run, rules=rules, prices=table if table.by_model else None)

    def candidates(
        self, names: Sequence[str], *, metrics: Sequence[str] = (), prices: Mapping[str, Any] | None = None
    ) -> list[Candidate]:
        """Variants behind names: a run is one, an experiment is one a cell; repeats of a cell belong together.

        Raises:
            RunNotFoundError: a name is neither a run nor an experiment.
        """
        from promptflow_lite.evals.compare import Candidate

        found: dict[str, Candidate] = {}
        for name in names:
            for label, records in self._group(name).items():
                runs = [self.scores(record.name, metrics=metrics, prices=prices) for record in records]
                found[label] = Candidate(label, runs, records[0].properties.get("cell") or {})

        return list(found.values())

    def _group(self, name: str) -> dict[str, list[RunRecord]]:
        if self._store.runs.exists(name):
            return {name: [self._store.runs.get(name)]}

        cells: dict[str, list[RunRecord]] = {}
        for record in self.members(name):
            if record.properties.get("stopped_early"):
                continue

            cells.setdefault(record.properties.get("cell_label") or record.name, []).append(record)

        return cells or {name: [self._store.runs.get(name)]}

    def members(self, experiment: str) -> list[RunRecord]:
        """The runs of an experiment without their evaluations, the oldest first."""
        found = self._store.runs.list(None, experiment=experiment)
        return [record for record in reversed(found) if not record.run]

    def compare(
        self,
        names: Sequence[str],
        settings: CompareSettings | None = None,
        *,
        baseline: str | None = None,
        metrics: Sequence[str] = (),
        prices: Mapping[str, Any] | None = None,
        title: str = "",
    ) -> Comparison:
        """Compare runs or the cells of an experiment.

        Args:
            names: Runs and experiments; the first variant is the baseline unless another is named.
            settings: The choices behind the comparison.
            baseline: Label of the variant that the others are compared with.
            metrics: Only these metrics.
            prices: Model -> prompt and completion price of a million tokens, over those in the settings file.
            title: Of the report.
        """
        from promptflow_lite.evals.compare import compare

        candidates = _baseline_first(self.candidates(names, metrics=metrics, prices=prices), baseline)
        columns = _raw_rows(candidates, settings)
        return compare(candidates, settings, title=title, columns=columns, notes=self._stopped(names))

    def _stopped(self, names: Sequence[str]) -> list[str]:
        """What to say about cells that were stopped early: they are settled, and take no part in the tests."""
        found = [record for name in names for record in self.members(name)]
        return [
            f"{record.properties['cell_label']} was stopped early: {record.properties['stopped_early']}."
            for record in found
            if record.properties.get("stopped_early")
        ]

    def gate(
        self,
        run: str,
        metric: str,
        *,
        baseline: str | None = None,
        margin: float = 0.0,
        must_improve: bool = False,
        min_score: float | None = None,
        settings: CompareSettings | None = None,
    ) -> GateResult:
        """Whether a run may replace its baseline: pass, fail or inconclusive."""
        from promptflow_lite.evals.gate import run_gate

        if baseline is None and min_score is None:
            raise EvaluatorError(
                "A gate needs a baseline or a minimum score.", hint="Pass --baseline RUN or --min-score X."
            )

        return run_gate(
            self.candidates([baseline, run] if baseline else [run]),
            metric,
            margin=margin,
            must_improve=must_improve,
            min_score=min_score,
            settings=settings,
        )


def bundled_evaluators() -> list[dict[str, Any]]:
    """Name, description, inputs and outputs of the evaluators that ship with this package."""
    from promptflow_lite._utils.resources import bundled
    from promptflow_lite.flow import load_flow

    found = []
    for folder in sorted(bundled("evaluators").iterdir()):
        if (folder / "flow.dag.yaml").is_file():
            flow = load_flow(folder, include=False)
            found.append(
                {
                    "name": folder.name,
                    "description": flow.description,
                    "inputs": ", ".join(flow.inputs or {}),
                    "outputs": ", ".join(flow.outputs or {}),
                }
            )

    return found


def _baseline_first(candidates: list[Candidate], baseline: str | None) -> list[Candidate]:
    if baseline is None:
        return candidates

    chosen = [candidate for candidate in candidates if candidate.label == baseline]
    if not chosen:
        labels = ", ".join(repr(candidate.label) for candidate in candidates)
        raise EvaluatorError(f"No variant is called {baseline!r}.", hint=f"The variants are {labels}.")

    return chosen + [candidate for candidate in candidates if candidate.label != baseline]


def _raw_rows(candidates: Sequence[Candidate], settings: CompareSettings | None) -> dict[int, dict[str, Any]]:
    """Rows of the data file, read only when slices or clusters may need a column that no flow input took."""
    if settings is None or not (settings.cluster_by or settings.slice_by):
        return {}

    from promptflow_lite.batch.data import DataFile

    sources = {run.record.data for candidate in candidates for run in candidate.runs if run.record.data}
    rows: dict[int, dict[str, Any]] = {}
    for source in sources:
        try:
            rows.update({row.get("line_number", index): row for index, row in enumerate(DataFile(source))})
        except DataError:
            continue  # the file moved since the run; inputs recorded with the lines still serve

    return rows
