"""Judges: expected grades, servers that can do less, both orders, votes; never a silent zero."""

from __future__ import annotations

import math
from typing import Any

import pytest

from promptflow_lite.errors import EvaluatorError, WrappedOpenAIError
from promptflow_lite.evals.judging import (
    Judge,
    Judgement,
    Preference,
    chat,
    combine_orders,
    expected_grade,
    label_share,
    majority,
    vote,
)


@pytest.mark.parametrize(
    ("output", "grade"),
    [
        ({"1": 0.0, "2": 0.4, "4": 0.6}, 3.2),
        ({"1": 0.5, "5": 0.5}, 3.0),
        ({"2": 2.0, "4": 2.0}, 3.0),
        ("4", 4.0),
        (" 4\n", 4.0),
        ("Grade: 3", 3.0),
    ],
)
def test_expected_grade(output: Any, grade: float) -> None:
    assert expected_grade(output) == pytest.approx(grade)


@pytest.mark.parametrize(
    "output", ["", "good", "3 or 4", {"yes": 1.0}, {}, {"1": math.nan, "2": 0.5}, None, {"1": 0.0, "2": 0.0}]
)
def test_what_is_no_grade_is_an_error_and_never_zero(output: Any) -> None:
    with pytest.raises(EvaluatorError):
        expected_grade(output)


def test_label_share_reads_probabilities_and_labels() -> None:
    assert label_share({"yes": 0.3, "no": 0.1}, "yes") == pytest.approx(0.75)
    assert label_share("Yes.", "yes") == 1.0
    assert label_share("no", "yes") == 0.0
    for bad in ({"no": 1.0}, "", "I think that this depends on what one means by harmful"):
        with pytest.raises(EvaluatorError):
            label_share(bad, "yes")


@pytest.mark.parametrize(
    ("forward", "backward", "preference", "p_second", "is_flip"),
    [
        ({"A": 0.2, "B": 0.8}, {"A": 0.9, "B": 0.1}, "second", 0.85, False),
        ({"A": 0.9, "B": 0.1}, {"A": 0.2, "B": 0.8}, "first", 0.15, False),
        ({"A": 0.9, "B": 0.1}, {"A": 0.8, "B": 0.2}, "tie", 0.45, True),
        ("B", "B", "tie", 0.5, True),
        ("B", "A", "second", 1.0, False),
        ({"A": 0.5, "B": 0.5}, {"A": 0.9, "B": 0.1}, "tie", 0.7, False),
    ],
)
def test_a_judge_that_follows_the_position_makes_a_tie(
    forward: Any, backward: Any, preference: str, p_second: float, is_flip: bool
) -> None:
    result = combine_orders(forward, backward)

    assert (result.preference, result.is_flip) == (preference, is_flip)
    assert result.p_second == pytest.approx(p_second)


class ScriptedServer:
    """A server that knows some of: log probabilities, JSON schema, plain chat."""

    def __init__(self, *, logprobs: Any = None, schema: str | None = None, text: str = "") -> None:
        self.logprobs = logprobs
        self.schema = schema
        self.text = text
        self.asked: list[str] = []

    def chat(self, body: dict[str, Any], *, timeout_s: float | None = None) -> dict[str, Any]:
        kind = "logprobs" if "logprobs" in body else "schema" if "response_format" in body else "text"
        self.asked.append(kind)
        value = getattr(self, kind)
        if value is None:
            raise WrappedOpenAIError("unknown field", status=400)

        message = {"role": "assistant", "content": value if isinstance(value, str) else ""}
        choice: dict[str, Any] = {"message": message}
        if kind == "logprobs":
            top = [{"token": token, "logprob": math.log(share)} for token, share in value.items()]
            choice["logprobs"] = {"content": [{"token": top[0]["token"], "logprob": 0.0, "top_logprobs": top}]}

        return {"choices": [choice]}


def test_a_server_with_log_probabilities_gives_an_expected_grade() -> None:
    server = ScriptedServer(logprobs={"4": 0.5, " 2": 0.25, "Well": 0.25})

    judgement = Judge(server, takes_choices=False).grade(chat("s", "q"))  # type: ignore[arg-type]

    assert judgement.grade == pytest.approx(4 * 2 / 3 + 2 / 3)
    assert judgement.how == "probabilities"


def test_a_server_without_them_is_asked_by_schema_and_not_asked_twice() -> None:
    server = ScriptedServer(schema='{"label": "3"}')
    judge = Judge(server, takes_choices=False)  # type: ignore[arg-type]

    first, second = judge.grade(chat("s", "q")), judge.grade(chat("s", "q"))

    assert (first.grade, first.how, second.grade) == (3.0, "schema", 3.0)
    assert server.asked == ["logprobs", "schema", "schema"]


def test_a_server_with_neither_must_answer_with_one_label() -> None:
    judge = Judge(ScriptedServer(text="I give it a 4."), takes_choices=False)  # type: ignore[arg-type]

    assert judge.grade(chat("s", "q")).grade == 4.0


def test_an_answer_that_cannot_be_read_is_a_problem() -> None:
    judgement = Judge(ScriptedServer(text="Great!"), takes_choices=False).grade(chat("s", "q"))  # type: ignore[arg-type]

    assert judgement.grade is None
    assert "holds no single label" in judgement.problem
    with pytest.raises(EvaluatorError):
        judgement.required()


def test_a_pairwise_judge_asks_both_orders() -> None:
    class PrefersLonger(ScriptedServer):
        def chat(self, body: dict[str, Any], *, timeout_s: float | None = None) -> dict[str, Any]:
            text = body["messages"][-1]["content"]
            a, b = text.split("Answer A: ")[1].split("\n\nAnswer B: ")
            longer = "A" if len(a) > len(b.split("\n\n")[0]) else "B"
            return {"choices": [{"message": {"content": longer}, "label_probabilities": _certain(longer)}]}

    judge = Judge(PrefersLonger())  # type: ignore[arg-type]

    assert judge.prefer("s", "q", "short", "a much longer answer").preference == "second"
    assert judge.prefer("s", "q", "a much longer answer", "short").preference == "first"


def _certain(label: str) -> dict[str, float]:
    return {name: float(name == label) for name in ("A", "B")}


class TestVotes:
    def test_the_mean_of_those_who_could_say(self) -> None:
        result = vote([Judgement(grade=4.0), Judgement(grade=2.0), Judgement(grade=None, problem="?")])

        assert result.grade == 3.0
        assert result.problem == "1 of 3 judges gave no grade"

    def test_nobody_who_could_say_is_no_grade(self) -> None:
        assert vote([Judgement(grade=None, problem="?")]).grade is None

    @pytest.mark.parametrize(
        ("votes", "winner"),
        [(["first", "second", "second"], "second"), (["first", "second"], "tie"), (["tie", "tie", "first"], "tie")],
    )
    def test_majority_of_preferences(self, votes: list[Any], winner: str) -> None:
        preferences = [Preference(preference=vote, p_second=0.5, is_flip=False) for vote in votes]

        assert majority(preferences).preference == winner
