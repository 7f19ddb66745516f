"""Search for a better prompt: candidates from training rows and rewritten instructions, halved on validation rows.

Nothing here sees a test row: the caller keeps them, and looks at them once, with the winner.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from promptflow_lite.errors import EvaluatorError

_ROLE = re.compile(r"^[ \t]*#?[ \t]*(system|user|assistant)[ \t]*:[ \t]*$", re.IGNORECASE | re.MULTILINE)
_BASELINE = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A candidate: a name and the whole template."""

    name: str
    template: str

    @property
    def is_baseline(self) -> bool:
        return self.name == _BASELINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A solved training row, as the prompt would show it."""

    question: str
    """The user's message of that row, rendered."""
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One round of the search."""

    n_rows: int
    scores: Mapping[str, float]
    """Candidate -> mean score on the first `n_rows` validation rows."""
    kept: tuple[str, ...]


def baseline(template: str) -> Prompt:
    return Prompt(name=_BASELINE, template=template)


def sections(template: str) -> list[tuple[str, str]]:
    """Roles and texts of a chat template; text before the first role has the role ``."""
    parts = _ROLE.split(template)
    head = [("", parts[0])] if parts[0].strip() else []
    return head + [(role.lower(), text) for role, text in zip(parts[1::2], parts[2::2], strict=True)]


def last_question(template: str) -> str:
    """The text of the last user message, to be rendered for an example.

    Raises:
        EvaluatorError: the template has no user message.
    """
    users = [text for role, text in sections(template) if role == "user"]
    if not users:
        raise EvaluatorError("The template has no user message to put examples before.")

    return users[-1]


def with_examples(template: str, examples: Sequence[Example]) -> str:
    """The template with solved rows before the last user message, in the place of the examples it has."""
    parts = sections(template)
    last = max(index for index, (role, _) in enumerate(parts) if role == "user")
    first = next((index for index, (role, _) in enumerate(parts) if role in ("user", "assistant")), last)
    shots = [
        item
        for example in examples
        for item in (("user", _literal(example.question)), ("assistant", _literal(example.answer)))
    ]
    return _join([*parts[:first], *shots, *parts[last:]])


def with_instruction(template: str, instruction: str) -> str:
    """The template with another system message."""
    parts = [(role, text) for role, text in sections(template) if role != "system"]
    return _join([("system", _literal(instruction)), *parts])


def instruction_of(template: str) -> str:
    """The system message without variables; empty when there is none."""
    texts = [text.strip() for role, text in sections(template) if role == "system"]
    return texts[0] if texts and "{" not in texts[0] else ""


def _literal(text: str) -> str:
    """Text that Jinja leaves alone and that starts no message."""
    safe = _ROLE.sub(lambda match: match.group(0).replace(":", " -"), text.strip())
    return f"\n{{% raw %}}{safe.replace('{% endraw %}', '')}{{% endraw %}}\n" if "{" in safe else f"\n{safe}\n"


def _join(parts: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{role}:\n{text.strip(chr(10))}\n" if role else text for role, text in parts).rstrip("\n") + "\n"


def few_shot_prompts(
    template: str, examples: Sequence[Example], *, sizes: Sequence[int] = (2, 4, 8), n_each: int = 2, seed: int = 0
) -> list[Prompt]:
    """Candidates with random examples, the answers in turn so that none is favoured."""
    rng = random.Random(seed)
    by_answer: dict[str, list[Example]] = {}
    for example in examples:
        by_answer.setdefault(example.answer, []).append(example)

    found = []
    for size in sizes:
        for attempt in range(n_each):
            chosen = _balanced(by_answer, size, rng)
            if len(chosen) == size:
                name = f"{size} examples, set {attempt + 1}"
                found.append(Prompt(name=name, template=with_examples(template, chosen)))

    return found


def _balanced(by_answer: Mapping[str, Sequence[Example]], size: int, rng: random.Random) -> list[Example]:
    pools = [rng.sample(list(pool), len(pool)) for _, pool in sorted(by_answer.items())]
    rng.shuffle(pools)
    chosen: list[Example] = []
    while len(chosen) < size and any(pools):
        for pool in pools:
            if pool and len(chosen) < size:
                chosen.append(pool.pop())

    rng.shuffle(chosen)
    return chosen


REWRITE = (
    "You improve instructions for a language model. Rewrite the instruction so that it is clear, short and exact. "
    "Keep its meaning. Answer with the instruction only."
)


def rewritten_prompts(template: str, rewrite: Callable[[int], str], n: int) -> list[Prompt]:
    """Candidates with instructions that a model wrote; empty and repeated ones are dropped.

    Args:
        template: The template to improve.
        rewrite: Attempt -> an instruction.
        n: Attempts.
    """
    seen = {instruction_of(template)}
    found: list[Prompt] = []
    for attempt in range(n):
        instruction = " ".join(rewrite(attempt).split())[:500]
        if instruction and instruction not in seen:
            seen.add(instruction)
            found.append(Prompt(name=f"instruction {len(found) + 1}", template=with_instruction(template, instruction)))

    return found


def successive_halving(
    candidates: Sequence[Prompt],
    n_rows: int,
    score: Callable[[Prompt, int], float | None],
    *,
    first_rows: int = 16,
    eta: int = 2,
) -> tuple[Prompt, list[Rung]]:
    """Give all candidates a few rows, the better half twice as many, until one is left.

    Args:
        candidates: What to search.
        n_rows: Validation rows.
        score: Candidate and row -> score, None when it could not be scored; asked once for every pair.
        first_rows: Rows of the first round.
        eta: One in so many candidates is kept, and gets so many times the rows.
    Returns:
        The winner, and what happened in every round.
    Source: Karnin, Koren & Somekh 2013; Jamieson & Talwalkar 2016.
    """
    if not candidates or n_rows < 1:
        raise EvaluatorError("A search needs candidates and validation rows.")

    seen: dict[str, dict[int, float | None]] = {candidate.name: {} for candidate in candidates}
    left = list(candidates)
    rungs: list[Rung] = []
    rows = min(first_rows, n_rows)
    while True:
        for candidate in left:
            scores = seen[candidate.name]
            for row in range(len(scores), rows):
                scores[row] = score(candidate, row)

        means = {candidate.name: _mean(seen[candidate.name]) for candidate in left}
        left = sorted(left, key=lambda candidate: -means[candidate.name])
        keep = 1 if rows >= n_rows and len(left) <= eta else max(1, -(-len(left) // eta))
        left = left[:keep]
        rungs.append(Rung(n_rows=rows, scores=means, kept=tuple(candidate.name for candidate in left)))
        if len(left) == 1:
            return left[0], rungs

        rows = min(rows * eta, n_rows)


def _mean(scores: Mapping[int, float | None]) -> float:
    """Unscored rows count as the worst seen, so that a prompt is not chosen for confusing the judge."""
    known = [score for score in scores.values() if score is not None]
    worst = min([0.0, *known])
    return sum(worst if score is None else score for score in scores.values()) / max(len(scores), 1)
