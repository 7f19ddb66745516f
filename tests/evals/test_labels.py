"""Human labels: blind order, several annotators, agreement, export; judges calibrated against them."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.calibration import best_threshold, calibrate, human_scores
from promptflow_lite.records import HumanLabel
from promptflow_lite.sdk.client import Client


@pytest.fixture
def client(runs: Any) -> Iterator[Client]:
    """Two runs of 20 lines, and a judge that grades the first."""
    for name in ("base", "new"):
        runs.add(name, [{"answer": f"{name} says {i}"} for i in range(20)], inputs=[{"q": f"q{i}"} for i in range(20)])

    runs.add("judge", [{"grade": 4.5 if i % 2 else 2.0} for i in range(20)], run="base", flow="judge")
    with Client() as client:
        for name in ("base", "new", "judge"):
            client.store.runs.create(runs.get(name))
            client.store.runs.add_lines(name, list(runs.iter_lines(name)))

        yield client


def test_outputs_come_in_a_mixed_order_that_annotators_share(client: Client) -> None:
    tasks = client.labels.tasks(["base", "new"], annotator="ann", name="quality")

    assert len(tasks) == 40
    assert len({task.run for task in tasks[:10]}) == 2
    assert tasks == client.labels.tasks(["base", "new"], annotator="bob", name="quality")


def test_labelled_outputs_are_not_asked_again_and_a_label_can_be_changed(client: Client) -> None:
    first, *_ = client.labels.tasks(["base"], annotator="ann", name="quality")
    client.labels.put(first, annotator="ann", name="quality", value="bad")
    client.labels.put(first, annotator="ann", name="quality", value="good", comment="on second thought")

    assert first not in client.labels.tasks(["base"], annotator="ann", name="quality")
    assert first in client.labels.tasks(["base"], annotator="bob", name="quality")
    (label,) = client.labels.list(["base"])
    assert (label.value, label.comment) == ("good", "on second thought")


def test_two_annotators_get_kappa_and_three_get_alpha(client: Client) -> None:
    for index, task in enumerate(client.labels.tasks(["base"], annotator="", name="quality")):
        client.labels.put(task, annotator="ann", name="quality", value="good" if index % 2 else "bad")
        client.labels.put(task, annotator="bob", name="quality", value="good" if index % 2 or index < 4 else "bad")

    two = client.labels.agreement(["base"], name="quality")
    assert two.coefficient == "Cohen's kappa"
    assert two.observed == pytest.approx(0.9)
    assert len(client.labels.disagreements(["base"], name="quality")) == 2

    (task, *_) = client.labels.tasks(["base"], annotator="cat", name="quality")
    client.labels.put(task, annotator="cat", name="quality", value="good")
    assert client.labels.agreement(["base"], name="quality").coefficient == "Krippendorff's alpha (nominal)"


def test_one_annotator_agrees_with_nobody(client: Client) -> None:
    with pytest.raises(EvaluatorError, match="two annotators"):
        client.labels.agreement(["base"], name="quality")


def test_labels_are_exported_with_what_they_are_about(client: Client, tmp_path: Path) -> None:
    (task, *_) = client.labels.tasks(["base"], annotator="ann", name="quality")
    client.labels.put(task, annotator="ann", name="quality", value="good")

    assert client.labels.export(tmp_path / "labels.jsonl") == 1
    assert client.labels.export(tmp_path / "labels.csv") == 1
    row = json.loads((tmp_path / "labels.jsonl").read_text())
    assert (row["run"], row["value"], row["output"]) == ("base", "good", task.output)
    (cells,) = csv.DictReader(io.StringIO((tmp_path / "labels.csv").read_text()))
    assert json.loads(cells["inputs"]) == task.inputs


class TestTerminal:
    def annotate(self, monkeypatch: pytest.MonkeyPatch, answers: str, *options: str) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        return main(["annotate", "base", "new", "--annotator", "ann", *options])

    def test_answers_become_labels_and_the_run_is_not_shown(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.annotate(monkeypatch, "1\nb\ns\nwhat\ngood\nq\n") == 0

        assert sorted(label.value for label in client.labels.list()) == ["bad", "good", "good"]
        out = capsys.readouterr().out
        assert "→ answer: " in out
        assert "run" not in out.replace("runs", "")
        assert "none of the labels" in out

    def test_numbers_are_labels_of_their_own(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.annotate(monkeypatch, "5\n1\n", "--labels", "1,3,5", "--limit", "2")

        assert sorted(label.value for label in client.labels.list()) == ["1", "5"]

    def test_agreement_and_export(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for task in client.labels.tasks(["base"], annotator="", name="quality"):
            for annotator in ("ann", "bob"):
                client.labels.put(task, annotator=annotator, name="quality", value="good")

        assert self.annotate(monkeypatch, "", "--agreement") == 0
        assert "Cohen's kappa: 1.000 on 20 outputs" in capsys.readouterr().out
        assert self.annotate(monkeypatch, "", "--export", str(tmp_path / "l.jsonl")) == 0
        assert len((tmp_path / "l.jsonl").read_text().splitlines()) == 40


class TestCalibration:
    def test_a_threshold_is_found_where_judge_and_people_agree_most(self) -> None:
        assert best_threshold([1, 2, 3, 4, 5], [0, 0, 1, 1, 1]) == 2.5

    def test_a_biased_judge_is_corrected_by_the_labels(self) -> None:
        rng = random.Random(0)
        truth = {("r", i): float(rng.random() < 0.6) for i in range(600)}
        judge = {row: min(1.0, value + (rng.random() < 0.3)) for row, value in truth.items()}
        people = {row: truth[row] for row in list(truth)[:200]}

        found = calibrate(judge, people)

        real = sum(truth.values()) / len(truth)
        assert found.kind == "pass/fail"
        assert found.bias > 0.05
        assert found.judge_mean > real + 0.05
        assert found.corrected_mean == pytest.approx(real, abs=0.05)
        assert found.corrected_interval is not None
        assert found.corrected_interval.low <= real <= found.corrected_interval.high
        assert 0.4 < found.agreement.value < 0.95

    def test_grades_get_a_weighted_kappa_and_no_threshold(self) -> None:
        people = {("r", i): float(1 + i % 5) for i in range(40)}
        judge = {row: min(5.0, grade + 0.4) for row, grade in people.items()}

        found = calibrate(judge, people)

        assert (found.kind, found.threshold) == ("graded", None)
        assert found.agreement.coefficient == "weighted kappa (quadratic)"
        assert found.bias == pytest.approx(0.32)
        assert found.rank_correlation is not None
        assert found.rank_correlation > 0.9

    def test_a_handful_of_labels_is_not_enough(self) -> None:
        with pytest.raises(EvaluatorError, match="at least 10"):
            calibrate({("r", 1): 1.0}, {("r", 1): 1.0})

    def test_words_and_numbers_are_scores_and_annotators_are_averaged(self) -> None:
        labels = [
            HumanLabel(run="r", line=1, annotator=name, name="q", value=value)
            for name, value in (("a", "good"), ("b", "bad"))
        ]

        assert human_scores(labels) == {("r", 1): 0.5}
        with pytest.raises(EvaluatorError, match="no score"):
            human_scores([HumanLabel(run="r", line=1, annotator="a", name="q", value="blue")])

    def test_the_command_line(self, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
        for task in client.labels.tasks(["base"], annotator="ann", name="quality", limit=15):
            client.labels.put(task, annotator="ann", name="quality", value="good" if task.line % 2 else "bad")

        assert main(["eval", "calibrate", "base", "--metric", "grade", "--labels", "quality"]) == 0
        out = capsys.readouterr().out
        assert "15 rows" in out
        assert "Cohen's kappa: 1.000" in out
        assert "pass from a score of 3.250 on" in out
        assert "corrected by the labels" in out


def test_evaluators_are_listed_shown_and_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "list", "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) >= 28
    assert main(["eval", "show", "relevance"]) == 0
    assert "gpt_relevance" in capsys.readouterr().out
    assert main(["eval", "new", str(tmp_path / "mine"), "--like", "rubric"]) == 0
    assert (tmp_path / "mine" / "grade.jinja2").is_file()
    assert main(["eval", "new", str(tmp_path / "mine")]) == 2
    assert main(["eval", "show", "relevanc"]) == 2
