"""Batch runs for the studio: what a plan will do, and the process of its own that does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.batch.data import DataFile
from promptflow_lite.flow import load_yaml
from promptflow_lite.sdk.studio.graph import Graph, read_graph
from promptflow_lite.settings import home

_TRUTH_NAMES = ("ground_truth", "groundtruth", "expected", "reference", "target", "truth", "label")
_ANSWER_NAMES = ("answer", "prediction", "output", "response", "actual", "text", "candidate")
_MODEL_KINDS = ("llm", "custom_llm")
STARTUP_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """An evaluator and what its inputs read."""

    flow: str
    mapping: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """Runs to make: one for each variant, and each evaluator over each of them."""

    flow: str
    data: str
    mapping: dict[str, Any] = field(default_factory=dict)
    variants: list[str | None] = field(default_factory=lambda: [None])
    """Selections such as `${node.variant}`; None is the default."""
    evaluations: list[EvaluationPlan] = field(default_factory=list)
    name: str = ""
    concurrency: int | None = None

    def run_names(self) -> list[str]:
        """The names of the runs, in the order of the variants."""
        return [f"{self.name}_{_suffix(variant)}" if variant else self.name for variant in self.variants]


@dataclass(slots=True)
class BatchJob:
    """A plan that was handed to a process."""

    id: str
    names: list[str]
    """Runs that it makes; those that do not exist yet are queued."""
    pid: int
    started: float
    error: dict[str, Any] | None = None
    is_finished: bool = False


def preview(data: str | Path, limit: int = 5) -> list[dict[str, Any]]:
    """The first rows of a data file."""
    return [dict(row) for _, row in zip(range(limit), DataFile(data), strict=False)]


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


def start_batch(plan: BatchPlan) -> BatchJob:
    """Hand a plan to a new process and return at once."""
    return _start({"plan": asdict(plan)}, plan.run_names())


def start_resume(run: str) -> BatchJob:
    """Run the lines of a run again that are missing or failed, in a new process."""
    return _start({"resume": run}, [run])


def batch_jobs() -> list[BatchJob]:
    """Jobs of the last days, the newest first."""
    jobs = [_read(path) for path in _folder().glob("*.json")]
    return sorted((job for job in jobs if job is not None), key=lambda job: -job.started)


def is_alive(job: BatchJob) -> bool:
    """Whether the job's process still runs."""
    if job.is_finished:
        return False

    if job.pid == 0:  # the process has not yet written down who it is
        return time.time() - job.started < STARTUP_S

    try:
        if os.waitpid(job.pid, os.WNOHANG) != (0, 0):
            return False
    except ChildProcessError:
        pass  # started by another studio

    try:
        os.kill(job.pid, 0)
    except OSError:
        return False

    return True


def _start(request: Mapping[str, Any], names: list[str]) -> BatchJob:
    path = _folder() / f"{uuid.uuid4().hex}.json"
    path.write_text(dumps({**request, "names": names, "started": time.time(), "pid": 0}), encoding="utf-8")
    log = path.with_suffix(".log")
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "promptflow_lite.sdk.studio.batch_child", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return BatchJob(path.stem, names, process.pid, time.time())


def _folder() -> Path:
    folder = home() / "studio" / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read(path: Path) -> BatchJob | None:
    try:
        data = loads(path.read_bytes())
        return BatchJob(
            path.stem, data["names"], data["pid"], data["started"], data.get("error"), bool(data.get("is_finished"))
        )
    except (OSError, ValueError, KeyError):
        return None


def _suffix(variant: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", variant.strip("${}")).strip("_")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
