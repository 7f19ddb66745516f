"""Evaluators as Python classes; `promptflow.evals.evaluators` of the original leads here."""

from promptflow_lite.evals.evaluators.composite import ChatEvaluator, QAEvaluator
from promptflow_lite.evals.evaluators.judges import (
    CoherenceEvaluator,
    FluencyEvaluator,
    GroundednessEvaluator,
    RelevanceEvaluator,
    SimilarityEvaluator,
)
from promptflow_lite.evals.evaluators.overlap import (
    BleuScoreEvaluator,
    F1ScoreEvaluator,
    GleuScoreEvaluator,
    MeteorScoreEvaluator,
    RougeScoreEvaluator,
    RougeType,
)

__all__ = [
    "BleuScoreEvaluator",
    "ChatEvaluator",
    "CoherenceEvaluator",
    "F1ScoreEvaluator",
    "FluencyEvaluator",
    "GleuScoreEvaluator",
    "GroundednessEvaluator",
    "MeteorScoreEvaluator",
    "QAEvaluator",
    "RelevanceEvaluator",
    "RougeScoreEvaluator",
    "RougeType",
    "SimilarityEvaluator",
]
