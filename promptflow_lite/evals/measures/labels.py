"""Classification: accuracy, precision, recall and F1 by class, and the confusion matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from promptflow_lite.errors import EvaluatorError


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How well one class is found."""

    precision: float
    recall: float
    f1: float
    support: int
    """Rows that are of this class."""


@dataclass(frozen=True, slots=True)
class ClassificationReport:
    """All rows together and class by class."""

    accuracy: float
    macro_f1: float
    """Unweighted mean of F1 over the classes that the references or the answers name."""
    classes: dict[str, ClassScores]
    confusion: dict[str, dict[str, int]]
    """True class -> answered class -> rows."""


def classification_report(answers: Sequence[str], ground_truths: Sequence[str]) -> ClassificationReport:
    """Compare labels; an undefined ratio counts as 0, as in scikit-learn.

    Raises:
        EvaluatorError: no rows, or lists of different lengths.
    """
    if len(answers) != len(ground_truths) or not answers:
        raise EvaluatorError(f"A report needs a label and a reference a row; got {len(answers)}, {len(ground_truths)}.")

    pairs = Counter(zip(map(str, ground_truths), map(str, answers), strict=True))
    names = sorted({name for pair in pairs for name in pair})
    classes = {name: _class_scores(name, pairs) for name in names}
    return ClassificationReport(
        accuracy=sum(count for (truth, answer), count in pairs.items() if truth == answer) / len(answers),
        macro_f1=sum(scores.f1 for scores in classes.values()) / len(classes),
        classes=classes,
        confusion={truth: {answer: pairs[truth, answer] for answer in names} for truth in names},
    )


def _class_scores(name: str, pairs: Counter[tuple[str, str]]) -> ClassScores:
    hits = pairs[name, name]
    answered = sum(count for (_, answer), count in pairs.items() if answer == name)
    support = sum(count for (truth, _), count in pairs.items() if truth == name)
    precision = hits / answered if answered else 0.0
    recall = hits / support if support else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return ClassScores(precision, recall, f1, support)
