"""Evaluator classes that compare an answer with a reference and need no model; names and columns of the original."""

from __future__ import annotations

from enum import Enum
from typing import Any

from promptflow_lite.evals import measures


class RougeType(Enum):
    """What ROUGE counts: word sequences of a length, or the longest common subsequence."""

    ROUGE_1 = "rouge1"
    ROUGE_2 = "rouge2"
    ROUGE_3 = "rouge3"
    ROUGE_4 = "rouge4"
    ROUGE_5 = "rouge5"
    ROUGE_L = "rougeL"


class F1ScoreEvaluator:
    """F1 of the words that answer and reference share."""

    def __call__(self, *, answer: str, ground_truth: str, **kwargs: Any) -> dict[str, float]:
        _require_both(answer, ground_truth)
        return {"f1_score": measures.token_f1(answer, ground_truth)}


class BleuScoreEvaluator:
    """Sentence BLEU with smoothing."""

    def __call__(self, *, answer: str, ground_truth: str, **kwargs: Any) -> dict[str, float]:
        return {"bleu_score": measures.bleu(answer, ground_truth)}


class GleuScoreEvaluator:
    """Sentence GLEU."""

    def __call__(self, *, answer: str, ground_truth: str, **kwargs: Any) -> dict[str, float]:
        return {"gleu_score": measures.gleu(answer, ground_truth)}


class MeteorScoreEvaluator:
    """METEOR; needs the WordNet corpus on this machine.

    Args:
        alpha: Weight of precision against recall.
        beta: Shape of the penalty for scattered matches.
        gamma: Weight of that penalty.
    """

    def __init__(self, alpha: float = 0.9, beta: float = 3.0, gamma: float = 0.5) -> None:
        self._alpha = alpha
        self._beta = beta
        self._gamma = gamma

    def __call__(self, *, answer: str, ground_truth: str, **kwargs: Any) -> dict[str, float]:
        score = measures.meteor(answer, ground_truth, alpha=self._alpha, beta=self._beta, gamma=self._gamma)
        return {"meteor_score": score}


class RougeScoreEvaluator:
    """ROUGE precision, recall and F1.

    Args:
        rouge_type: What is counted.
    """

    def __init__(self, rouge_type: RougeType) -> None:
        self._kind = RougeType(rouge_type).value

    def __call__(self, *, answer: str, ground_truth: str, **kwargs: Any) -> dict[str, float]:
        scores = measures.rouge(answer, ground_truth, self._kind)
        return {"rouge_precision": scores.precision, "rouge_recall": scores.recall, "rouge_f1_score": scores.f1}


def _require_both(answer: str, ground_truth: str) -> None:
    if not all(text and str(text).strip() and text != "None" for text in (answer, ground_truth)):
        raise ValueError("Both 'answer' and 'ground_truth' must be non-empty strings.")
