"""Experiments over a grid: every combination of variants, inputs and models as runs that share their work."""

from __future__ import annotations

import datetime as dt
import logging
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.files import check_name
from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.batch.data import DataFile
from promptflow_lite.batch.lines import columns
from promptflow_lite.batch.mapping import ColumnMapping
from promptflow_lite.errors import ApplyInputMappingError, ExperimentError, ValidationException
from promptflow_lite.evals.early_stop import LosingRule
from promptflow_lite.evals.evaluate import FlowEvaluator
from promptflow_lite.evals.grid import Cell, GridPlan, GridRequest, load_cell, plan_grid
from promptflow_lite.evals.memo import Memo
from promptflow_lite.evals.scores import ScoreRules
from promptflow_lite.flow import load_flow
from promptflow_lite.records import LineResult, RunRecord, Status
from promptflow_lite.sdk.runs import ExecutionOptions, Report, RunOperations, RunRequest
from promptflow_lite.settings import home

if TYPE_CHECKING:
    from promptflow_lite.connections import ConnectionSource
    from promptflow_lite.store import Store

logger = logging.getLogger(__name__)

_SAMPLE_ROWS = 20
_LOOK_INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """An evaluator that looks at every cell."""

    flow: str | Path
    column_mapping: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequest:
    """Stop cells that surely lose against the first one."""

    metric: str
    level: float = 0.95
    limits: tuple[float, float] = (0.0, 1.0)
    is_lower_better: bool = False


@dataclass(slots=True, kw_only=True)
class GridResult:
    """What an experiment did."""

    experiment: str
    plan: GridPlan
    runs: list[RunRecord] = field(default_factory=list)
    evaluations: list[RunRecord] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    """Run -> why it was stopped early."""
    node_runs: int = 0
    """Node runs that were executed."""
    shared: int = 0
    """Node runs that were answered by another cell's (or an equal row's) work."""
    model_calls: int = 0
    """Model calls that were made by the cells."""


class GridOperations:
    """Plans and runs experiments.

    Args:
        store: Where runs are recorded.
        runs: Executes them.
        connections: Where flows find their connections.
    """

    def __init__(self, store: Store, runs: RunOperations, connections: ConnectionSource) -> None:
        self._store = store
        self._runs = runs
        self._connections = connections

    def plan(self, flow: str | Path, grid: GridRequest, data: str | Path | None) -> GridPlan:
        """The cells and what they will cost; runs nothing."""
        if data is None:
            return plan_grid(flow, grid)

        rows = DataFile(data)
        return plan_grid(flow, grid, n_rows=rows.count(), sample=list(islice(rows, _SAMPLE_ROWS)))

    def run(
        self,
        request: RunRequest,
        grid: GridRequest,
        *,
        evaluations: Sequence[EvaluationRequest] = (),
        stop: StopRequest | None = None,
        options: ExecutionOptions | None = None,
        is_resumed: bool = False,
        report: Report | None = None,
        announce: Callable[[str], None] = lambda text: None,
    ) -> GridResult:
        """Run every cell (and its evaluations) as runs of one experiment.

        Args:
            request: Flow, data and mapping of every cell; `name` is the experiment's.
            grid: What to combine.
            evaluations: Evaluators that look at every cell when it is finished.
            stop: Stop losing cells early; the first cell is the baseline and always finishes.
            options: How lines are executed.
            is_resumed: Go on with an experiment of the request's name: complete runs stay, the others are continued.
            report: Told about progress of the cell that runs.
            announce: Told which cell starts.
        Raises:
            ExperimentError: the grid does not fit the flow, or the options exclude each other.
        """
        options = options or ExecutionOptions()
        self._check(request, evaluations, stop, options)
        plan = self.plan(str(request.flow), grid, request.data)
        for evaluation in evaluations:
            _check_mapping(request, plan, evaluation)

        name = request.name or _default_name(plan)
        if stop is not None:
            request = replace(request, data=_shuffled(str(request.data), name))

        memo = Memo()
        result = GridResult(experiment=name, plan=plan)
        baseline: dict[int, float] = {}
        for cell, repeat, cell_name in plan.runs(name):
            is_baseline = cell is plan.cells[0]
            announce(f"{cell.label}" + (f" (repeat {repeat + 1})" if plan.repeat > 1 else ""))
            watch = _Watch(self, request, evaluations[0], stop, baseline, len(plan.cells)) if stop else None
            wanted = self._cell_request(request, name, cell_name, cell, repeat)
            shared = _sharing(options, memo, repeat)
            self._run_cell(wanted, shared, report, None if is_baseline else watch, result, is_resumed=is_resumed)
            if watch is not None and is_baseline:
                baseline.update(watch.scores_of(self._store.runs.iter_lines(cell_name)))

            self._evaluate(result, request, evaluations, cell_name, is_resumed=is_resumed)

        result.node_runs, result.shared, result.model_calls = memo.runs, memo.hits, memo.model_calls
        return result

    def _check(
        self,
        request: RunRequest,
        evaluations: Sequence[EvaluationRequest],
        stop: StopRequest | None,
        options: ExecutionOptions,
    ) -> None:
        if options.isolation == "process":
            raise ExperimentError("A grid shares work between its cells and cannot run in isolated processes.")

        if stop is not None and (not evaluations or request.data is None):
            raise ExperimentError("Early stopping needs data and an evaluator.", hint="Add --data and --evaluate FLOW.")

    def _cell_request(self, request: RunRequest, experiment: str, name: str, cell: Cell, repeat: int) -> RunRequest:
        flow = load_cell(str(request.flow), cell, repeat=repeat)
        properties = {
            **request.properties,
            "experiment": experiment,
            "cell": cell.to_dict(),
            "cell_label": cell.label,
            "repeat": repeat,
        }
        label = cell.label if cell != Cell() else name
        return replace(request, flow=flow, name=name, display_name=label, properties=properties)

    def _run_cell(
        self,
        request: RunRequest,
        options: ExecutionOptions,
        report: Report | None,
        watch: _Watch | None,
        result: GridResult,
        *,
        is_resumed: bool,
    ) -> None:
        def observe(progress: Any) -> None:
            if report is not None:
                report(progress)

            if watch is not None and request.name:
                watch.look(request.name)

        record = self._create_or_continue(request, options, observe, is_resumed=is_resumed)
        if watch is not None and watch.reason:
            properties = {**record.properties, "stopped_early": watch.reason}
            self._store.runs.update(record.name, properties=properties)
            result.stopped[record.name] = watch.reason
            record = self._runs.get(record.name)

        result.runs.append(record)

    def _create_or_continue(
        self,
        request: RunRequest,
        options: ExecutionOptions | None = None,
        report: Report | None = None,
        *,
        is_resumed: bool,
    ) -> RunRecord:
        name = request.name or ""
        if not is_resumed or not self._store.runs.exists(name):
            return self._runs.create(request, options=options, report=report)

        record = self._runs.get(name)
        if self._is_complete(record) or record.properties.get("stopped_early"):
            return record

        return self._runs.resume(name, options=options, report=report)

    def _is_complete(self, record: RunRecord) -> bool:
        """Whether nothing is left to do; an evaluation has to follow when its run got more lines."""
        wanted = self._runs.get(record.run).completed_lines if record.run else record.total_lines or 0
        return record.status is Status.COMPLETED and not record.failed_lines and record.completed_lines >= wanted

    def _evaluate(
        self,
        result: GridResult,
        request: RunRequest,
        evaluations: Sequence[EvaluationRequest],
        run: str,
        *,
        is_resumed: bool,
    ) -> None:
        if self._runs.get(run).status is not Status.COMPLETED:
            return

        for index, evaluation in enumerate(evaluations):
            wanted = RunRequest(
                flow=evaluation.flow,
                data=request.data,
                run=run,
                column_mapping=evaluation.column_mapping,
                name=f"{run}_eval{index or ''}",
                properties={"experiment": result.experiment},
            )
            record = self._create_or_continue(wanted, is_resumed=is_resumed)
            if record.status is Status.FAILED and not record.completed_lines + record.failed_lines:
                raise ExperimentError(f"The cells cannot be evaluated: {(record.error or {}).get('message', '')}")

            result.evaluations.append(record)


def _sharing(options: ExecutionOptions, memo: Memo, repeat: int) -> ExecutionOptions:
    """Options that make a run share its work with the other cells of the same repeat."""
    return replace(options, prepare=lambda executor: memo.wrap(executor, salt=str(repeat)))


@dataclass(slots=True)
class _Watch:
    """Scores rows of a running cell now and then, and asks it to stop when it has surely lost."""

    grids: GridOperations
    request: RunRequest
    evaluation: EvaluationRequest
    stop: StopRequest
    baseline: Mapping[int, float]
    n_cells: int
    reason: str = ""
    _looked_at: float = 0.0
    _seen: set[int] = field(default_factory=set)
    _rule: LosingRule | None = None
    _evaluator: FlowEvaluator | None = None
    _rows: dict[int, dict[str, Any]] = field(default_factory=dict)

    def look(self, run: str) -> None:
        """Score what is new, at most every two seconds."""
        now = time.monotonic()
        if self.reason or now - self._looked_at < _LOOK_INTERVAL_S:
            return

        rule = self._rule = self._rule or self._new_rule()
        for line, score in self.scores_of(self.grids._store.runs.iter_lines(run)).items():
            if not self.stop.limits[0] <= score <= self.stop.limits[1]:
                logger.warning("Early stopping is off: %s scored %s, outside %s.", run, score, self.stop.limits)
                self._looked_at = math.inf
                return

            rule.take(line, score)

        self._looked_at = time.monotonic()
        if rule.is_lost:
            interval = rule.interval
            self.reason = (
                f"surely worse than the first cell on {self.stop.metric} after {rule.n} rows "
                f"(difference between {interval.low:+.3f} and {interval.high:+.3f} at any time)"
            )
            self.grids._store.runs.request_cancel(run)

    def _new_rule(self) -> LosingRule:
        level = 1 - (1 - self.stop.level) / max(self.n_cells - 1, 1)
        return LosingRule(self.baseline, self.stop.limits, level, self.stop.is_lower_better)

    def scores_of(self, lines: Any) -> dict[int, float]:
        """Scores of the lines that were not seen before; a failed line scores worst."""
        found: dict[int, float] = {}
        for line in lines:
            if line.line_number not in self._seen:
                self._seen.add(line.line_number)
                score = self._score(line)
                if score is not None:
                    found[line.line_number] = score

        return found

    def _score(self, line: LineResult) -> float | None:
        if line.status is not Status.COMPLETED:
            return self.stop.limits[1 if self.stop.is_lower_better else 0]

        if self._evaluator is None:
            self._evaluator = FlowEvaluator(Path(self.evaluation.flow), self.grids._connections)
            rows = enumerate(DataFile(str(self.request.data)))
            self._rows = {row.get("line_number", index): row for index, row in rows}

        mapping = ColumnMapping(self.evaluation.column_mapping, self._evaluator.inputs, ["data", "run.outputs"])
        number = line.line_number or 0
        sources = {"data": self._rows[number], "run.outputs": line.output or {}}
        try:
            output = self._evaluator(**mapping.apply(sources, number))
        except Exception:  # an evaluator that fails on a row says nothing about it
            return None

        return ScoreRules().score((output or {}).get(self.stop.metric), is_named=True)


def _check_mapping(request: RunRequest, plan: GridPlan, evaluation: EvaluationRequest) -> None:
    """Map the first row with outputs that are still empty: a mistake shows before the cells cost anything."""
    inputs = load_flow(Path(evaluation.flow)).inputs
    cells = load_flow(plan.flow)
    sources = {
        "data": next(iter(DataFile(request.data)), {}) if request.data is not None else {},
        "run.inputs": dict.fromkeys(cells.inputs or ()),
        "run.outputs": dict.fromkeys(cells.outputs or ()),
    }
    data = request.data
    try:
        ColumnMapping(
            evaluation.column_mapping,
            inputs,
            sources,
            lambda source: columns(DataFile(data)) if source == "data" and data is not None else (),
        ).apply(sources)
    except (ApplyInputMappingError, ValidationException) as error:
        name = next(iter(inputs or {}), "answer")
        output = next(iter(cells.outputs or {}), "answer")
        raise ExperimentError(
            f"The cells cannot be evaluated: {error.message}",
            hint=f"Map the evaluator's inputs, for example: --eval-mapping {name}='${{run.outputs.{output}}}' "
            "ground_truth='${data.label}'",
        ) from error


def _shuffled(data: str, experiment: str) -> str:
    """A copy of the rows in random order that keeps their numbers; early stopping needs an order without meaning."""
    folder = home() / "experiments" / check_name(experiment, "an experiment")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**row, "line_number": row.get("line_number", index)} for index, row in enumerate(DataFile(data))]
    random.Random(0).shuffle(rows)
    path = folder / "rows.jsonl"
    path.write_text("".join(dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def _default_name(plan: GridPlan) -> str:
    stamp = dt.datetime.now().astimezone().strftime("%Y%m%d_%H%M%S_%f")
    return f"{plan.flow.parent.name}_grid_{stamp}"
