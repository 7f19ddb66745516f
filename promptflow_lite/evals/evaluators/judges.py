"""Evaluator classes that ask a model, with the names and columns of the original; they share the evaluators' prompts.

A grade that cannot be read is NaN, never 0.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any, ClassVar

from promptflow_lite._utils.resources import bundled
from promptflow_lite.evals.judging import Judge, judge_for
from promptflow_lite.flow import render_chat


class GradingEvaluator:
    """Grades from 1 to 5 with the prompt of a bundled evaluator.

    Args:
        model_config: A model configuration, a connection, or nothing for the default model.
    """

    prompt: ClassVar[str]
    """Folder of the bundled evaluator."""
    metric: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    """Inputs that must not be blank."""

    def __init__(self, model_config: Any = None) -> None:
        self._judge: Judge = judge_for(model_config)

    def _grade(self, **values: Any) -> dict[str, float]:
        texts = {name: str(value or "") for name, value in values.items()}
        blank = [name for name in self.needs if not texts[name].strip()]
        if blank:
            quoted = [f"'{name}'" for name in self.needs]
            listed = " and ".join(part for part in (", ".join(quoted[:-1]), quoted[-1]) if part)
            raise ValueError(f"{listed} must be non-empty strings.")

        messages = render_chat(_template(self.prompt), texts, escape=tuple(texts))
        grade = self._judge.grade(messages).grade
        return {self.metric: math.nan if grade is None else grade}


class RelevanceEvaluator(GradingEvaluator):
    """Does the answer address the question?"""

    prompt, metric, needs = "relevance", "gpt_relevance", ("question", "answer", "context")

    def __call__(self, *, question: str, answer: str, context: str, **kwargs: Any) -> dict[str, float]:
        return self._grade(question=question, answer=answer, context=context)


class GroundednessEvaluator(GradingEvaluator):
    """Does the answer follow from the context?"""

    prompt, metric, needs = "groundedness", "gpt_groundedness", ("answer", "context")

    def __call__(self, *, answer: str, context: str, **kwargs: Any) -> dict[str, float]:
        return self._grade(answer=answer, context=context)


class CoherenceEvaluator(GradingEvaluator):
    """Do the sentences of the answer fit together?"""

    prompt, metric, needs = "coherence", "gpt_coherence", ("question", "answer")

    def __call__(self, *, question: str, answer: str, **kwargs: Any) -> dict[str, float]:
        return self._grade(question=question, answer=answer)


class FluencyEvaluator(GradingEvaluator):
    """Is the answer well written?"""

    prompt, metric, needs = "fluency", "gpt_fluency", ("question", "answer")

    def __call__(self, *, question: str, answer: str, **kwargs: Any) -> dict[str, float]:
        return self._grade(question=question, answer=answer)


class SimilarityEvaluator(GradingEvaluator):
    """Does the answer say the same as the reference?"""

    prompt, metric, needs = "similarity", "gpt_similarity", ("question", "answer", "ground_truth")

    def __call__(self, *, question: str, answer: str, ground_truth: str, **kwargs: Any) -> dict[str, float]:
        return self._grade(question=question, answer=answer, ground_truth=ground_truth)


class RetrievalGrader(GradingEvaluator):
    """Do the retrieved documents help to answer the question? Used by `ChatEvaluator`."""

    metric, needs = "gpt_retrieval", ("question", "context")

    _TEMPLATE: ClassVar[str] = (
        "# system:\nYou are a strict grader. Check whether the documents help to answer the question, the most helpful "
        "first. Give a grade from 1 to 5.\n1: no document helps\n3: some help, in a poor order\n5: all help, best "
        "first\nAnswer with the grade only.\n\n# user:\nQuestion: {{ question }}\nDocuments: {{ context }}\nGrade:\n"
    )

    def __call__(self, *, question: str, context: str, **kwargs: Any) -> dict[str, float]:
        texts = {"question": question, "context": context}
        grade = self._judge.grade(render_chat(self._TEMPLATE, texts, escape=tuple(texts))).grade
        return {self.metric: math.nan if grade is None else grade}


def citations_text(citations: Any) -> str:
    """Citations of a conversation turn as the context of a judge."""
    return json.dumps(citations, ensure_ascii=False)


@cache
def _template(prompt: str) -> str:
    return (bundled("evaluators") / prompt / "grade.jinja2").read_text("utf-8")
