"""Runs, their lines and their comparison in the studio: finding, naming, putting away, looking into."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from promptflow_lite.errors import RunNotFoundError
from promptflow_lite.flow import load_flow
from promptflow_lite.records import RunRecord, Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.resources import bundled
from promptflow_lite.sdk.runs import RunRequest
from promptflow_lite.sdk.studio import (
    BatchPlan,
    Comparisons,
    EvaluationPlan,
    GridRequest,
    batch_jobs,
    comparable_names,
    rendered_prompts,
)
from promptflow_lite.sdk.studio.batch import run_plan
from tests.support.studio import fill_store
from tests.ui.test_batches import ended
from tests.ui.test_pages import components, open_page, texts

RUN_FIELDS = {"flow": "f", "flow_name": "f", "status": Status.COMPLETED}


@pytest.fixture
def client(workspace_folder: Path) -> Iterator[Client]:
    with Client() as opened:
        yield opened


@pytest.fixture
def many(client: Client) -> Client:
    """A hundred and twenty runs, every tenth failed, the last one tagged."""
    for number in range(120):
        status = Status.FAILED if number % 10 == 0 else Status.COMPLETED
        tags = {"owner": "ana"} if number == 119 else {}
        fields: dict[str, Any] = {**RUN_FIELDS, "status": status, "tags": tags, "created_on": float(number)}
        client.store.runs.create(RunRecord(name=f"run{number:03}", **fields))
    return client


@pytest.fixture
def experiment(client: Client, flow_folder: Path) -> Client:
    """Two variants over all rows, judged."""
    accuracy = EvaluationPlan(
        flow=str(bundled("evaluators") / "accuracy"),
        mapping={"answer": "${run.outputs.label}", "ground_truth": "${data.label}"},
    )
    plan = BatchPlan(
        flow=str(flow_folder),
        data=str(flow_folder / "data.jsonl"),
        name="trial",
        mapping={"message": "${data.message}"},
        grid=GridRequest(variants={"classify": ["zero_shot", "few_shot"]}),
        evaluations=[accuracy],
    )
    run_plan(client, plan, is_resumed=False, announce=str)
    return client


def names(at: AppTest) -> list[str]:
    return list(at.dataframe[0].value["Name"])


def select(at: AppTest, *rows: int) -> AppTest:
    key = at.dataframe[0].proto.id.split("-", 2)[2]
    at.session_state[key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    return at.run()


def test_runs_come_in_pages(many: Client) -> None:
    at = open_page("runs")
    assert names(at)[0] == "run119"
    assert len(names(at)) == 50
    assert "Runs 1 to 50 of 120" in texts(at)

    at.pagination[0].set_value(3)
    at.run()

    assert names(at) == [f"run{number:03}" for number in range(19, -1, -1)]


def test_a_filter_leads_back_to_the_first_page(many: Client) -> None:
    at = open_page("runs")
    at.pagination[0].set_value(3)
    at.run()

    at.button_group(key="runs_status").set_value("Failed").run()

    assert names(at) == [f"run{number:03}" for number in range(110, -1, -10)]


@pytest.mark.parametrize(
    ("widget", "key", "value", "expected"),
    [
        ("text_input", "runs_search", "run11", [f"run{number}" for number in range(119, 109, -1)]),
        ("text_input", "runs_tag", "ana", ["run119"]),
        ("text_input", "runs_search", "nowhere", None),
        ("selectbox", "runs_kind", "evaluations", None),
        ("selectbox", "runs_age", "last day", None),
    ],
)
def test_runs_are_found(many: Client, widget: str, key: str, value: str, expected: list[str] | None) -> None:
    at = open_page("runs")

    getattr(at, widget)(key=key).set_value(value).run()

    assert not at.exception
    if expected is None:
        assert "No run fits." in texts(at)
    else:
        assert names(at) == expected


def test_runs_are_sorted_over_all_pages(many: Client) -> None:
    at = open_page("runs")

    at.selectbox(key="runs_sort").set_value("Oldest first").run()

    assert names(at)[0] == "run000"


def test_a_run_is_archived_and_restored(many: Client) -> None:
    at = select(open_page("runs"), 0)
    at.button(key="runs_archive").click().run()
    assert "run119" not in names(at)

    at.toggle(key="runs_archived").set_value(True).run()
    assert names(at) == ["run119"]
    assert select(at, 0).button(key="runs_archive").label == "Restore"


def test_details_of_a_run_are_named_and_tagged(many: Client) -> None:
    at = open_page("run", run="run005")

    at.text_input(key="run_display-run005").set_value("the good one")
    at.text_area(key="run_tags-run005").set_value("owner=ben\nnonsense\nstage = trial")
    next(button for button in at.button if button.label == "Save").click().run()

    run = many.runs.get("run005")
    assert (run.display_name, run.tags) == ("the good one", {"owner": "ben", "stage": "trial"})


def test_columns_are_shown_on_request(many: Client) -> None:
    at = open_page("runs")
    picker = next(group for group in at.button_group if str(group.key).startswith("runs_columns"))
    assert "Tags" not in picker.value

    picker.set_value([*picker.value, "Tags"]).run()

    assert "Tags" in column_order(at)


def column_order(at: AppTest) -> list[str]:
    return list(at.dataframe[0].proto.column_order)


def test_lines_are_found_by_status_text_time_and_score(client: Client, flow_folder: Path) -> None:
    fill_store(client, "base", flow_folder, n_lines=250)
    fill_store(client, "judged", flow_folder, n_lines=250, base="base")
    at = open_page("run", run="base")

    def numbers() -> list[int]:
        return list(at.dataframe[0].value["Line"])

    at.text_input(key="line_search").set_value("number 24").run()
    assert numbers() == [24, *range(240, 250)]
    at.selectbox(key="line_score-base").set_value("tickets.correct").run()
    at.number_input(key="line_low").set_value(1.0).run()
    assert numbers() == [24, 240, 242, 244, 246, 248]
    at.number_input(key="line_slow").set_value(5.0).run()
    assert "No line fits." in texts(at)
    at.number_input(key="line_slow").set_value(0.0).run()
    at.button_group(key="line_status").set_value("Failed").run()
    assert "No line fits." in texts(at)
    assert not at.exception


def test_a_line_opens_with_its_trace_prompt_and_verdict(experiment: Client) -> None:
    at = select(open_page("run", run="trial_00"), 2)

    assert [span["name"] for span in components(at)[-1]["spans"]][:2] == ["line 2", "classify"]
    assert any("system:" in block.value and "Queue:" in block.value for block in at.code)
    verdict = at.dataframe[1].value
    assert list(verdict["Evaluator"]) == ["accuracy"]


def test_a_prompt_is_shown_as_it_was_sent(experiment: Client) -> None:
    line = experiment.runs.line("trial_00", 0)
    assert line is not None

    assert list(rendered_prompts(line)) == ["classify"]
    assert "user:\nMessage: I was charged twice" in rendered_prompts(line)["classify"]


def test_an_experiment_is_compared_by_what_its_cells_are(experiment: Client) -> None:
    assert comparable_names(experiment)["trial"] == "trial (experiment of 2)"

    at = wait_for_comparison(open_page("compare", runs="trial"))

    assert list(at.dataframe[0].value.index) == ["classify=zero_shot", "classify=few_shot"]
    assert any("against classify=zero_shot" in text for text in texts(at).splitlines())


def wait_for_comparison(at: AppTest) -> AppTest:
    for _ in range(60):
        if "Comparing" not in texts(at):
            break
        at.run()
    return at


def test_the_better_variant_becomes_the_default(experiment: Client, flow_folder: Path) -> None:
    at = wait_for_comparison(open_page("compare", runs="trial"))

    at.selectbox(key="promote_choice").set_value("classify=few_shot").run()
    at.button(key="promote").click().run()

    assert "few_shot is now the default of classify" in at.success[0].value
    chosen = load_flow(flow_folder, variant="${classify.few_shot}").node("classify")
    assert load_flow(flow_folder).node("classify").source == chosen.source


def test_changed_rows_come_worst_first(client: Client, flow_folder: Path) -> None:
    for name in ("one", "two"):
        fill_store(client, name, flow_folder, n_lines=10)
        fill_store(client, f"{name}_judged", flow_folder, n_lines=10, base=name)
    changed = [client.runs.line("two_judged", number) for number in (1, 4)]
    for line in changed:
        line.output = {"correct": line.line_number == 1}
    client.store.runs.add_lines("two_judged", changed)

    at = wait_for_comparison(open_page("compare", runs="one,two"))

    table = next(frame.value for frame in at.dataframe if "Change" in frame.value)
    assert list(table["Line"]) == [4, 1]
    assert list(table["Change"]) == [-1.0, 1.0]


def test_a_long_comparison_keeps_nobody_waiting(experiment: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()
    compare = experiment.evaluations.compare
    calls: list[list[str]] = []

    def slow(wanted: list[str]) -> Any:
        calls.append(wanted)
        may_end.wait(20)
        return compare(wanted)

    monkeypatch.setattr(experiment.evaluations, "compare", slow)
    comparisons = Comparisons(experiment)

    job = comparisons.start(["trial"])
    assert not job.wait(0.05)
    assert comparisons.start(["trial"]) is job
    may_end.set()
    assert [item.label for item in job.result().candidates] == ["classify=zero_shot", "classify=few_shot"]

    experiment.store.runs.update("trial_00", end_time=1.0)
    again = comparisons.start(["trial"])
    assert again is not job
    again.result()
    assert len(calls) == 2


def test_a_name_that_is_no_run_is_refused(client: Client) -> None:
    with pytest.raises(RunNotFoundError):
        Comparisons(client).start(["nowhere"])

    at = open_page("compare", runs="nowhere")
    assert "cannot be found" in at.error[0].value


def test_a_run_that_never_had_lines_says_so(client: Client) -> None:
    client.store.runs.create(RunRecord(name="empty", created_on=1.0, **RUN_FIELDS))

    assert "No line is recorded yet." in texts(open_page("run", run="empty"))


def test_failed_lines_run_again_from_the_page(client: Client, flow_folder: Path) -> None:
    source = flow_folder / "clean.py"
    intact = source.read_text()
    source.write_text(intact + "\nraise RuntimeError('broken')\n")
    data = flow_folder / "data.jsonl"
    request = RunRequest(flow=flow_folder, data=data, column_mapping={"message": "${data.message}"}, name="base")
    assert client.runs.create(request).status is Status.FAILED
    source.write_text(intact)

    at = open_page("run", run="base")
    at.button(key="run_resume").click().run()

    (job,) = batch_jobs(3600)
    assert ended(job).error is None
    assert client.runs.get("base").status is Status.COMPLETED
