"""Experiments of the studio: what they will take, and that they can be stopped, continued and judged again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from promptflow_lite.records import Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.resources import bundled
from promptflow_lite.sdk.runs import RunRequest
from promptflow_lite.sdk.studio import (
    BatchPlan,
    EvaluationPlan,
    GridRequest,
    Job,
    batch_jobs,
    estimate,
    flow_graph,
    is_alive,
    mapped_row,
    pause_job,
    resume_batch,
    start_batch,
)
from promptflow_lite.sdk.studio.batch import run_plan
from tests.ui.test_pages import open_page

TWO_STEPS = """
inputs:
  text: {type: string}
  tone: {type: string, default: dry}
outputs:
  answer: {type: string, reference: "${second.output}"}
nodes:
- name: first
  type: llm
  source: {type: code, path: first.jinja2}
  inputs: {text: "${inputs.text}"}
- name: second
  use_variants: true
node_variants:
  second:
    default_variant_id: short
    variants:
      short:
        node: {type: llm, source: {type: code, path: short.jinja2}, inputs: {text: "${first.output}"}}
      long:
        node: {type: llm, source: {type: code, path: long.jinja2}, inputs: {text: "${first.output}"}}
"""
SLOW = """
inputs: {n: {type: int}}
outputs: {n: {type: int, reference: "${work.output}"}}
nodes:
- name: work
  type: python
  source: {type: code, path: work.py}
  inputs: {n: "${inputs.n}"}
"""
JUDGE = """
type: evaluation
inputs: {n: {type: int}}
outputs: {is_even: {type: bool, reference: "${judge.output}"}}
nodes:
- name: judge
  type: python
  source: {type: code, path: judge.py}
  inputs: {n: "${inputs.n}"}
- name: total
  type: python
  aggregation: true
  source: {type: code, path: total.py}
  inputs: {values: "${judge.output}"}
"""
TOOL = "from promptflow_lite import tool\n"


@pytest.fixture
def two_steps(workspace_folder: Path) -> Path:
    folder = workspace_folder / "two_steps"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(TWO_STEPS)
    for name in ("first", "short", "long"):
        (folder / f"{name}.jinja2").write_text(f"user:\n{name}: {{{{text}}}}\n")
    (folder / "data.csv").write_text("text,label\none,a\ntwo,b\nthree,a\n")
    return folder


@pytest.fixture
def numbers(workspace_folder: Path) -> Path:
    """A flow of a slow node that fails on every third row while there is a file called `broken`."""
    folder = workspace_folder / "numbers"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(SLOW)
    (folder / "work.py").write_text(
        f"import time\nfrom pathlib import Path\n{TOOL}"
        "@tool\ndef work(n: int) -> int:\n    time.sleep(0.04)\n"
        "    if n % 3 == 0 and Path(__file__).with_name('broken').exists():\n        raise ValueError('broken')\n"
        "    return n\n"
    )
    (folder / "data.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(60)))
    return folder


@pytest.fixture
def judge(workspace_folder: Path) -> Path:
    folder = workspace_folder / "judge"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(JUDGE)
    (folder / "judge.py").write_text(f"{TOOL}@tool\ndef judge(n: int) -> bool:\n    return n % 2 == 0\n")
    (folder / "total.py").write_text(
        "from promptflow_lite import log_metric, tool\n"
        "@tool\ndef total(values: list) -> None:\n    log_metric('judged', len(values))\n"
    )
    return folder


@pytest.fixture
def client(workspace_folder: Path) -> Iterator[Client]:
    with Client() as opened:
        yield opened


def plan_of(flow: Path, **fields: object) -> BatchPlan:
    data = next(path for path in flow.iterdir() if path.name.startswith("data"))
    columns = "n" if flow.name == "numbers" else "text"
    mapping = {columns: f"${{data.{columns}}}"}
    return BatchPlan(**{"flow": str(flow), "data": str(data), "name": "trial", "mapping": mapping, **fields})  # type: ignore[arg-type]


def ended(job: Job, within_s: float = 40.0) -> Job:
    deadline = time.monotonic() + within_s
    while is_alive(job):
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.1)
    return next(found for found in batch_jobs(3600) if found.id == job.id)


def test_shared_work_is_counted_once(client: Client, two_steps: Path) -> None:
    judged = [EvaluationPlan(flow=str(two_steps), mapping={"text": "${run.outputs.answer}"})]

    expected = estimate(client, plan_of(two_steps, grid=GridRequest(variants={"second": ["*"]}), evaluations=judged))

    assert (expected.calls, expected.naive_calls, expected.judge_calls) == (9, 12, 12)
    assert (expected.n_runs, expected.n_lines) == (4, 12)
    assert expected.cells == ["second=short", "second=long"]


def test_a_plan_makes_a_run_for_each_cell_and_repeat_and_judges_it(
    client: Client, two_steps: Path, workspace_folder: Path
) -> None:
    grid = GridRequest(variants={"second": ["short", "long"]}, repeat=2)
    accuracy = {"answer": "${run.outputs.answer}", "ground_truth": "${data.label}"}
    judges = [EvaluationPlan(flow=str(bundled("evaluators") / "accuracy"), mapping=accuracy)]

    result = run_plan(client, plan_of(two_steps, grid=grid, evaluations=judges), is_resumed=False, announce=str)

    assert [run.name for run in result.runs] == ["trial_00_r0", "trial_01_r0", "trial_00_r1", "trial_01_r1"]
    assert [run.run for run in result.evaluations] == [run.name for run in result.runs]
    assert result.model_calls == 18
    comparison = client.evaluations.compare(["trial"])
    assert [candidate.label for candidate in comparison.candidates] == ["second=short", "second=long"]


def test_a_run_that_is_alone_has_the_name_of_the_plan(client: Client, two_steps: Path) -> None:
    result = run_plan(client, plan_of(two_steps), is_resumed=False, announce=str)

    assert [(run.name, run.display_name, run.status) for run in result.runs] == [("trial", "trial", Status.COMPLETED)]


def test_a_paused_experiment_goes_on_and_runs_no_line_twice(client: Client, numbers: Path, judge: Path) -> None:
    evaluations = [EvaluationPlan(flow=str(judge), mapping={"n": "${run.outputs.n}"})]
    plan = plan_of(numbers, concurrency=1, evaluations=evaluations, grid=GridRequest(repeat=2))
    job = start_batch(client, plan)
    while not client.store.runs.exists("trial_00_r0") or not client.store.runs.get("trial_00_r0").completed_lines:
        assert is_alive(job), ended(job).error
        time.sleep(0.05)
    pause_job(next(found for found in batch_jobs(3600) if found.id == job.id))

    paused = ended(job)
    first = client.store.runs.get("trial_00_r0")
    assert (paused.stopped, first.status) == ("paused", Status.CANCELED)
    assert 0 < first.completed_lines < 60
    kept = {line.line_number: line.start_time for line in client.runs.lines("trial_00_r0")}
    assert not client.store.runs.exists("trial_01_r1")

    finished = ended(resume_batch(paused))

    assert (finished.error, finished.stopped) == (None, "")
    for name in ("trial_00_r0", "trial_00_r1"):
        assert client.store.runs.get(name).completed_lines == 60
        assert client.store.runs.get(f"{name}_eval").metrics == {"judged": 60}
    again = {line.line_number: line.start_time for line in client.runs.lines("trial_00_r0")}
    assert {number: again[number] for number in kept} == kept


def test_running_failed_lines_again_judges_them_too(client: Client, numbers: Path, judge: Path) -> None:
    broken = numbers / "broken"
    broken.touch()
    client.runs.create(
        RunRequest(flow=numbers, data=numbers / "data.jsonl", column_mapping={"n": "${data.n}"}, name="base")
    )
    client.runs.create(RunRequest(flow=judge, run="base", column_mapping={"n": "${run.outputs.n}"}, name="judged"))
    assert client.runs.get("judged").metrics == {"judged": 40}
    broken.unlink()

    record = client.runs.resume_with_evaluations("base")

    assert (record.completed_lines, record.failed_lines) == (60, 0)
    assert client.runs.get("judged").completed_lines == 60
    assert client.runs.get("judged").metrics == {"judged": 60}


def test_a_row_is_mapped_by_columns_constants_and_defaults(two_steps: Path) -> None:
    graph = flow_graph(two_steps)

    assert mapped_row(graph, {"text": "${data.text}"}, {"text": "one"}) == {"text": "one", "tone": "dry"}
    assert mapped_row(graph, {"text": "hello", "tone": "${data.missing}"}, {"text": "one"})["tone"] is None
    assert mapped_row(graph, {"text": "hello"}, {"text": "one"})["text"] == "hello"


def metrics_of(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def test_the_page_says_what_a_grid_will_take_and_starts_it(client: Client, two_steps: Path) -> None:
    at = open_page("batch", flow="two_steps")
    assert metrics_of(at)["Model calls"] == "9"
    assert "on its own would make 12 calls" in "\n".join(caption.value for caption in at.caption)

    at.number_input(key="batch_repeat").set_value(2).run()
    assert metrics_of(at)["Model calls"] == "18"
    at.button_group(key="batch_variants-two_steps-second").set_value(["long"]).run()
    assert metrics_of(at)["Model calls"] == "12"
    at.number_input(key="batch_repeat").set_value(1).run()

    next(field for field in at.text_input if field.label == "Name").set_value("from_page").run()
    at.button(key="batch_start").click().run()
    assert not at.exception
    (job,) = batch_jobs(3600)
    assert ended(job).error is None
    assert client.runs.get("from_page").completed_lines == 3


def test_an_input_without_a_column_keeps_the_page_from_starting(client: Client, two_steps: Path) -> None:
    (two_steps / "data.csv").write_text("other\none\n")

    at = open_page("batch", flow="two_steps")
    assert at.button(key="batch_start").disabled

    at.selectbox(key="map-two_steps-text").set_value("(a constant)").run()
    at.text_input(key="map-constant-two_steps-text").set_value("always this").run()
    assert not at.button(key="batch_start").disabled


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", b"text\none\n"),
        ("data.tsv", b"text\tmore\none\t2\n"),
        ("data.json", b'[{"text": "one"}]'),
        ("data.jsonl", b'{"text": "one"}\n'),
        ("data.csv", b""),
        ("data.jsonl", b"{broken\n"),
    ],
)
def test_data_of_every_format_is_shown_or_refused_in_words(two_steps: Path, name: str, content: bytes) -> None:
    (two_steps / "data.csv").unlink()
    (two_steps / name).write_bytes(content)

    at = open_page("batch", flow="two_steps")

    assert not at.exception
    if b"one" in content:
        assert list(at.dataframe[0].value["text"]) == ["one"]
    else:
        assert at.error or any("has no rows" in text.value for text in at.markdown)
