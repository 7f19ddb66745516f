"""Batch runs for the studio: what a plan will do, and its execution as an experiment in a process of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from promptflow_lite.batch.data import DataFile
from promptflow_lite.evals.grid import GridPlan, GridRequest
from promptflow_lite.flow import load_yaml
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.grids import EvaluationRequest, GridResult
from promptflow_lite.sdk.runs import ExecutionOptions, RunRequest
from promptflow_lite.sdk.studio.graph import Graph, read_graph
from promptflow_lite.sdk.studio.jobs import Job, start_job, studio_jobs

_TRUTH_NAMES = ("ground_truth", "groundtruth", "expected", "reference", "target", "truth", "label")
_ANSWER_NAMES = ("answer", "prediction", "output", "response", "actual", "text", "candidate")
_MODEL_KINDS = ("llm", "custom_llm")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """An evaluator and what its inputs read."""

    flow: str
    mapping: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """An experiment: every cell of a grid over the rows of a file, and each evaluator over each of them."""

    flow: str
    data: str
    name: str
    mapping: dict[str, Any] = field(default_factory=dict)
    grid: GridRequest = field(default_factory=GridRequest)
    evaluations: list[EvaluationPlan] = field(default_factory=list)
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEstimate:
    """What a plan will take."""

    cells: list[str]
    """What each cell is."""
    n_runs: int
    """Evaluations included."""
    n_lines: int
    calls: int
    """Model calls of the cells, work that cells share counted once."""
    naive_calls: int
    """Model calls if every cell did all of its work."""
    judge_calls: int
    """Model calls of the evaluators."""
    tokens: int
    """A rough estimate, the evaluators left out."""


def preview(data: str | Path, limit: int = 5) -> list[dict[str, Any]]:
    """The first rows of a data file."""
    return [dict(row) for row in islice(DataFile(data), limit)]


def count_rows(data: str | Path) -> int:
    """How many rows a data file has."""
    return DataFile(data).count()


def flow_graph(folder: str | Path) -> Graph:
    """The graph of a stored flow; inputs and outputs of an evaluator, for example."""
    return read_graph(load_yaml(Path(folder) / "flow.dag.yaml").value, {})


def auto_mapping(graph: Graph, columns: Sequence[str]) -> dict[str, str]:
    """For each input of a flow the column of the same name, as far as there is one."""
    by_name = {_plain(column): column for column in columns}
    return {name: f"${{data.{by_name[_plain(name)]}}}" for name in graph.inputs if _plain(name) in by_name}


def mapped_row(graph: Graph, mapping: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that a row gives a flow: columns and constants as mapped, defaults for the rest."""
    inputs = {name: spec.get("default") for name, spec in graph.inputs.items()}
    for name, source in mapping.items():
        column = re.fullmatch(r"\$\{data\.(.+)\}", str(source))
        inputs[name] = row.get(column[1]) if column else source
    return inputs


def auto_evaluation(evaluator: Graph, columns: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """What the inputs of an evaluator most likely read: outputs of the run for answers, columns for truths."""
    return {
        name: source
        for name in evaluator.inputs
        if (source := _likely_source(_plain(name), columns, outputs)) is not None
    }


def _likely_source(name: str, columns: Sequence[str], outputs: Sequence[str]) -> str | None:
    in_data = {_plain(column): f"${{data.{column}}}" for column in columns}
    in_outputs = {_plain(output): f"${{run.outputs.{output}}}" for output in outputs}
    truths, answers = [_plain(item) for item in _TRUTH_NAMES], [_plain(item) for item in _ANSWER_NAMES]
    if name in truths:
        same = [in_data[item] for item in [name, *truths] if item in in_data]
        shared = [in_data[item] for item in in_outputs if item in in_data]
        return next(iter([*same, *shared]), None)

    if name in answers:
        same = [in_outputs[item] for item in [name, *answers, *truths] if item in in_outputs]
        return next(iter([*same, *in_outputs.values()]), None)

    return in_outputs.get(name) or in_data.get(name)


def model_calls(graph: Graph) -> int:
    """Model calls of one line; a node that maps over a list counts once."""
    return sum(node.kind in _MODEL_KINDS and not node.is_aggregation for node in graph.nodes.values())


def unused_name(stem: str, taken: Iterable[str]) -> str:
    """A run name that nobody uses."""
    base = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_") or "run"
    used = set(taken)
    stamp = time.strftime("%m%d_%H%M")
    candidates = (f"{base}_{stamp}" if number == 1 else f"{base}_{stamp}_{number}" for number in range(1, 1000))
    return next(name for name in candidates if not any(other.startswith(name) for other in used))


def estimate(client: Client, plan: BatchPlan) -> BatchEstimate:
    """What a plan will take; runs nothing.

    Raises:
        PromptflowException: the grid does not fit the flow, or the data cannot be read.
    """
    grid = client.grids.plan(plan.flow, plan.grid, plan.data)
    n_cells = len(grid.cells) * grid.repeat
    judged = sum(model_calls(flow_graph(evaluation.flow)) for evaluation in plan.evaluations)
    n_runs = n_cells * (1 + len(plan.evaluations))
    return BatchEstimate(
        cells=[cell.label for cell in grid.cells],
        n_runs=n_runs,
        n_lines=n_runs * grid.n_rows,
        calls=grid.shared_calls,
        naive_calls=grid.naive_calls,
        judge_calls=judged * n_cells * grid.n_rows,
        tokens=grid.prompt_tokens + grid.completion_tokens,
    )


def run_names(plan: BatchPlan, grid: GridPlan) -> list[str]:
    """The runs of a plan without its evaluations, in the order they start."""
    return [name for _, _, name in grid.runs(plan.name)]


def start_batch(client: Client, plan: BatchPlan) -> Job:
    """Hand a plan to a new process and return at once.

    Raises:
        PromptflowException: the grid does not fit the flow, or the data cannot be read.
    """
    names = run_names(plan, client.grids.plan(plan.flow, plan.grid, plan.data))
    return start_job("grid", names, {"plan": asdict(plan), "is_resumed": False})


def resume_batch(job: Job) -> Job:
    """Go on with an experiment that was stopped: what is complete stays."""
    return start_job("grid", job.names, {**job.request, "is_resumed": True})


def start_resume(run: str) -> Job:
    """Run the lines of a run again that are missing or failed, and its evaluations of them, in a new process."""
    return start_job("resume", [run], {"run": run})


def batch_jobs(within_s: float) -> list[Job]:
    """Experiments and resumed runs that were started lately, the newest first; each experiment once."""
    newest: dict[tuple[str, ...], Job] = {}
    for job in studio_jobs("grid", "resume", within_s=within_s):
        newest.setdefault((job.kind, *job.names), job)
    return list(newest.values())


def plan_from_data(data: Mapping[str, Any]) -> BatchPlan:
    """A plan that went through JSON."""
    evaluations = [EvaluationPlan(**item) for item in data["evaluations"]]
    return BatchPlan(**{**data, "grid": GridRequest(**data["grid"]), "evaluations": evaluations})


def run_plan(client: Client, plan: BatchPlan, *, is_resumed: bool, announce: Callable[[str], None]) -> GridResult:
    """Execute a plan in this process."""
    request = RunRequest(flow=plan.flow, data=plan.data, column_mapping=plan.mapping or None, name=plan.name)
    return client.grids.run(
        request,
        plan.grid,
        evaluations=[EvaluationRequest(flow=item.flow, column_mapping=item.mapping) for item in plan.evaluations],
        options=ExecutionOptions(concurrency=plan.concurrency),
        is_resumed=is_resumed,
        announce=announce,
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
