"""`evaluate()`: a target and evaluators over the rows of a file, with the result of the original's function.

An evaluator is a function, an object that can be called, a class, or the path of a flow or prompty. A row that an
evaluator cannot score is None in the result and counted nowhere; the others go on.
"""

from __future__ import annotations

import inspect
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

from promptflow_lite._utils.files import replace_file
from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.batch.data import DataFile
from promptflow_lite.connections import ConnectionSource
from promptflow_lite.errors import EvaluatorError, PromptflowException
from promptflow_lite.flow import load_flow
from promptflow_lite.records import Status
from promptflow_lite.runtime import create_executor

logger = logging.getLogger(__name__)

_OUTPUT_PREFIX = "__outputs."
_REFERENCE = re.compile(r"^\$\{(data|target)\.([^{}]+)\}$")
_LABEL_METRICS = ("protected_material", "eci", "xpia")
_MAX_THREADS = 8
_RESULT_FILE = "evaluation_results.json"
_UNEXPECTED_REFERENCES = (
    "Unexpected references detected in 'evaluator_config'. Ensure only ${target.} and ${data.} are used."
)


def evaluate(
    *,
    evaluation_name: str | None = None,
    target: Callable[..., Any] | None = None,
    data: str | None = None,
    evaluators: Mapping[str, Any] | None = None,
    evaluator_config: Mapping[str, Mapping[str, str]] | None = None,
    azure_ai_project: Mapping[str, Any] | None = None,
    output_path: str | None = None,
    connections: ConnectionSource | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Run a target over rows and score what it returns.

    Args:
        evaluation_name: A name for the evaluation; accepted for compatibility.
        target: Called with the columns that its parameters name; its outputs become columns.
        data: A JSONL file.
        evaluators: Name -> evaluator.
        evaluator_config: Name (or `default`) -> parameter -> `${data.column}` or `${target.output}`.
        azure_ai_project: Accepted for compatibility; nothing leaves this machine.
        output_path: A file for the result, or a folder.
        connections: Where flows look up connections.
    Returns:
        `rows`, `metrics` (means of numeric columns, plus what `__aggregate__` returns) and `studio_url`.
    Raises:
        ValueError: arguments, columns or references do not fit, with the original's messages.
    """
    rows = _load_rows(target, data, evaluators, output_path)
    config = _checked_config(evaluator_config)
    scorers = {name: as_evaluator(item, connections) for name, item in (evaluators or {}).items()}
    outputs = _run_target(target, rows) if target is not None else [{} for _ in rows]
    results = {
        name: _run_evaluator(name, scorer, rows, outputs, config.get(name, config.get("default", {})))
        for name, scorer in scorers.items()
    }
    result = {
        "rows": [_result_row(index, row, outputs, results) for index, row in enumerate(rows)],
        "metrics": {
            key: value for name in results for key, value in _metrics(name, scorers[name], results[name]).items()
        },
        "studio_url": None,
    }
    if output_path is not None:
        _write(result, Path(output_path))

    return result


# --- evaluators of every kind ---


def as_evaluator(evaluator: Any, connections: ConnectionSource | None = None) -> Callable[..., Any]:
    """Anything that scores as a callable with keyword arguments.

    Args:
        evaluator: A function, an instance, a class without required arguments, or the path of a flow or prompty.
        connections: Where a flow looks up connections.
    Raises:
        EvaluatorError: it is none of these.
    """
    if isinstance(evaluator, str | Path):
        return FlowEvaluator(Path(evaluator), connections)

    if inspect.isclass(evaluator):
        evaluator = evaluator()

    if not callable(evaluator):
        raise EvaluatorError(
            f"{type(evaluator).__name__} is no evaluator.",
            hint="Use a function, a class with __call__, or the path of a flow or prompty.",
        )

    call: Callable[..., Any] = evaluator
    return call


class FlowEvaluator:
    """A flow or prompty that scores one row; its inputs are the flow's.

    Args:
        path: The flow's folder or file.
        connections: Where connections are looked up.
    """

    def __init__(self, path: Path, connections: ConnectionSource | None = None) -> None:
        flow = load_flow(path)
        self._executor = create_executor(flow, connections or _NoConnections())
        self.inputs = dict(flow.inputs or {})

    def __call__(self, **values: Any) -> Any:
        known = {name: value for name, value in values.items() if not self.inputs or name in self.inputs}
        line = self._executor.run_line(known)
        if line.status is not Status.COMPLETED:
            raise line.exception or EvaluatorError(str((line.error or {}).get("message")))

        return line.output


class _NoConnections:
    """Where no store is at hand, no connection has a name."""

    def get(self, name: str) -> Any:
        raise EvaluatorError(f"Connection {name!r} cannot be looked up here.", hint="Pass `connections=`.")

    def names(self) -> list[str]:
        return []


# --- arguments ---


def _load_rows(target: Any, data: Any, evaluators: Any, output_path: Any) -> list[dict[str, Any]]:
    if data is None:
        raise ValueError("data must be provided for evaluation.")

    if not isinstance(data, str):
        raise ValueError("data must be a string.")

    if target is not None and not callable(target):
        raise ValueError("target must be a callable function.")

    if not isinstance(evaluators, Mapping):
        raise ValueError("evaluators must be a dictionary.")

    if output_path is not None and not isinstance(output_path, str):
        raise ValueError("output_path must be a string.")

    try:
        rows = list(DataFile(data))
    except PromptflowException as error:
        raise ValueError(
            f"Failed to load data from {data}. Please validate it is a valid jsonl data. Error: {error}"
        ) from error

    reserved = sorted({name for row in rows for name in row if name.startswith(_OUTPUT_PREFIX)})
    if target is not None and reserved:
        raise ValueError(f"The data columns {reserved} start with {_OUTPUT_PREFIX!r}, which targets use.")

    return rows


def _checked_config(config: Mapping[str, Mapping[str, str]] | None) -> dict[str, dict[str, str]]:
    for mapping in (config or {}).values():
        for value in mapping.values():
            if str(value).startswith("${") and not _REFERENCE.match(str(value)):
                raise ValueError(_UNEXPECTED_REFERENCES)

    return {name: dict(mapping) for name, mapping in (config or {}).items()}


# --- running ---


def _run_target(target: Callable[..., Any], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    _require_columns(target, _columns(rows), "Missing required inputs for target : {}.")
    outputs = _over_rows(lambda row: target(**_accepted(target, row)), rows)
    return [output if isinstance(output, dict) else {} if output is None else {"output": output} for output in outputs]


def _run_evaluator(
    name: str,
    scorer: Callable[..., Any],
    rows: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
    mapping: Mapping[str, str],
) -> list[dict[str, Any] | None]:
    inputs = [_mapped(row, output, mapping) for row, output in zip(rows, outputs, strict=True)]
    _require_columns(scorer, _columns(inputs), f"Missing required inputs for evaluator {name} : {{}}.")
    scores = _over_rows(lambda values: scorer(**_accepted(scorer, values)), inputs)
    return [score if isinstance(score, dict) or score is None else {"score": score} for score in scores]


def _mapped(row: Mapping[str, Any], output: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """Inputs of an evaluator: columns of the data, then outputs of the target, then what the configuration maps."""
    values = {**row, **output}
    for parameter, value in mapping.items():
        match = _REFERENCE.match(str(value))
        if match is None:
            values[parameter] = value
        else:
            source = row if match[1] == "data" else output
            values[parameter] = source.get(match[2])

    return values


def _columns(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    return {name for row in rows for name in row}


def _require_columns(call: Callable[..., Any], columns: set[str], message: str) -> None:
    required, _ = _parameters(call)
    missing = [name for name in required if name not in columns]
    if missing:
        raise ValueError(message.format(missing))


def _parameters(call: Callable[..., Any]) -> tuple[list[str], list[str] | None]:
    """Names that a callable requires, and all that it takes; None for any name."""
    if isinstance(call, FlowEvaluator):
        return [name for name, spec in call.inputs.items() if spec.default is None], list(call.inputs) or None

    parameters = inspect.signature(call).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters) and not named
    return [p.name for p in named if p.default is p.empty], None if takes_any else [p.name for p in named]


def _accepted(call: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    _, names = _parameters(call)
    return {name: value for name, value in values.items() if names is None or name in names}


def _over_rows(call: Callable[[Any], Any], rows: Sequence[Any]) -> list[Any]:
    def one(row: Any) -> Any:
        try:
            return call(row)
        except Exception as error:  # a row that cannot be scored is a value of None, not the end of the evaluation
            logger.warning("A row failed: %s: %s", type(error).__name__, error)
            return None

    if not rows:
        return []

    with ThreadPoolExecutor(max_workers=min(_MAX_THREADS, len(rows))) as pool:
        return [future.result() for future in [pool.submit(copy_context().run, one, row) for row in rows]]


# --- the result ---


def _result_row(
    index: int,
    row: Mapping[str, Any],
    outputs: Sequence[Mapping[str, Any]],
    results: Mapping[str, Sequence[Mapping[str, Any] | None]],
) -> dict[str, Any]:
    columns = {name: {key for score in scores if score for key in score} for name, scores in results.items()}
    return {
        **{f"inputs.{name}": value for name, value in row.items()},
        **{f"outputs.{name}": value for name, value in outputs[index].items()},
        **{
            f"outputs.{name}.{key}": (results[name][index] or {}).get(key)
            for name in results
            for key in sorted(columns[name])
        },
    }


def _metrics(name: str, scorer: Callable[..., Any], scores: Sequence[Mapping[str, Any] | None]) -> dict[str, float]:
    known = [score for score in scores if score is not None]
    metrics: dict[str, float] = {}
    for key in dict.fromkeys(key for score in known for key in score):
        values = [score[key] for score in known if key in score and score[key] is not None]
        label = key.removesuffix("_label")
        if key.endswith("_label") and label in _LABEL_METRICS:
            metrics[f"{name}.{label}_defect_rate"] = (
                round(sum(map(bool, values)) / len(values), 2) if values else math.nan
            )
            continue

        numbers = [float(v) for v in values if isinstance(v, int | float) and not math.isnan(v)]
        if numbers and len(numbers) == len([v for v in values if v == v]):
            metrics[f"{name}.{key}"] = sum(numbers) / len(numbers)

    aggregate = getattr(scorer, "__aggregate__", None)
    if aggregate is not None and known:
        metrics |= {f"{name}.{key}": value for key, value in dict(aggregate(known)).items()}

    return metrics


def _write(result: Mapping[str, Any], path: Path) -> None:
    target = path / _RESULT_FILE if path.is_dir() else path
    replace_file(target, dumps(dict(result), indent=True))
