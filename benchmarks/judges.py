"""How well a model judges: expected grades against a parsed digit, and position bias before and after the order swap.

Run it with the model that `PFL_DEFAULT_MODEL` names, or with the bundled one: python benchmarks/judges.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from promptflow_lite._utils.resources import bundled
from promptflow_lite.evals.judging import Judge, chat, combine_orders
from promptflow_lite.evals.stats import bootstrap_interval, paired_test, wilson_interval
from promptflow_lite.flow import render_chat
from promptflow_lite.providers import default_model

PAIRS = Path(__file__).parent / "data" / "judge_pairs.jsonl"
PREFER = "You compare two answers to a question. Say which one is better: A or B."


def naive_grade(model: object, messages: list[dict[str, str]]) -> float:
    """The first digit of a generated answer; 0 when there is none, as naive judges do."""
    answer = model.client.chat({"messages": messages, "temperature": 0, "max_tokens": 8})  # type: ignore[attr-defined]
    digit = re.search(r"[1-5]", answer["choices"][0]["message"]["content"] or "")
    return float(digit.group()) if digit else 0.0


def wins(good: float, broken: float) -> float:
    return 1.0 if good > broken else 0.5 if good == broken else 0.0


def main() -> None:
    pairs = [json.loads(line) for line in PAIRS.read_text("utf-8").splitlines()]
    model = default_model()
    judge = Judge(model.client, model=model.model, takes_choices=model.takes_choices)
    template = (bundled("evaluators") / "coherence" / "grade.jinja2").read_text("utf-8")

    expected, naive, unparsed = [], [], 0
    for pair in pairs:
        grades = {}
        for kind in ("good", "broken"):
            messages = render_chat(template, {"question": pair["question"], "answer": pair[kind]})
            grades[kind] = judge.grade(messages).required(), naive_grade(model, messages)

        expected.append(wins(grades["good"][0], grades["broken"][0]))
        naive.append(wins(grades["good"][1], grades["broken"][1]))
        unparsed += sum(grade[1] == 0 for grade in grades.values())

    for name, scores in (("expected grade", expected), ("parsed digit", naive)):
        interval = bootstrap_interval(scores)
        print(f"{name}: good above broken {sum(scores) / len(scores):.3f} ({interval.low:.3f} to {interval.high:.3f})")

    test = paired_test(naive, expected)
    low, high = (test.interval.low, test.interval.high) if test.interval else (float("nan"), float("nan"))
    print(f"difference {test.difference:+.3f} ({low:+.3f} to {high:+.3f}), p {test.p_value:.4f}; {unparsed} unparsed")

    first_position, right_one_order, preferences = 0, 0, []
    for index, pair in enumerate(pairs):
        first, second = (pair["good"], pair["broken"]) if index % 2 else (pair["broken"], pair["good"])
        ask = f"Question: {pair['question']}\n\nAnswer A: {{}}\n\nAnswer B: {{}}\n\nBetter answer:"
        forward = judge.share_of("B", ("A", "B"), chat(PREFER, ask.format(first, second)))
        backward = judge.share_of("A", ("A", "B"), chat(PREFER, ask.format(second, first)))
        good_is_second = second == pair["good"]
        first_position += forward < 0.5
        right_one_order += (forward > 0.5) == good_is_second
        result = combine_orders({"A": 1 - forward, "B": forward}, {"A": backward, "B": 1 - backward})
        p_good = result.p_second if good_is_second else 1 - result.p_second
        preferences.append((result, p_good))

    n = len(pairs)
    shares = {
        "one order: names position A": first_position,
        "one order: names the good answer": right_one_order,
        "both orders: the judge followed the position (tie)": sum(result.is_flip for result, _ in preferences),
        "both orders: mean probability prefers the good answer": sum(p > 0.5 for _, p in preferences),
    }
    for name, count in shares.items():
        interval = wilson_interval(count, n)
        print(f"{name}: {count}/{n} ({interval.low:.2f} to {interval.high:.2f})")


if __name__ == "__main__":
    main()
