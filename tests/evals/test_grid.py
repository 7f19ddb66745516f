"""Grids: the cells, what they share, what they will cost, and stopping the losers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.errors import ExperimentError
from promptflow_lite.evals.early_stop import LosingRule
from promptflow_lite.evals.grid import Cell, GridRequest, load_cell, parse_grid, parse_sweeps, plan_grid
from promptflow_lite.providers import FakeModel
from promptflow_lite.records import Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.grids import EvaluationRequest, StopRequest
from promptflow_lite.sdk.runs import RunRequest

FLOW = """
inputs:
  text: {type: string}
outputs:
  label: {type: string, reference: "${clean.output}"}
nodes:
- name: classify
  use_variants: true
- name: clean
  use_variants: true
node_variants:
  classify:
    default_variant_id: plain
    variants:
      plain: {node: {type: llm, source: {type: code, path: plain.jinja2}, inputs: {text: "${inputs.text}"}}}
      expert: {node: {type: llm, source: {type: code, path: expert.jinja2}, inputs: {text: "${inputs.text}"}}}
      shout: {node: {type: llm, source: {type: code, path: shout.jinja2}, inputs: {text: "${inputs.text}"}}}
  clean:
    default_variant_id: strip
    variants:
      strip: {node: {type: python, source: {type: code, path: strip.py}, inputs: {text: "${classify.output}"}}}
      lower: {node: {type: python, source: {type: code, path: lower.py}, inputs: {text: "${classify.output}"}}}
"""
PYTHON = "from promptflow.core import tool\n\n\n@tool\ndef clean(text: str) -> str:\n    return text.{}()\n"


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    folder = tmp_path / "sentiment"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(FLOW)
    for name in ("plain", "expert", "shout"):
        (folder / f"{name}.jinja2").write_text(f"# user:\n{name} {{{{ text }}}}\n")

    for name in ("strip", "lower"):
        (folder / f"{name}.py").write_text(PYTHON.format(name))

    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """40 rows, 30 different texts; the label is the text's first word."""
    rows = [
        {"text": f"{'good' if i % 2 else 'bad'} film {i % 30}", "label": "good" if i % 2 else "bad"} for i in range(40)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """`plain` answers with the first word of the text, `expert` always `good`, `shout` the first word in capitals."""
    fake = FakeModel(
        {
            "^plain": lambda call: call.prompt.split()[1],
            "^expert": "good",
            "^shout": lambda call: call.prompt.split()[1].upper(),
        },
        name="grid",
    )
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:grid")
    return fake


def test_axes_are_parsed() -> None:
    assert parse_grid(["classify=*,summarize=v0|v2"]) == {"classify": ["*"], "summarize": ["v0", "v2"]}
    assert parse_sweeps(["classify.temperature=0,0.7", "a.b=x"]) == {"classify.temperature": [0, 0.7], "a.b": ["x"]}


@pytest.mark.parametrize(("parse", "text"), [(parse_grid, "classify"), (parse_sweeps, "temperature=1")])
def test_what_is_no_axis_is_refused(parse: Any, text: str) -> None:
    with pytest.raises(ExperimentError):
        parse([text])


def test_cells_are_the_cross_product_with_models_outermost(flow: Path) -> None:
    request = GridRequest(variants={"classify": ["*"], "clean": ["strip", "lower"]}, models=["a", "b"])

    labels = [cell.label for cell in plan_grid(flow, request).cells]

    assert len(labels) == 12
    assert labels[:3] == [
        "classify=plain, clean=strip, model=a",
        "classify=plain, clean=lower, model=a",
        "classify=expert, clean=strip, model=a",
    ]
    assert labels[6].endswith("model=b")


def test_a_dry_run_counts_shared_nodes_once(flow: Path) -> None:
    plan = plan_grid(flow, GridRequest(all_variants=True), n_rows=872)

    assert (plan.naive_calls, plan.shared_calls) == (6 * 872, 3 * 872)
    assert (plan.naive_node_runs, plan.shared_node_runs) == (12 * 872, 9 * 872)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (GridRequest(variants={"clasify": ["*"]}), "no variants"),
        (GridRequest(variants={"classify": ["fancy"]}), "no variant 'fancy'"),
        (GridRequest(sweeps={"nothing.x": [1]}), "no node 'nothing'"),
    ],
)
def test_what_the_flow_lacks_is_refused(flow: Path, request_: GridRequest, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        plan_grid(flow, request_)


def test_a_cell_is_a_flow_with_its_choices_in_place(flow: Path) -> None:
    cell = Cell(variants={"classify": "shout", "clean": "lower"}, inputs={"classify.temperature": 0.7}, model="m")

    loaded = load_cell(flow, Cell.from_dict(cell.to_dict()), repeat=2)

    classify, clean = loaded.node("classify"), loaded.node("clean")
    assert classify is not None
    assert clean is not None
    assert classify.source is not None
    assert classify.source.path == "shout.jinja2"
    assert {k: classify.inputs[k] for k in ("temperature", "model", "seed")} == {
        "temperature": 0.7,
        "model": "m",
        "seed": 2,
    }
    assert clean.source is not None
    assert clean.source.path == "lower.py"


ACCURACY = str(Path(__file__).parents[2] / "evaluators" / "accuracy")


def evaluation() -> EvaluationRequest:
    mapping = {"answer": "${run.outputs.label}", "ground_truth": "${data.label}"}
    return EvaluationRequest(flow=ACCURACY, column_mapping=mapping)


def test_an_experiment_runs_distinct_node_inputs_once_and_compares_its_cells(
    flow: Path, data: Path, model: FakeModel
) -> None:
    with Client() as client:
        result = client.grids.run(
            RunRequest(flow=flow, data=data, name="exp"), GridRequest(all_variants=True), evaluations=[evaluation()]
        )
        comparison = client.evaluations.compare(["exp"])

    assert len(model.calls) == result.model_calls == 3 * 30
    assert [run.status for run in result.runs] == [Status.COMPLETED] * 6
    assert result.runs[1].prompt_tokens == result.runs[0].prompt_tokens
    means = {summary.candidate: summary.mean for summary in comparison.metrics[0].summaries}
    assert means["classify=plain, clean=strip"] == 1.0
    assert means["classify=expert, clean=lower"] == 0.5
    assert means["classify=shout, clean=lower"] == 1.0
    assert {pair.candidate: pair.verdict for pair in comparison.metrics[0].pairs}[
        "classify=expert, clean=strip"
    ] == "worse"


@pytest.mark.parametrize(
    "mapping", [{}, {"answer": "${run.outputs.lable}", "ground_truth": "${data.label}"}, {"answer": "always"}]
)
def test_an_evaluator_that_cannot_be_mapped_stops_before_any_model_call(
    flow: Path, data: Path, model: FakeModel, mapping: dict[str, str]
) -> None:
    wrong = EvaluationRequest(flow=ACCURACY, column_mapping=mapping)

    with Client() as client, pytest.raises(ExperimentError, match="cannot be evaluated") as caught:
        client.grids.run(RunRequest(flow=flow, data=data), GridRequest(all_variants=True), evaluations=[wrong])

    assert "${run.outputs.label}" in (caught.value.hint or "")
    assert model.calls == []


def test_repeats_of_a_cell_are_one_candidate(flow: Path, data: Path, model: FakeModel) -> None:
    with Client() as client:
        grid = GridRequest(variants={"classify": ["plain", "expert"]}, repeat=2)
        client.grids.run(RunRequest(flow=flow, data=data, name="rep"), grid, evaluations=[evaluation()])
        comparison = client.evaluations.compare(["rep"])

    assert [len(candidate.runs) for candidate in comparison.candidates] == [2, 2]
    assert comparison.metrics[0].summaries[0].n == 40
    assert len(model.calls) == 2 * 2 * 30


def test_a_cell_can_be_resumed_as_it_was(flow: Path, data: Path, model: FakeModel) -> None:
    with Client() as client:
        client.grids.run(RunRequest(flow=flow, data=data, name="res"), GridRequest(all_variants=True))
        run = client.runs.resume_from("res_05", name="again")

        assert run.properties["cell_label"] == "classify=shout, clean=lower"
        assert client.runs.line("again", 1).output == {"label": "good"}  # type: ignore[union-attr]


def test_a_losing_cell_is_stopped_and_left_out_of_the_tests(
    flow: Path, data: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptflow_lite.sdk.grids._LOOK_INTERVAL_S", 0.0)
    rows = [{"text": f"bad film {i}", "label": "bad"} for i in range(600)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Client() as client:
        result = client.grids.run(
            RunRequest(flow=flow, data=data, name="stop"),
            GridRequest(variants={"classify": ["plain", "expert", "shout"], "clean": ["lower"]}),
            evaluations=[evaluation()],
            stop=StopRequest(metric="correct"),
        )
        comparison = client.evaluations.compare(["stop"])

    assert [run.properties.get("stopped_early") is not None for run in result.runs] == [False, True, False]
    assert [candidate.label for candidate in comparison.candidates] == [
        "classify=plain, clean=lower",
        "classify=shout, clean=lower",
    ]
    assert any("stopped early" in note for note in comparison.notes)


def test_scores_outside_their_range_switch_early_stopping_off(
    flow: Path, data: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("promptflow_lite.sdk.grids._LOOK_INTERVAL_S", 0.0)
    with Client() as client:
        result = client.grids.run(
            RunRequest(flow=flow, data=data, name="range"),
            GridRequest(variants={"classify": ["plain", "expert"]}),
            evaluations=[evaluation()],
            stop=StopRequest(metric="correct", limits=(2.0, 5.0)),
        )

    assert [run.status for run in result.runs] == [Status.COMPLETED] * 2
    assert "Early stopping is off" in caplog.text


class TestLosingRule:
    def test_equal_cells_are_not_stopped(self) -> None:
        rng = random.Random(0)
        stopped = 0
        for _ in range(100):
            rule = LosingRule({i: float(rng.random() < 0.7) for i in range(300)})
            for i in range(300):
                rule.take(i, float(rng.random() < 0.7))
                if rule.is_lost:
                    stopped += 1
                    break

        assert stopped <= 5

    def test_a_much_worse_cell_is_stopped_soon(self) -> None:
        rng = random.Random(1)
        rule = LosingRule(dict.fromkeys(range(500), 1.0))
        while not rule.is_lost:
            rule.take(rule.n, float(rng.random() < 0.3))

        assert rule.n < 150

    def test_less_can_be_better(self) -> None:
        rule = LosingRule(dict.fromkeys(range(100), 1.0), is_lower_better=True)
        for i in range(100):
            rule.take(i, 0.0)

        assert not rule.is_lost
        assert rule.interval.low > 0
