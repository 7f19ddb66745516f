"""Evaluators made of evaluators: questions with answers, and whole conversations."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from promptflow_lite.errors import PromptflowException
from promptflow_lite.evals.evaluators.judges import (
    CoherenceEvaluator,
    FluencyEvaluator,
    GroundednessEvaluator,
    RelevanceEvaluator,
    RetrievalGrader,
    SimilarityEvaluator,
    citations_text,
)
from promptflow_lite.evals.evaluators.overlap import F1ScoreEvaluator
from promptflow_lite.evals.judging import judge_for

Evaluator = Callable[..., dict[str, Any]]
logger = logging.getLogger(__name__)


class QAEvaluator:
    """Groundedness, relevance, coherence, fluency, similarity and F1 of one answer.

    Args:
        model_config: A model configuration, a connection, or nothing for the default model.
        parallel: Ask all judges at once.
    """

    def __init__(self, model_config: Any = None, parallel: bool = True) -> None:
        judge = judge_for(model_config)
        self._parallel = parallel
        self._evaluators: list[Evaluator] = [
            GroundednessEvaluator(judge),
            RelevanceEvaluator(judge),
            CoherenceEvaluator(judge),
            FluencyEvaluator(judge),
            SimilarityEvaluator(judge),
            F1ScoreEvaluator(),
        ]

    def __call__(
        self, *, question: str, answer: str, context: str, ground_truth: str, **kwargs: Any
    ) -> dict[str, float]:
        values = {"question": question, "answer": answer, "context": context, "ground_truth": ground_truth}
        calls = [_bound(evaluator, values) for evaluator in self._evaluators]
        return {name: score for result in _run_all(calls, parallel=self._parallel) for name, score in result.items()}


class ChatEvaluator:
    """Coherence and fluency of a conversation; groundedness, relevance and retrieval if every answer has citations.

    Args:
        model_config: A model configuration, a connection, or nothing for the default model.
        eval_last_turn: Judge the last turn only.
        parallel: Ask all judges of a turn at once.
    """

    def __init__(self, model_config: Any = None, eval_last_turn: bool = False, parallel: bool = True) -> None:
        judge = judge_for(model_config)
        self._last_turn_only = eval_last_turn
        self._parallel = parallel
        self._always: list[Evaluator] = [CoherenceEvaluator(judge), FluencyEvaluator(judge)]
        self._with_context: list[Evaluator] = [
            GroundednessEvaluator(judge),
            RelevanceEvaluator(judge),
            RetrievalGrader(judge),
        ]

    def __call__(self, *, conversation: Sequence[Mapping[str, Any]], **kwargs: Any) -> dict[str, Any]:
        turns = _turns(conversation)
        if self._last_turn_only:
            turns = turns[-1:]

        has_context = all(turn["citations"] for turn in turns)
        evaluators = self._always + (self._with_context if has_context else [])
        results = [result for turn in turns if (result := self._judge_turn(turn, evaluators)) is not None]
        per_turn = {name: [result[name] for result in results] for name in (results[0] if results else {})}
        return {
            **{name: _mean(scores) for name, scores in per_turn.items()},
            "evaluation_per_turn": {name: {"score": scores} for name, scores in per_turn.items()},
        }

    def _judge_turn(self, turn: Mapping[str, Any], evaluators: Sequence[Evaluator]) -> dict[str, float] | None:
        """Scores of a turn; None when it cannot be judged, so that one turn does not cost the conversation."""
        values = {"question": turn["question"], "answer": turn["answer"], "context": citations_text(turn["citations"])}
        calls = [_bound(evaluator, values) for evaluator in evaluators]
        try:
            return {
                name: score for scores in _run_all(calls, parallel=self._parallel) for name, score in scores.items()
            }
        except (PromptflowException, ValueError) as error:
            logger.warning("A turn was skipped: %s", error)
            return None


def _turns(conversation: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Question, answer and citations of every turn.

    Raises:
        ValueError: roles do not alternate between user and assistant, or the last word is not the assistant's.
    """
    if not conversation or len(conversation) % 2:
        raise ValueError("conversation must be pairs of a user and an assistant message.")

    turns = []
    for user, assistant in zip(conversation[::2], conversation[1::2], strict=True):
        if (user.get("role"), assistant.get("role")) != ("user", "assistant"):
            raise ValueError("conversation must alternate between the roles 'user' and 'assistant', user first.")

        citations = (assistant.get("context") or {}).get("citations")
        turns.append({"question": user["content"], "answer": assistant["content"], "citations": citations})

    return turns


def _bound(evaluator: Evaluator, values: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    return lambda: evaluator(**values)


def _run_all(calls: Sequence[Callable[[], dict[str, Any]]], *, parallel: bool) -> list[dict[str, Any]]:
    if not parallel:
        return [call() for call in calls]

    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        return [future.result() for future in [pool.submit(copy_context().run, call) for call in calls]]


def _mean(scores: Sequence[float]) -> float:
    known = [score for score in scores if not math.isnan(score)]
    return sum(known) / len(known) if known else math.nan
