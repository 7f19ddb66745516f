"""What a run scored on every row: read from the run, or from the evaluation runs that looked at its outputs.

A row is one of three things, and none is ever dropped silently: *scored*; *failed*, when the run itself has no output
for it; *unscored*, when the run answered but the evaluator crashed or said it could not tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.memo import SAVED_SECONDS
from promptflow_lite.evals.pricing import PriceTable, line_cost
from promptflow_lite.records import LineResult, RunRecord, Status

PASS_WORDS = frozenset({"correct", "pass", "passed", "true", "yes", "match", "good"})
FAIL_WORDS = frozenset({"incorrect", "fail", "failed", "false", "no", "mismatch", "wrong", "bad"})


class RunSource(Protocol):
    """Where runs are read from; the store's run repository is one."""

    def get(self, name: str) -> RunRecord: ...

    def iter_lines(self, name: str, *, with_steps: bool = ...) -> Iterator[LineResult]: ...

    def list(self, max_results: int | None = ..., *, base_run: str | None = ...) -> list[RunRecord]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRules:
    """How outputs become scores."""

    pass_words: frozenset[str] = PASS_WORDS
    """Texts that count as 1, in lower case."""
    fail_words: frozenset[str] = FAIL_WORDS
    """Texts that count as 0, in lower case."""
    metrics: tuple[str, ...] = ()
    """Only these metrics, by output name or `flow.output`; empty for all. A metric named here may be text."""

    def wants(self, evaluator: str, output: str) -> bool:
        return not self.metrics or output in self.metrics or f"{evaluator}.{output}" in self.metrics

    def score(self, value: Any, *, is_named: bool = False) -> float | None:
        """A score, or None when the value is none: NaN, null, an object or a text that says neither pass nor fail."""
        if isinstance(value, bool | int | float):
            return float(value) if math.isfinite(value) else None

        if not isinstance(value, str):
            return None

        word = value.strip().lower()
        if word in self.pass_words or word in self.fail_words:
            return float(word in self.pass_words)

        return _number(word) if is_named else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None

    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricScores:
    """One metric of one run."""

    evaluator: str
    """Flow that produced the metric."""
    output: str
    scores: Mapping[int, float]
    """Line number -> score."""
    unscored: Mapping[int, str]
    """Line number -> why the evaluator gave no score."""

    @property
    def key(self) -> tuple[str, str]:
        return self.evaluator, self.output


@dataclass(slots=True, kw_only=True)
class RunScores:
    """Everything a comparison reads about one run."""

    record: RunRecord
    metrics: list[MetricScores] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    """Line number -> error message of rows without an output."""
    inputs: dict[int, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[int, dict[str, Any]] = field(default_factory=dict)
    extra_columns: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Inputs of the evaluation runs, such as a ground truth the run itself never saw."""
    latency_s: dict[int, float] = field(default_factory=dict)
    tokens: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Line number -> prompt tokens, completion tokens."""
    cost: dict[int, float] = field(default_factory=dict)
    """Line number -> money, where a price is known."""
    evaluations: list[str] = field(default_factory=list)
    """Names of the evaluation runs that were read."""

    @property
    def rows(self) -> list[int]:
        return sorted({*self.outputs, *self.failed})


def collect_scores(
    source: RunSource,
    name: str,
    *,
    rules: ScoreRules | None = None,
    evaluations: Sequence[str] | None = None,
    prices: PriceTable | None = None,
) -> RunScores:
    """Read what a run scored.

    Args:
        source: The store's run repository.
        name: The run.
        rules: How outputs become scores.
        evaluations: Evaluation runs to read; default: the newest finished one of every flow that evaluated the run.
            With none, the run's own outputs are searched for scores.
        prices: Prices of tokens, to add up money.
    Raises:
        RunNotFoundError: there is no such run.
        EvaluatorError: a named evaluation run did not evaluate this run.
    """
    rules = rules or ScoreRules()
    result = RunScores(record=source.get(name))
    # Time saved by sharing stands in the spans of an experiment's lines, models and their tokens in those of any line.
    needs_steps = prices is not None or "experiment" in result.record.properties
    for line in source.iter_lines(name, with_steps=needs_steps):
        _take_line(result, line, prices)

    chosen = _evaluations(source, name, evaluations)
    result.evaluations = [record.name for record in chosen]
    for record in chosen:
        result.metrics += _evaluation_metrics(source, record, result, rules)

    if not chosen:
        evaluator = result.record.flow_name or result.record.flow
        result.metrics = _score_columns(evaluator, result.outputs, sorted(result.outputs), {}, rules)

    result.metrics += _own_measures(result, rules)
    return result


RUN_MEASURES = ("latency_s", "total_tokens", "cost")
"""Measures of the run itself that can be asked for as metrics; less is better."""


def _own_measures(result: RunScores, rules: ScoreRules) -> list[MetricScores]:
    """Time, tokens and money of every answered row, where they were asked for by name."""
    values: dict[str, Mapping[int, float]] = {
        "latency_s": result.latency_s,
        "total_tokens": {row: float(sum(tokens)) for row, tokens in result.tokens.items()},
        "cost": result.cost,
    }
    return [
        MetricScores(
            evaluator="run",
            output=name,
            scores=values[name],
            unscored=dict.fromkeys(set(result.outputs) - set(values[name]), "its price is unknown"),
        )
        for name in RUN_MEASURES
        if name in rules.metrics
    ]


def _take_line(result: RunScores, line: LineResult, prices: PriceTable | None) -> None:
    number = line.line_number if line.line_number is not None else len(result.inputs)
    result.inputs[number] = {name: value for name, value in (line.inputs or {}).items() if name != "line_number"}
    if line.status is not Status.COMPLETED:
        result.failed[number] = _message(line.error) or line.status.value
        return

    result.outputs[number] = line.output or {}
    result.latency_s[number] = line.duration_s + saved_seconds(line)
    result.tokens[number] = (line.usage.prompt_tokens, line.usage.completion_tokens)
    cost = line_cost(line, prices) if prices else None
    if cost is not None:
        result.cost[number] = cost


def saved_seconds(line: LineResult) -> float:
    """Time that nodes shared with other cells would have taken in this line."""
    return sum(
        float(span.attributes.get(SAVED_SECONDS, 0.0)) for node in line.nodes for span in node.spans if span.attributes
    )


def _message(error: Mapping[str, Any] | None) -> str:
    return str((error or {}).get("message") or "")


def _evaluations(source: RunSource, name: str, wanted: Sequence[str] | None) -> list[RunRecord]:
    if wanted is not None:
        records = [source.get(evaluation) for evaluation in wanted]
        foreign = [record.name for record in records if record.run != name]
        if foreign:
            raise EvaluatorError(f"Run {foreign[0]!r} does not evaluate {name!r}.", hint="Name runs made with --run.")

        return records

    newest: dict[str, RunRecord] = {}
    for record in source.list(None, base_run=name):
        if record.status is Status.COMPLETED or record.completed_lines:
            newest.setdefault(record.flow_name or record.flow, record)

    return [newest[flow] for flow in sorted(newest)]


def _evaluation_metrics(source: RunSource, record: RunRecord, base: RunScores, rules: ScoreRules) -> list[MetricScores]:
    outputs: dict[int, dict[str, Any]] = {}
    problems: dict[int, str] = {}
    for line in source.iter_lines(record.name, with_steps=False):
        number = line.line_number if line.line_number is not None else len(outputs)
        base.extra_columns.setdefault(number, {}).update(line.inputs or {})
        if line.status is Status.COMPLETED:
            outputs[number] = line.output or {}
        else:
            problems[number] = _message(line.error) or line.status.value

    return _score_columns(record.flow_name or record.flow, outputs, sorted(base.outputs), problems, rules)


def _score_columns(
    evaluator: str,
    outputs: Mapping[int, Mapping[str, Any]],
    rows: Iterable[int],
    problems: Mapping[int, str],
    rules: ScoreRules,
) -> list[MetricScores]:
    rows = list(rows)
    names: dict[str, None] = {}
    for output in outputs.values():
        names.update(dict.fromkeys(output))

    found = []
    for name in names:
        if not rules.wants(evaluator, name) or not _is_score_column(outputs, name, rules):
            continue

        scores: dict[int, float] = {}
        unscored: dict[int, str] = {}
        for row in rows:
            value = outputs.get(row, {}).get(name)
            score = rules.score(value, is_named=bool(rules.metrics))
            if score is not None:
                scores[row] = score
            else:
                unscored[row] = problems.get(row) or _no_score(row in outputs, value)

        found.append(MetricScores(evaluator=evaluator, output=name, scores=scores, unscored=unscored))

    return found


def _is_score_column(outputs: Mapping[int, Mapping[str, Any]], name: str, rules: ScoreRules) -> bool:
    """A column of numbers, booleans or pass/fail words; texts beside them make it no metric unless it was asked for."""
    is_named = bool(rules.metrics)
    seen = False
    for output in outputs.values():
        value = output.get(name)
        if rules.score(value, is_named=is_named) is not None:
            seen = True
        elif isinstance(value, str | list | dict) and not is_named and value != "":
            return False

    return seen


def _no_score(is_evaluated: bool, value: Any) -> str:
    return f"the evaluator returned {value!r}" if is_evaluated else "the evaluator did not run on this row"
