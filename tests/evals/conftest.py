"""Runs in memory, in the shape the store gives them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from promptflow_lite.evals.compare import Candidate, compare
from promptflow_lite.evals.comparison import CompareSettings, Comparison
from promptflow_lite.evals.scores import collect_scores
from promptflow_lite.records import LineResult, RunRecord, Status, Usage


class RunsInMemory:
    """A run source that holds what a test put in."""

    def __init__(self) -> None:
        self.records: dict[str, RunRecord] = {}
        self.lines: dict[str, list[LineResult]] = {}

    def get(self, name: str) -> RunRecord:
        return self.records[name]

    def iter_lines(self, name: str, *, with_steps: bool = True) -> Iterator[LineResult]:
        return iter(self.lines[name])

    def list(self, max_results: int | None = 50, *, base_run: str | None = None) -> list[RunRecord]:
        found = [record for record in self.records.values() if base_run is None or record.run == base_run]
        return sorted(found, key=lambda record: -record.created_on)

    def add(
        self,
        name: str,
        outputs: Sequence[Mapping[str, Any] | str | None],
        *,
        run: str | None = None,
        flow: str = "flow",
        inputs: Sequence[Mapping[str, Any]] = (),
        latency_s: Sequence[float] = (),
        tokens: tuple[int, int] = (10, 2),
        **record: Any,
    ) -> None:
        """Add a run; an output that is a text is the error of a failed line, None is no line at all."""
        lines = []
        for number, output in enumerate(outputs):
            if output is None:
                continue

            failed = isinstance(output, str)
            lines.append(
                LineResult(
                    line_number=number,
                    status=Status.FAILED if failed else Status.COMPLETED,
                    inputs=dict(inputs[number]) if inputs else {"text": f"row {number}"},
                    output=None if failed else dict(output),  # type: ignore[arg-type]
                    error={"message": output} if failed else None,
                    start_time=1.0,
                    end_time=1.0 + (latency_s[number] if latency_s else 0.25),
                    usage=Usage(*tokens, 1),
                )
            )
        failed_lines = sum(line.status is Status.FAILED for line in lines)
        self.lines[name] = lines
        self.records[name] = RunRecord(
            name=name,
            flow=flow,
            flow_name=flow,
            status=Status.COMPLETED,
            created_on=float(len(self.records)),
            run=run,
            completed_lines=len(lines) - failed_lines,
            failed_lines=failed_lines,
            prompt_tokens=tokens[0] * len(lines),
            completion_tokens=tokens[1] * len(lines),
            **record,
        )


@pytest.fixture
def runs() -> RunsInMemory:
    return RunsInMemory()


@pytest.fixture
def make_comparison(runs: RunsInMemory) -> Callable[[int], Comparison]:
    """Makes a comparison of two variants; the second fails on five rows, and its evaluator crashes on three."""

    def make(n: int) -> Comparison:
        rng = random.Random(4)
        inputs = [{"text": f"review {i} <b>&", "topic": rng.choice(["film", "food"])} for i in range(n)]
        names = {"first": 0.6, "second | new": 0.75}
        for name, share in names.items():
            is_second = name != "first"
            outputs = ["it broke" if is_second and i < 5 else {"label": f"answer {i}"} for i in range(n)]
            scored = [
                None if output == "it broke" else "no JSON" if is_second and i < 8 else {"ok": rng.random() < share}
                for i, output in enumerate(outputs)
            ]
            runs.add(name, outputs, inputs=inputs)
            runs.add(f"{name}-eval", scored, run=name, flow="match")

        candidates = [Candidate(name, [collect_scores(runs, name)]) for name in names]
        return compare(candidates, CompareSettings(slice_by="topic"))

    return make
