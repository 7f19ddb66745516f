"""Bundled evaluators over their sample data, evaluator classes, and `evaluate()` with the original's columns."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite._utils.resources import bundled
from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals import evaluate
from promptflow_lite.evals.evaluate import as_evaluator
from promptflow_lite.evals.evaluators import (
    BleuScoreEvaluator,
    ChatEvaluator,
    F1ScoreEvaluator,
    QAEvaluator,
    RelevanceEvaluator,
    RougeScoreEvaluator,
    RougeType,
)
from promptflow_lite.evals.judging import Judge
from promptflow_lite.flow import load_flow, validate_flow
from promptflow_lite.providers import FakeModel

FOLDERS = sorted(path.name for path in bundled("evaluators").iterdir() if path.is_dir())
EXPECTED = {
    "accuracy": [{"correct": True}, {"correct": True}, {"correct": False}],
    "exact_match": [{"exact_match": True}, {"exact_match": False}, {"exact_match": False}],
    "contains": [{"contains": True}, {"contains": True}, {"contains": False}],
    "regex_match": [{"regex_match": True}, {"regex_match": False}, {"regex_match": True}],
    "numeric_answer": [
        {"correct": True, "number": 18.0},
        {"correct": True, "number": 70000.0},
        {"correct": False, "number": 4.0},
        {"correct": False, "number": None},
    ],
    "latency": [{"latency_s": t, "in_time": t <= 1} for t in (0.4, 0.9, 1.7)],
    "retrieval": [
        {"precision_at_k": 0.2, "recall_at_k": 0.5, "mrr": 0.5, "ndcg": pytest.approx(0.3869, abs=1e-4)},
        {"precision_at_k": 0.4, "recall_at_k": 1.0, "mrr": 1.0, "ndcg": 1.0},
        {"precision_at_k": 0.0, "recall_at_k": 0.0, "mrr": 0.0, "ndcg": 0.0},
    ],
}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The default model, scripted: grade 4, yes, and always the first of two answers."""
    fake = FakeModel({"Better answer": "A", "yes or no": "yes"}, default="4", name="judge")
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:judge")
    return fake


def sample(folder: str) -> list[dict[str, Any]]:
    text = (bundled("evaluators") / folder / "data.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("folder", FOLDERS)
def test_evaluator_is_a_valid_flow_that_says_where_it_comes_from(folder: str) -> None:
    path = bundled("evaluators") / folder

    assert [problem for problem in validate_flow(path) if problem.severity == "error"] == []
    flow = load_flow(path)
    assert flow.type == "evaluation"
    assert flow.description
    assert folder == "accuracy" or "**Source.**" in (path / "README.md").read_text("utf-8")


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name != "meteor"])
def test_evaluator_scores_its_sample_data(folder: str, model: FakeModel) -> None:
    evaluator = as_evaluator(bundled("evaluators") / folder)

    outputs = [evaluator(**row) for row in sample(folder)]

    assert all(
        output and all(value is not None or key in ("number",) for key, value in output.items()) for output in outputs
    )
    if folder in EXPECTED:
        assert outputs == EXPECTED[folder]


def test_meteor_without_its_corpus_fails_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    evaluator = as_evaluator(bundled("evaluators") / "meteor")

    with pytest.raises(Exception, match="WordNet"):
        evaluator(answer="the cat", ground_truth="a cat")


def test_a_grade_is_the_expectation_over_the_models_probabilities(model: FakeModel) -> None:
    (row, *_) = sample("relevance")

    assert as_evaluator(bundled("evaluators") / "relevance")(**row) == {"gpt_relevance": 4.0}
    body = model.calls[0].body
    assert body["choices"] == ["1", "2", "3", "4", "5"]


def test_the_pairwise_evaluator_calls_a_position_follower_a_tie(model: FakeModel) -> None:
    output = as_evaluator(bundled("evaluators") / "pairwise")(question="q", first="x", second="y")

    assert output == {"second_wins": 0.5, "preference": "tie", "p_second": 0.5, "is_flip": True}


def test_a_panel_joins_judges_and_says_how_far_they_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeModel({"strict grader": "2", "neither strictly": "3", "how content": "4"}, name="panel")
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:panel")

    output = as_evaluator(bundled("evaluators") / "panel")(criteria="It is polite.", question="q", answer="a")

    assert output == {"panel_grade": 3.0, "panel_spread": 2.0, "silent_judges": 0}
    assert len(fake.calls) == 3


def test_a_panel_goes_on_without_judges_that_cannot_be_read() -> None:
    vote = runpy.run_path(str(bundled("evaluators") / "panel" / "vote.py"))["join_votes"]

    assert vote("4", "I cannot say.", {"1": 0.5, "3": 0.5}) == {
        "panel_grade": 3.0,
        "panel_spread": 2.0,
        "silent_judges": 1,
    }
    with pytest.raises(EvaluatorError, match="3 of 3 judges"):
        vote("hm", "", "?")


class TestClasses:
    def test_names_and_columns_are_the_originals(self, model: FakeModel) -> None:
        scores = QAEvaluator()(question="q", answer="a cat", context="c", ground_truth="a cat", unknown=1)

        assert scores == {
            "gpt_groundedness": 4.0,
            "gpt_relevance": 4.0,
            "gpt_coherence": 4.0,
            "gpt_fluency": 4.0,
            "gpt_similarity": 4.0,
            "f1_score": 1.0,
        }

    def test_a_blank_input_is_refused_in_the_originals_words(self, model: FakeModel) -> None:
        with pytest.raises(ValueError, match="'question', 'answer' and 'context' must be non-empty strings"):
            RelevanceEvaluator()(question="q", answer=" ", context="c")
        with pytest.raises(ValueError, match="must be non-empty"):
            F1ScoreEvaluator()(answer="None", ground_truth="x")

    def test_an_unreadable_grade_is_nan(self) -> None:
        class Mute:
            def chat(self, body: Any, *, timeout_s: float | None = None) -> Any:
                return {"choices": [{"message": {"content": "hm"}}]}

        judge = Judge(Mute(), takes_choices=False)  # type: ignore[arg-type]

        assert math.isnan(RelevanceEvaluator(judge)(question="q", answer="a", context="c")["gpt_relevance"])

    def test_text_measures(self) -> None:
        assert BleuScoreEvaluator()(answer="the cat sat here", ground_truth="the cat sat here")["bleu_score"] == 1.0
        scores = RougeScoreEvaluator(RougeType.ROUGE_1)(answer="the cat", ground_truth="the cat sat")
        assert scores == {
            "rouge_precision": 1.0,
            "rouge_recall": pytest.approx(2 / 3),
            "rouge_f1_score": pytest.approx(0.8),
        }

    def test_a_conversation_is_judged_turn_by_turn(self, model: FakeModel) -> None:
        cited = {"citations": [{"id": "1", "content": "text"}]}
        turn = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello", "context": cited}]

        result = ChatEvaluator()(conversation=turn * 2)
        plain = ChatEvaluator()(conversation=[turn[0], {"role": "assistant", "content": "hello"}])

        assert result["gpt_retrieval"] == 4.0
        assert result["evaluation_per_turn"]["gpt_coherence"] == {"score": [4.0, 4.0]}
        assert set(plain) == {"gpt_coherence", "gpt_fluency", "evaluation_per_turn"}
        with pytest.raises(ValueError, match="pairs"):
            ChatEvaluator()(conversation=turn[:1])


class TestEvaluate:
    @pytest.fixture
    def data(self, tmp_path: Path) -> str:
        path = tmp_path / "data.jsonl"
        rows = [{"question": f"q{i}", "ground_truth": "yes" if i % 2 else "no"} for i in range(4)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return str(path)

    def test_rows_and_metrics_have_the_originals_names(self, data: str) -> None:
        result = evaluate(target=lambda question: {"answer": "yes"}, data=data, evaluators={"f1": F1ScoreEvaluator()})

        assert result["rows"][1] == {
            "inputs.question": "q1",
            "inputs.ground_truth": "yes",
            "outputs.answer": "yes",
            "outputs.f1.f1_score": 1.0,
        }
        assert result["metrics"] == {"f1.f1_score": 0.5}
        assert result["studio_url"] is None

    def test_a_crashing_row_is_none_and_the_rest_goes_on(self, data: str, tmp_path: Path) -> None:
        def picky(question: str) -> dict[str, float]:
            if question == "q2":
                raise RuntimeError("no")

            return {"score": 1.0}

        result = evaluate(data=data, evaluators={"picky": picky}, output_path=str(tmp_path))

        assert [row["outputs.picky.score"] for row in result["rows"]] == [1.0, 1.0, None, 1.0]
        assert result["metrics"] == {"picky.score": 1.0}
        assert json.loads((tmp_path / "evaluation_results.json").read_text())["metrics"] == {"picky.score": 1.0}

    def test_functions_classes_instances_and_flows_all_evaluate(self, data: str) -> None:
        class Length:
            def __call__(self, *, question: str, **kwargs: Any) -> dict[str, int]:
                return {"length": len(question)}

        result = evaluate(
            data=data,
            evaluators={
                "function": lambda question: 1.0,
                "cls": Length,
                "instance": Length(),
                "flow": str(bundled("evaluators") / "exact_match"),
            },
            evaluator_config={"flow": {"answer": "${data.ground_truth}"}},
        )

        assert result["metrics"] == {
            "function.score": 1.0,
            "cls.length": 2.0,
            "instance.length": 2.0,
            "flow.exact_match": 1.0,
        }

    def test_an_aggregate_method_adds_metrics(self, data: str) -> None:
        class Counting:
            def __call__(self, *, question: str) -> dict[str, bool]:
                return {"protected_material_label": question == "q0"}

            def __aggregate__(self, results: list[dict[str, Any]]) -> dict[str, float]:
                return {"n": len(results)}

        metrics = evaluate(data=data, evaluators={"c": Counting()})["metrics"]

        assert metrics == {"c.protected_material_defect_rate": 0.25, "c.n": 4}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"data": None}, "data must be provided for evaluation."),
            ({"data": 3}, "data must be a string."),
            ({"target": 3}, "target must be a callable function."),
            ({"evaluators": []}, "evaluators must be a dictionary."),
            ({"output_path": 3}, "output_path must be a string."),
            ({"data": "absent.jsonl"}, "Failed to load data from absent.jsonl."),
            ({"evaluator_config": {"default": {"answer": "${run.x}"}}}, "Unexpected references detected"),
            ({"evaluators": {"f1": F1ScoreEvaluator()}}, r"Missing required inputs for evaluator f1 : \['answer'\]"),
            ({"target": lambda absent: {}}, r"Missing required inputs for target : \['absent'\]"),
        ],
    )
    def test_wrong_arguments_are_refused_in_the_originals_words(
        self, data: str, arguments: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            evaluate(**{"data": data, "evaluators": {}, **arguments})

    def test_something_that_cannot_be_called_is_no_evaluator(self) -> None:
        with pytest.raises(EvaluatorError, match="int is no evaluator"):
            as_evaluator(3)
