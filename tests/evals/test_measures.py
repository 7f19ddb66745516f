"""Measures against published values, libraries and tables of cases."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.measures import (
    bleu,
    check_json,
    chrf,
    classification_report,
    contains,
    edit_similarity,
    exact_match,
    gleu,
    matches,
    meteor,
    numbers_match,
    parse_number,
    rank_scores,
    rouge,
    token_f1,
    tokenize,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She makes 9 * 2 = <<9*2=18>>18 every day.\n#### 18", 18),
        ("#### 70,000", 70000),
        ("The answer is 18.", 18),
        ("The answer is $70,000.", 70000),
        ("Final answer: 42 apples", 42),
        ("answer = 3.5", 3.5),
        ("So the final answer is: **540** meters", 540),
        (r"Therefore \boxed{12}.", 12),
        (r"\boxed{\$1,250}", 1250),
        ("First 16 - 3 = 13, then 13 - 4 = 9, so she makes 18 dollars", 18),
        ("It costs $5 each, 3 of them, so $15", 15),
        ("The answer is 4 * 5 = 20.", 20),
        ("The answer is 3 because 2 eggs are left", 3),
        ("1,234.56", 1234.56),
        ("-7", -7),
        ("−7 degrees", -7),
        ("about 50% of them", 50),
        ("3/4", 0.75),
        ("2 1/2 cups", 2.5),
        (".5", 0.5),
        ("1e3 metres", 1000),
        ("18.", 18),
        ("Year 2024: the total is 12", 12),
        ("The answer is not clear at first. The answer is 9", 9),
        ("#### 5\nWait, that is wrong.\n#### 6", 6),
        ("I do not know", None),
        ("", None),
        ("version v2", None),
    ],
)
def test_the_number_that_a_text_settles_on(text: str, number: float | None) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("answer", "truth", "options", "is_right"),
    [
        ("The answer is 18.0", "18", {}, True),
        ("17.999", "18", {}, False),
        ("17.999", "18", {"tolerance": 0.01}, True),
        ("102", "100", {"relative": 0.03}, True),
        ("104", "100", {"relative": 0.03}, False),
        ("no idea", "18", {}, False),
        ("3", 3.0, {}, True),
    ],
)
def test_numbers_match_within_a_tolerance(answer: str, truth: Any, options: dict[str, float], is_right: bool) -> None:
    assert numbers_match(answer, truth, **options) is is_right


def test_a_reference_without_a_number_is_an_error_not_a_zero() -> None:
    with pytest.raises(EvaluatorError, match="holds no number"):
        numbers_match("18", "eighteen")


@pytest.mark.parametrize(
    ("answer", "truth", "is_same"),
    [("The cat!", "cat", True), ("A  Cat sat.", "cat sat", True), ("cats", "cat", False), ("", "", True)],
)
def test_exact_match_ignores_case_articles_and_punctuation(answer: str, truth: str, is_same: bool) -> None:
    assert exact_match(answer, truth) is is_same


def test_contains_and_patterns() -> None:
    assert contains("It is PARIS, of course", "paris")
    assert not contains("It is PARIS", "paris", ignores_case=False)
    assert matches("order 42 sent", r"\d+")
    assert not matches("order 42 sent", r"\d+", is_whole=True)
    with pytest.raises(EvaluatorError, match="no regular expression"):
        matches("x", "(")


@pytest.mark.parametrize(
    ("answer", "truth", "f1"),
    [
        ("Paris is the capital of France", "The capital of France is Paris", 1.0),
        ("the cat sat", "the cat sat on the mat", 2 * 1 * 0.5 / 1.5),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
        ("cat cat", "cat", 2 * 0.5 * 1 / 1.5),
    ],
)
def test_token_f1(answer: str, truth: str, f1: float) -> None:
    assert token_f1(answer, truth) == pytest.approx(f1)


def test_edit_similarity_is_one_minus_the_share_of_edits() -> None:
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)


class TestOverlap:
    """Papineni et al. 2002, example 1, and Lin 2004, sentence example."""

    CANDIDATE = "It is a guide to action which ensures that the military always obeys the commands of the party"
    REFERENCE = "It is a guide to action that ensures that the military will forever heed Party commands"

    def test_identical_texts_score_one(self) -> None:
        for measure in (bleu, gleu, chrf):
            assert measure(self.REFERENCE, self.REFERENCE) == pytest.approx(1.0)

    def test_bleu_equals_nltk_on_words(self) -> None:
        from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

        expected = sentence_bleu(
            [self.REFERENCE.split()], self.CANDIDATE.split(), smoothing_function=SmoothingFunction().method4
        )
        assert bleu(self.CANDIDATE, self.REFERENCE) == pytest.approx(expected)

    def test_rouge_l_of_the_published_sentence(self) -> None:
        """Lin 2004, section 3.1: S2 shares the subsequence `police the gunman`... with S1 three words of four."""
        scores = rouge("police kill the gunman", "police killed the gunman", "rougeL")

        assert (scores.precision, scores.recall, scores.f1) == (0.75, 0.75, 0.75)
        assert rouge("the gunman kill police", "police killed the gunman", "rougeL").f1 == 0.5

    def test_chrf_is_a_share(self) -> None:
        assert 0 < chrf("the cat sat", "the cat sits") < 1

    def test_tokenizers_need_no_downloads(self) -> None:
        assert tokenize("It can't be. We know.") == ["It", "ca", "n't", "be", ".", "We", "know", "."]
        assert tokenize("日本 — 東京。") == ["日本", "—", "東京", "。"]

    def test_meteor_without_wordnet_says_what_is_missing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        import nltk

        monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])

        with pytest.raises(EvaluatorError, match="WordNet") as caught:
            meteor("the cat", "a cat")

        assert "nltk.downloader wordnet" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "is_valid", "fits", "problem"),
    [
        ('{"name": "Ada", "age": 36}', True, True, ""),
        ('```json\n{"name": "Ada", "age": 36}\n```', True, True, ""),
        ('{"name": "Ada", "age": "36"}', True, False, "$.age"),
        ('{"age": 36}', True, False, "'name' is a required property"),
        ("{name: Ada}", False, False, "no JSON"),
        ('{"name": "Ada", "age": NaN}', False, False, "NaN"),
    ],
)
def test_json_and_schema(text: str, is_valid: bool, fits: bool, problem: str) -> None:
    schema = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    }

    check = check_json(text, json.dumps(schema))

    assert (check.is_valid, check.fits_schema) == (is_valid, fits)
    assert problem in check.problem


def test_a_broken_schema_is_the_users_error() -> None:
    with pytest.raises(EvaluatorError, match="not a valid JSON schema"):
        check_json("1", {"type": "nothing"})


class TestRanking:
    def test_measures_of_a_small_list(self) -> None:
        scores = rank_scores(["d3", "d1", "d9", "d2"], ["d1", "d2"], k=3)

        assert (scores.precision, scores.recall, scores.reciprocal_rank) == (1 / 3, 0.5, 0.5)
        assert scores.ndcg == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))

    def test_graded_gains_of_a_published_example(self) -> None:
        """Gains 3, 2, 3, 0, 1, 2 in this order: DCG 6.861, ideal 7.141, nDCG 0.961 (log2 discount)."""
        gains = {"a": 3, "b": 2, "c": 3, "d": 0, "e": 1, "f": 2}

        assert rank_scores(list("abcdef"), gains, k=6).ndcg == pytest.approx(0.961, abs=5e-4)

    def test_nothing_relevant_is_an_error(self) -> None:
        with pytest.raises(EvaluatorError):
            rank_scores(["d1"], [])


def test_classification_report_of_a_hand_computed_table() -> None:
    truths = ["cat"] * 5 + ["dog"] * 5
    answers = ["cat"] * 4 + ["dog"] + ["dog"] * 3 + ["cat", "bird"]

    report = classification_report(answers, truths)

    assert report.accuracy == 0.7
    assert report.classes["cat"].precision == 0.8
    assert report.classes["dog"].recall == 0.6
    assert report.classes["bird"].f1 == 0.0
    assert report.macro_f1 == pytest.approx((0.8 + 2 * 0.75 * 0.6 / 1.35 + 0) / 3)
    assert report.confusion["dog"] == {"bird": 1, "cat": 1, "dog": 3}
