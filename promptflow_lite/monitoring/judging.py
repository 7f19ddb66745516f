"""Evaluators over recorded requests: a sample is judged, scores are kept, deployments are compared on the same rows."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.connections import ConnectionSource
from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.stats import Interval, PairedTest, mean_interval, paired_test
from promptflow_lite.records import RequestScore, ServedRequest, Status
from promptflow_lite.store import Store

logger = logging.getLogger(__name__)

BUILT_IN = {
    "exact_match": "promptflow_lite.evals.measures.text:exact_match",
    "contains": "promptflow_lite.evals.measures.text:contains",
    "f1": "promptflow_lite.evals.measures.text:token_f1",
    "edit_similarity": "promptflow_lite.evals.measures.text:edit_similarity",
}
"""Evaluators that need no model, by the name under which a command knows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Something that scores one request."""

    name: str
    call: Callable[..., Any]
    """Takes keyword arguments; returns a number, a truth value, or a mapping of metric to number."""
    parameters: tuple[str, ...]
    required: frozenset[str]
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Parameter -> `${inputs.x}` or `${outputs.x}`; others are found by name, in outputs first."""

    def arguments(self, record: ServedRequest) -> dict[str, Any] | None:
        """What to call it with; None when the request lacks something it needs."""
        inputs, outputs = record.inputs or {}, record.output if isinstance(record.output, dict) else {}
        found: dict[str, Any] = {}
        for name in self.parameters:
            section, _, key = self.mapping.get(name, "").removeprefix("${").removesuffix("}").partition(".")
            sources = {"inputs": [inputs], "outputs": [outputs]}.get(section, [outputs, inputs])
            source = next((values for values in sources if (key or name) in values), None)
            if source is not None:
                found[name] = source[key or name]
            elif name in self.required:
                return None
        return found


def load_evaluator(
    name: str, target: str, *, mapping: Mapping[str, str] | None = None, connections: ConnectionSource | None = None
) -> Evaluator:
    """An evaluator from a built-in name, `module:attribute`, or the path of an evaluation flow.

    A class is instantiated without arguments; a flow's numeric outputs are its metrics.

    Raises:
        EvaluatorError: there is no such evaluator.
    """
    if Path(target).exists():
        return _flow_evaluator(name, target, mapping or {}, connections)

    module, _, attribute = BUILT_IN.get(target, target).partition(":")
    if not attribute:
        raise EvaluatorError(
            f"There is no evaluator {target!r}.",
            hint=did_you_mean(target, BUILT_IN) or "Give module:attribute, or the path of an evaluation flow.",
        )

    try:
        value: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise EvaluatorError(f"The evaluator {target!r} cannot be loaded: {error}") from error

    call: Any = value() if inspect.isclass(value) else value
    parameters = [
        p for p in inspect.signature(call).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    return Evaluator(
        name=name,
        call=call,
        parameters=tuple(p.name for p in parameters),
        required=frozenset(p.name for p in parameters if p.default is p.empty),
        mapping=mapping or {},
    )


def _flow_evaluator(
    name: str, path: str, mapping: Mapping[str, str], connections: ConnectionSource | None
) -> Evaluator:
    from promptflow_lite.connections import DictConnectionSource
    from promptflow_lite.flow import load_flow
    from promptflow_lite.runtime import create_executor

    executor = create_executor(load_flow(Path(path)), connections or DictConnectionSource())

    def call(**arguments: Any) -> Any:
        line = executor.run_line(arguments)
        if line.status is not Status.COMPLETED:
            raise EvaluatorError((line.error or {}).get("message", "The evaluation flow failed."))

        return line.output

    specs = executor.input_specs
    required = frozenset(n for n, spec in specs.items() if spec.default is None)
    return Evaluator(name=name, call=call, parameters=tuple(specs), required=required, mapping=mapping)


def judge_requests(records: Sequence[ServedRequest], evaluator: Evaluator) -> list[RequestScore]:
    """Scores of stored requests; a judgement that fails is kept as a score without value, with its reason."""
    scores: list[RequestScore] = []
    for record in records:
        arguments = evaluator.arguments(record)
        if record.id is None or record.status_code >= 400 or arguments is None:
            continue

        scores += _judge(record.id, evaluator, arguments)
    return scores


def _judge(row: int, evaluator: Evaluator, arguments: dict[str, Any]) -> list[RequestScore]:
    now = time.time()
    try:
        result = evaluator.call(**arguments)
    except Exception as error:  # one bad row never stops the watch; it is counted
        logger.warning("Evaluator %s failed on request row %d: %s", evaluator.name, row, error)
        details = {"error": str(error)}
        return [
            RequestScore(
                request_row=row, evaluator=evaluator.name, metric=evaluator.name, value=None, at=now, details=details
            )
        ]

    values = result if isinstance(result, Mapping) else {evaluator.name: result}
    return [
        RequestScore(request_row=row, evaluator=evaluator.name, metric=str(metric), value=float(value), at=now)
        for metric, value in values.items()
        if isinstance(value, bool | int | float)
    ]


def sample_requests(records: Sequence[ServedRequest], fraction: float) -> list[ServedRequest]:
    """A share of requests, chosen by a hash of their ids: a request and its shadow are sampled together, every time."""
    limit = fraction * 2**64
    return [r for r in records if int.from_bytes(hashlib.sha256(r.request_id.encode()).digest()[:8], "big") < limit]


def judge_endpoint(
    store: Store, endpoint: str, evaluator: Evaluator, *, fraction: float = 1.0, since: float | None = None
) -> list[RequestScore]:
    """Judge a sample of the requests that this evaluator has not judged yet, and keep the scores."""
    done = {record.id for record, _ in store.requests.scores(endpoint, since=since, evaluator=evaluator.name)}
    records = store.requests.list(endpoint, since=since, limit=None, newest_first=False)
    fresh = [record for record in sample_requests(records, fraction) if record.id not in done]
    scores = judge_requests(fresh, evaluator)
    store.requests.add_scores(scores)
    return scores


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """One metric of one deployment."""

    deployment: str
    is_shadow: bool
    metric: str
    n: int
    n_failed: int
    mean: float | None
    interval: Interval | None


def summarize_scores(scores: Sequence[tuple[ServedRequest, RequestScore]]) -> list[ScoreSummary]:
    """Means with intervals, per deployment and metric."""
    groups: dict[tuple[str, bool, str], list[float | None]] = {}
    for record, score in scores:
        groups.setdefault((record.deployment, record.is_shadow, score.metric), []).append(score.value)
    summaries = []
    for (deployment, is_shadow, metric), values in sorted(groups.items()):
        known = [value for value in values if value is not None]
        summaries.append(
            ScoreSummary(
                deployment=deployment,
                is_shadow=is_shadow,
                metric=metric,
                n=len(known),
                n_failed=len(values) - len(known),
                mean=sum(known) / len(known) if known else None,
                interval=mean_interval(known),
            )
        )
    return summaries


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentVerdict:
    """Deployment `b` against `a` on the requests that both ran."""

    a: str
    b: str
    metric: str
    test: PairedTest
    verdict: Literal["better", "worse", "inconclusive"]


def compare_deployments(
    scores: Sequence[tuple[ServedRequest, RequestScore]], a: str, b: str, metric: str, *, alpha: float = 0.05
) -> DeploymentVerdict:
    """Test `b` against `a` by the paired test over requests that both were scored on (one answered, one as shadow).

    Raises:
        EvaluatorError: they share no scored request.
    """
    by_deployment: dict[str, dict[str, float]] = {a: {}, b: {}}
    for record, score in scores:
        if score.metric == metric and score.value is not None and record.deployment in by_deployment:
            by_deployment[record.deployment][record.request_id] = score.value
    shared = sorted(by_deployment[a].keys() & by_deployment[b].keys())
    if not shared:
        raise EvaluatorError(
            f"Deployments {a!r} and {b!r} were never scored on the same request by {metric!r}.",
            hint=f"Mirror traffic to one of them: pfl endpoint update -n … --mirror {b}=1",
        )

    test = paired_test([by_deployment[a][i] for i in shared], [by_deployment[b][i] for i in shared])
    is_clear = test.p_value < alpha
    verdict: Literal["better", "worse", "inconclusive"] = (
        "inconclusive" if not is_clear else "better" if test.difference > 0 else "worse"
    )
    return DeploymentVerdict(a=a, b=b, metric=metric, test=test, verdict=verdict)
