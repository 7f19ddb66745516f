"""Flows of `tests/corpus`: each folder holds a flow and `cases.json` with inputs and what must come of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptflow_lite.connections import CustomConnection, DictConnectionSource
from promptflow_lite.flow import load_flow
from promptflow_lite.providers import FakeCall, FakeModel
from promptflow_lite.records import LineResult, Status
from promptflow_lite.runtime import LineExecutor, create_executor, finish_streams, flow_process, streamed_outputs

CORPUS = Path(__file__).parents[1] / "corpus"


@dataclass(frozen=True)
class Case:
    """One case of one flow."""

    folder: str
    feature: str
    flow: str
    data: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.folder}-{self.data['id']}"


def load_cases() -> list[Case]:
    """All cases of all flows."""
    cases = []
    for file in sorted(CORPUS.glob("*/cases.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        flow = content.get("flow", ".")
        cases += [Case(file.parent.name, content["feature"], flow, data) for data in content["cases"]]
    return cases


@dataclass
class Outcome:
    """What a case gave."""

    lines: list[LineResult]
    metrics: dict[str, Any]
    calls: list[FakeCall]
    streams: dict[str, list[Any]]


def run_case(case: Case) -> Outcome:
    """Run a case with a scripted model that repeats each prompt."""
    data = case.data
    model = FakeModel(default=lambda call: call.prompt)
    house = CustomConnection({"api_key": "k-1"}, {"api_base": "http://house"}, name="house_connection")
    connections = DictConnectionSource([model.connection("fake_model"), house])
    flow = load_flow(CORPUS / case.folder / case.flow, variant=data.get("variant"))
    with flow_process(flow.root, flow.environment_variables):
        executor = create_executor(flow, connections, init=data.get("init"))
        rows = data.get("lines", [data.get("inputs")] * data.get("repeat", 1))
        lines = [executor.run_line(row, line_number=n, allow_stream="stream" in data) for n, row in enumerate(rows)]
        streams = {name: list(items) for line in lines for name, items in streamed_outputs(line)}
        for line in lines:
            finish_streams(line)
        metrics = _metrics(executor, lines)
        executor.close()
    return Outcome(lines, metrics, model.calls, streams)


def _metrics(executor: LineExecutor, lines: list[LineResult]) -> dict[str, Any]:
    if not executor.has_aggregation:
        return {}

    values = [executor.aggregation_values(line) for line in lines if line.status is Status.COMPLETED]
    return executor.run_aggregation(values).metrics
