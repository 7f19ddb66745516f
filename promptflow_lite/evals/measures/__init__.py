"""Measures that need no model: plain functions from texts, numbers and lists to scores."""

from promptflow_lite.evals.measures.labels import ClassificationReport, ClassScores, classification_report
from promptflow_lite.evals.measures.numbers import numbers_match, parse_number
from promptflow_lite.evals.measures.overlap import RougeScores, bleu, chrf, gleu, meteor, rouge, tokenize
from promptflow_lite.evals.measures.ranking import RetrievalScores, quantile, rank_scores
from promptflow_lite.evals.measures.structured import JsonCheck, check_json
from promptflow_lite.evals.measures.text import contains, edit_similarity, exact_match, matches, normalize, token_f1

__all__ = [
    "ClassScores",
    "ClassificationReport",
    "JsonCheck",
    "RetrievalScores",
    "RougeScores",
    "bleu",
    "check_json",
    "chrf",
    "classification_report",
    "contains",
    "edit_similarity",
    "exact_match",
    "gleu",
    "matches",
    "meteor",
    "normalize",
    "numbers_match",
    "parse_number",
    "quantile",
    "rank_scores",
    "rouge",
    "token_f1",
    "tokenize",
]
