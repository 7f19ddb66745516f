"""Tuning: a better prompt for a node, found on training and validation rows, judged on untouched test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.files import check_name, replace_file
from promptflow_lite.batch.mapping import ColumnMapping
from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals import tune
from promptflow_lite.evals.comparison import Comparison
from promptflow_lite.evals.evaluate import FlowEvaluator
from promptflow_lite.evals.scores import ScoreRules
from promptflow_lite.flow import DagFlow, SourceSpec, load_flow, render_template
from promptflow_lite.flow.edit import AddVariant, SetNodeField, apply, read_for_edit, save
from promptflow_lite.providers import default_model
from promptflow_lite.records import LineResult, RunRecord, Status
from promptflow_lite.runtime import LineExecutor, create_executor, flow_process, resolve_environment
from promptflow_lite.sdk.runs import RunRequest
from promptflow_lite.settings import home

if TYPE_CHECKING:
    from promptflow_lite.connections import ConnectionSource
    from promptflow_lite.sdk.datasets import DatasetOperations
    from promptflow_lite.sdk.evaluations import EvaluationOperations
    from promptflow_lite.sdk.runs import RunOperations

_THREADS = 8
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRequest:
    """What to tune, on what, and how long to search."""

    flow: str | Path
    node: str
    """The LLM node whose template is tuned."""
    data: str
    """A data file or set."""
    answer: str
    """Column with the right answer, shown in examples."""
    evaluator: str | Path
    metric: str
    eval_mapping: Mapping[str, Any]
    column_mapping: Mapping[str, Any] = field(default_factory=dict)
    name: str = "tune"
    shares: tuple[float, float, float] = (0.2, 0.4, 0.4)
    """Training, validation and test rows."""
    sizes: Sequence[int] = (2, 4, 8)
    sets_each: int = 2
    rewrites: int = 3
    first_rows: int = 16
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult:
    """What the search found, and what it is worth."""

    winner: tune.Prompt
    rungs: tuple[tune.Rung, ...]
    n_candidates: int
    comparison: Comparison | None
    """Winner against baseline on the test rows; None when the baseline won."""
    template: Path
    """File with the winner's template."""


class TuneOperations:
    """Searches prompts.

    Args:
        runs: Executes the runs on the test rows.
        datasets: Keeps the splits.
        evaluations: Compares winner and baseline.
        connections: Where flows find their connections.
    """

    def __init__(
        self,
        runs: RunOperations,
        datasets: DatasetOperations,
        evaluations: EvaluationOperations,
        connections: ConnectionSource,
    ) -> None:
        self._runs = runs
        self._datasets = datasets
        self._evaluations = evaluations
        self._connections = connections

    def run(self, request: TuneRequest, *, announce: Callable[[str], None] = lambda text: None) -> TuneResult:
        """Split, propose, search on validation rows, and look at the test rows once, with the winner.

        Raises:
            EvaluatorError: the node has no chat template, or too few rows.
        """
        flow, template = _flow_and_template(request)
        parts = self._split(request)
        trial = _Trial(self._connections, flow, request)
        examples = trial.examples(self._datasets.rows(parts["train"]), template)
        candidates = [
            tune.baseline(template),
            *tune.few_shot_prompts(
                template, examples, sizes=request.sizes, n_each=request.sets_each, seed=request.seed
            ),
            *tune.rewritten_prompts(template, self._rewriter(template), request.rewrites),
        ]
        announce(f"{len(candidates)} candidates")
        validation = self._datasets.rows(parts["validation"])
        winner, rungs = tune.successive_halving(
            candidates, len(validation), trial.scorer(validation), first_rows=request.first_rows
        )
        path = _keep(winner, request.name)
        comparison = None if winner.is_baseline else self._test(request, flow, path, parts["test"])
        return TuneResult(
            winner=winner, rungs=tuple(rungs), n_candidates=len(candidates), comparison=comparison, template=path
        )

    def promote(self, request: TuneRequest, result: TuneResult, variant: str) -> Path:
        """Write the winner into the flow as a variant of its node; comments stay."""
        flow = load_flow(request.flow)
        if not isinstance(flow, DagFlow):
            raise _not_tunable(request.node)

        file = flow.path.parent / f"{request.node}__{variant}.jinja2"
        replace_file(file, result.winner.template)
        text, digest = read_for_edit(flow.path)
        text = apply(text, AddVariant(node=request.node, variant=variant))
        edit = SetNodeField(node=request.node, key="source.path", value=file.name, variant=variant)
        save(flow.path, apply(text, edit), digest)
        return flow.path

    def _split(self, request: TuneRequest) -> dict[str, str]:
        shares = dict(zip(_PARTS, request.shares, strict=True))
        rows = self._datasets.rows(request.data)
        if len(rows) < 3 * len(_PARTS):
            raise EvaluatorError(f"Tuning needs rows to learn, choose and test on; there are {len(rows)}.")

        kept = self._datasets.add(request.name, rows, source=str(request.data))
        by = request.answer if any(request.answer in row for row in rows) else None
        versions = self._datasets.split(f"{kept.name}@{kept.version}", shares, by=by, seed=request.seed)
        return {part: f"{version.name}@{version.version}" for part, version in versions.items()}

    def _rewriter(self, template: str) -> Callable[[int], str]:
        model = default_model(self._connections)
        current = tune.instruction_of(template) or "Do what the user asks."

        def rewrite(attempt: int) -> str:
            body: dict[str, Any] = {
                "messages": [
                    {"role": "system", "content": tune.REWRITE},
                    {"role": "user", "content": f"Instruction: {current}"},
                ],
                "temperature": 0.8,
                "seed": attempt,
                "max_tokens": 80,
            }
            answer = model.client.chat({**body, **({"model": model.model} if model.model else {})})
            return str(answer["choices"][0]["message"].get("content") or "")

        return rewrite

    def _test(self, request: TuneRequest, flow: DagFlow, template: Path, test: str) -> Comparison:
        data = self._datasets.path(test)
        names = []
        for name, variant in (("baseline", flow), ("tuned", _with_template(flow, request.node, template))):
            run = self._free_name(f"{request.name}_{name}")
            self._runs.create(
                RunRequest(flow=variant, data=data, name=run, column_mapping=dict(request.column_mapping) or None)
            )
            evaluation = RunRequest(
                flow=request.evaluator, data=data, run=run, column_mapping=request.eval_mapping, name=f"{run}_eval"
            )
            self._runs.create(evaluation)
            names.append(run)

        return self._evaluations.compare(names, metrics=[request.metric], title=f"{request.name}: untouched test rows")

    def _free_name(self, wanted: str) -> str:
        taken = {run.name for run in self._all_runs()}
        return next(name for name in (wanted, *(f"{wanted}_{i}" for i in range(2, 10_000))) if name not in taken)

    def _all_runs(self) -> list[RunRecord]:
        return self._runs.list(None, view="all")


class _Trial:
    """Runs candidates on rows without recording anything."""

    def __init__(self, connections: ConnectionSource, flow: DagFlow, request: TuneRequest) -> None:
        self._connections = connections
        self._flow = flow
        self._request = request
        self._evaluator = FlowEvaluator(Path(request.evaluator), connections)
        self._executors: dict[str, LineExecutor] = {}
        self._mapping = ColumnMapping(dict(request.column_mapping) or None, flow.inputs, ["data"])
        self._eval_mapping = ColumnMapping(request.eval_mapping, self._evaluator.inputs, ["data", "run.outputs"])

    def examples(self, rows: Sequence[Mapping[str, Any]], template: str) -> list[tune.Example]:
        """Solved training rows as the prompt would show them: the node's inputs are what the flow gives it."""
        question = tune.last_question(template)
        path = _keep(tune.baseline(template), self._request.name)
        lines = self._over([(path, row) for row in rows])
        found = []
        for row, line in zip(rows, lines, strict=True):
            node = line.node(self._request.node)
            if node is not None and node.inputs is not None and row.get(self._request.answer) is not None:
                text = render_template(question, node.inputs)
                found.append(tune.Example(question=text, answer=str(row[self._request.answer])))

        return found

    def scorer(self, rows: Sequence[Mapping[str, Any]]) -> Callable[[tune.Prompt, int], float | None]:
        """A function of candidate and row; rows are scored ahead in blocks, several at once."""
        known: dict[tuple[str, int], float | None] = {}

        def score(candidate: tune.Prompt, row: int) -> float | None:
            if (candidate.name, row) not in known:
                path = _keep(candidate, self._request.name)
                block = range(row, min(row + _THREADS, len(rows)))
                lines = self._over([(path, rows[index]) for index in block])
                for index, line in zip(block, lines, strict=True):
                    known[candidate.name, index] = self._score(line, rows[index])

            return known[candidate.name, row]

        return score

    def _over(self, work: Sequence[tuple[Path, Mapping[str, Any]]]) -> list[LineResult]:
        environment = resolve_environment(self._flow.environment_variables, {}, self._connections)
        with flow_process(self._flow.root, environment), ThreadPoolExecutor(_THREADS) as pool:
            executors = {path: self._executor(path) for path, _ in work}
            futures = [pool.submit(copy_context().run, self._line, executors[path], row) for path, row in work]
            return [future.result() for future in futures]

    def _executor(self, template: Path) -> LineExecutor:
        key = str(template)
        if key not in self._executors:
            flow = _with_template(self._flow, self._request.node, template)
            self._executors[key] = create_executor(flow, self._connections)

        return self._executors[key]

    def _line(self, executor: LineExecutor, row: Mapping[str, Any]) -> LineResult:
        return executor.run_line(self._mapping.apply({"data": row}, 0), line_number=0)

    def _score(self, line: LineResult, row: Mapping[str, Any]) -> float | None:
        if line.status is not Status.COMPLETED:
            return None

        try:
            output = self._evaluator(**self._eval_mapping.apply({"data": row, "run.outputs": line.output or {}}, 0))
        except Exception:  # an evaluator that fails on a row says nothing about it
            return None

        return ScoreRules().score((output or {}).get(self._request.metric), is_named=True)


def _flow_and_template(request: TuneRequest) -> tuple[DagFlow, str]:
    flow = load_flow(request.flow)
    node = flow.node(request.node) if isinstance(flow, DagFlow) else None
    if (
        not isinstance(flow, DagFlow)
        or node is None
        or node.type != "llm"
        or node.source is None
        or not node.source.path
    ):
        raise _not_tunable(request.node)

    return flow, (flow.root / node.source.path).read_text("utf-8")


def _not_tunable(node: str) -> EvaluatorError:
    return EvaluatorError(f"{node!r} is no LLM node with a template.", hint="Name one with --node.")


def _with_template(flow: DagFlow, node_name: str, template: Path) -> DagFlow:
    nodes = []
    for node in flow.nodes:
        is_tuned = node.name == node_name
        source = replace(node.source or SourceSpec(), path=str(template))
        nodes.append(replace(node, source=source) if is_tuned else node)

    return replace(flow, nodes=tuple(nodes))


def _keep(prompt: tune.Prompt, name: str) -> Path:
    folder = home() / "tuning" / check_name(name, "a search")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prompt.name.replace(' ', '_').replace(',', '')}.jinja2"
    if not path.exists() or path.read_text("utf-8") != prompt.template:
        path.write_text(prompt.template, "utf-8")

    return path
