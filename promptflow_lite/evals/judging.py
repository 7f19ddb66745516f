"""Models as judges: grades from label probabilities, pairwise preferences in both orders, votes of several judges.

A judge that cannot be read says so: a `Judgement` has either a grade or a problem, and nothing here turns a problem
into a number.

**Why label probabilities**: a small model that is 60 % sure of a 4 and 40 % sure of a 2 knows more than the digit 4 it
would print. The expectation keeps that, costs no generated token and cannot fail to parse.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from promptflow_lite.connections import Connection, ConnectionSource
from promptflow_lite.errors import EvaluatorError, OpenAIError
from promptflow_lite.providers import Body, DefaultModel, ModelClient, client_for, default_model, takes_choices
from promptflow_lite.tools.choices import LABEL, PROBABILITIES, choose
from promptflow_lite.tools.model_configuration import ModelConfiguration, connection_of

GRADES = ("1", "2", "3", "4", "5")
How = Literal["probabilities", "schema", "text"]
Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judge said about one row."""

    grade: float | None
    """None when the answer could not be read; then `problem` says why."""
    probabilities: Mapping[str, float] | None = None
    how: How = "probabilities"
    problem: str = ""

    def required(self) -> float:
        """The grade.

        Raises:
            EvaluatorError: there is none.
        """
        if self.grade is None:
            raise EvaluatorError(f"The judge gave no grade: {self.problem}.")

        return self.grade


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Which of two answers a judge prefers, asked in both orders."""

    preference: Literal["first", "second", "tie"]
    p_second: float
    """Probability that the second is better, mean of both orders: the position's pull cancels."""
    is_flip: bool
    """Whether the two orders named different answers: the judge followed the position."""

    @property
    def score(self) -> float:
        """1 when the second is better, 0 when the first is, 0.5 for a tie."""
        return {"first": 0.0, "tie": 0.5, "second": 1.0}[self.preference]


# --- from a node's output to a score; used by evaluator flows ---


def expected_grade(output: Any) -> float:
    """The expected grade: over label probabilities, or the label itself when the model gave only that.

    Args:
        output: Label -> probability, a numeric label, or a text that holds exactly one number.
    Raises:
        EvaluatorError: there is no grade in it.
    """
    if isinstance(output, Mapping):
        return _expectation(output)

    numbers = set(re.findall(r"(?<![\d.])\d+(?:\.\d+)?(?![\d])", str(output)))
    if len(numbers) != 1:
        raise EvaluatorError(f"The judge gave no grade: {str(output)[:80]!r}.")

    return float(numbers.pop())


def _expectation(probabilities: Mapping[Any, Any]) -> float:
    total = sum(float(value) for value in probabilities.values())
    try:
        weighted = sum(float(label) * float(share) for label, share in probabilities.items())
    except ValueError as error:
        raise EvaluatorError(f"The labels {list(probabilities)!r} are no grades.") from error

    if not math.isfinite(total) or total <= 0:
        raise EvaluatorError("The judge's probabilities do not add up.")

    return weighted / total


def label_share(output: Any, label: str) -> float:
    """Probability of a label: from label probabilities, or 1 or 0 when the model gave only a label.

    Raises:
        EvaluatorError: the output says neither.
    """
    if isinstance(output, Mapping):
        total = sum(float(value) for value in output.values())
        if label in output and math.isfinite(total) and total > 0:
            return float(output[label]) / total

        raise EvaluatorError(f"The judge gave no probability of {label!r}.")

    word = str(output).strip().strip(".").lower()
    if not word or len(word) > 40:
        raise EvaluatorError(f"The judge gave no label: {str(output)[:80]!r}.")

    return float(word == label.lower())


def combine_orders(forward: Any, backward: Any) -> Preference:
    """One preference from two orders; each output is a label `A` or `B`, or their probabilities.

    Args:
        forward: The judge's word with the first answer as A and the second as B.
        backward: Its word with the second answer as A and the first as B.
    """
    second_ahead, second_behind = label_share(forward, "B"), label_share(backward, "A")
    votes = (second_ahead > 0.5) + (second_behind > 0.5)
    undecided = second_ahead == 0.5 or second_behind == 0.5
    preference: Literal["first", "second", "tie"] = "tie"
    if not undecided and votes != 1:
        preference = "second" if votes == 2 else "first"

    is_flip = votes == 1 and not undecided
    return Preference(preference=preference, p_second=(second_ahead + second_behind) / 2, is_flip=is_flip)


# --- asking a model ---


def chat(system: str, question: str) -> list[Message]:
    """A system and a user message."""
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


class Judge:
    """A model that grades.

    Args:
        client: Where to ask.
        model: Sent as `model`; empty when the client knows only one.
        takes_choices: Whether a request may hold `choices`, which gives label probabilities.

    Thread: safe.
    """

    def __init__(self, client: ModelClient, *, model: str = "", takes_choices: bool = True) -> None:
        self._client = client
        self._model = model
        self._takes_choices = takes_choices
        self._ways: list[How] = ["probabilities"] if takes_choices else ["probabilities", "schema", "text"]

    def grade(self, messages: Sequence[Message], *, labels: Sequence[str] = GRADES) -> Judgement:
        """Grade what the messages ask about: the expectation over numeric labels.

        Label probabilities are asked for first; a server that has none is asked for a label by JSON schema, and a
        server that has neither for plain text, which must hold one label.
        """
        output, how, problem = self._ask(messages, labels)
        if problem:
            return Judgement(grade=None, how=how, problem=problem)

        probabilities = output if isinstance(output, Mapping) else None
        return Judgement(grade=expected_grade(output), probabilities=probabilities, how=how)

    def share_of(self, label: str, labels: Sequence[str], messages: Sequence[Message]) -> float:
        """Probability that the judge answers with a label.

        Raises:
            EvaluatorError: its answer could not be read.
        """
        output, _, problem = self._ask(messages, labels)
        if problem:
            raise EvaluatorError(f"The judge gave no label: {problem}.")

        return label_share(output, label)

    def prefer(self, system: str, question: str, first: str, second: str) -> Preference:
        """Ask which of two answers is better, in both orders.

        Raises:
            EvaluatorError: an answer could not be read.
        """
        ask = f"Question: {question}\n\nAnswer A: {{}}\n\nAnswer B: {{}}\n\nBetter answer:"
        forward = self.share_of("B", ("A", "B"), chat(system, ask.format(first, second)))
        backward = self.share_of("A", ("A", "B"), chat(system, ask.format(second, first)))
        return combine_orders({"A": 1 - forward, "B": forward}, {"A": backward, "B": 1 - backward})

    def _ask(self, messages: Sequence[Message], labels: Sequence[str]) -> tuple[Any, How, str]:
        """Label probabilities or a label, how they were got, and the problem if there are none."""
        body: Body = {"messages": list(messages), "temperature": 0}
        if self._model:
            body["model"] = self._model

        problem = ""
        for how in tuple(self._ways):
            try:
                return self._ask_once(body, labels, how), how, ""
            except OpenAIError as error:
                problem = error.message
                if error.facts.get("status") in (400, 404, 422) and how in self._ways and len(self._ways) > 1:
                    self._ways.remove(how)  # the server does not know it; do not ask it again every row
            except EvaluatorError as error:
                problem = error.message

        return None, "text", problem

    def _ask_once(self, body: Body, labels: Sequence[str], how: How) -> Any:
        if how == "text":
            answer = self._client.chat({**body, "max_tokens": 16})
            return _only_label(answer["choices"][0]["message"].get("content") or "", labels)

        output = PROBABILITIES if how == "probabilities" else LABEL
        return choose(self._client, body, list(labels), output, takes_choices=self._takes_choices, is_chat=True)


def _only_label(text: str, labels: Sequence[str]) -> str:
    found = [label for label in labels if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE)]
    if len(found) != 1:
        raise EvaluatorError(f"{text[:80]!r} holds no single label of {list(labels)!r}")

    return found[0]


def default_judge(connections: ConnectionSource | None = None) -> Judge:
    """A judge on the default model: the configured one, or the bundled small one."""
    found: DefaultModel = default_model(connections)
    return Judge(found.client, model=found.model, takes_choices=found.takes_choices)


def judge_for(model_config: Any = None, connections: ConnectionSource | None = None) -> Judge:
    """A judge on a model configuration, a connection, or nothing (the default model).

    Raises:
        EvaluatorError: it is none of these.
    """
    if model_config is None:
        return default_judge(connections)

    if isinstance(model_config, Judge):
        return model_config

    connection, model = _connection_of(model_config, connections)
    return Judge(client_for(connection), model=model, takes_choices=takes_choices(connection))


def _connection_of(model_config: Any, connections: ConnectionSource | None) -> tuple[Connection, str]:
    if isinstance(model_config, Connection):
        return model_config, ""

    if isinstance(model_config, ModelConfiguration):
        return connection_of(model_config.to_dict(), connections or _NoConnections())

    raise EvaluatorError(
        f"A judge needs a model configuration or a connection, not {type(model_config).__name__}.",
        hint="Pass OpenAIModelConfiguration(...), AzureOpenAIModelConfiguration(...) or nothing for the default model.",
    )


class _NoConnections:
    """Where no store is at hand, no connection has a name."""

    def get(self, name: str) -> Connection:
        raise EvaluatorError(f"Connection {name!r} cannot be looked up here.", hint="Pass the connection itself.")

    def names(self) -> list[str]:
        return []


# --- several judges ---


def vote(judgements: Sequence[Judgement]) -> Judgement:
    """The mean grade of the judges that gave one; none when none did.

    The problem of the result names how many could not be read, so that a lone voice is not taken for a panel.
    """
    grades = [judgement.grade for judgement in judgements if judgement.grade is not None]
    silent = len(judgements) - len(grades)
    problem = f"{silent} of {len(judgements)} judges gave no grade" if silent else ""
    if not grades:
        return Judgement(grade=None, problem=problem or "no judge was asked")

    return Judgement(grade=sum(grades) / len(grades), how=judgements[0].how, problem=problem)


def majority(preferences: Sequence[Preference]) -> Preference:
    """The preference that most judges share; a tie when none leads."""
    if not preferences:
        raise EvaluatorError("A vote needs at least one preference.")

    ranked = Counter(preference.preference for preference in preferences).most_common()
    leads = len(ranked) == 1 or ranked[0][1] > ranked[1][1]
    return Preference(
        preference=ranked[0][0] if leads else "tie",
        p_second=sum(preference.p_second for preference in preferences) / len(preferences),
        is_flip=all(preference.is_flip for preference in preferences),
    )
