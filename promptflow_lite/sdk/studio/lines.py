"""Lines of a run as the studio looks for them and looks into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.evals.scores import FAIL_WORDS, PASS_WORDS, ScoreRules
from promptflow_lite.records import LineResult, Span
from promptflow_lite.sdk.client import Client
from promptflow_lite.store.filters import ScoreRange

_LOOKED_AT = 20
_WORDS = {**dict.fromkeys(sorted(PASS_WORDS), 1.0), **dict.fromkeys(sorted(FAIL_WORDS), 0.0)}


def score_names(client: Client, evaluation: str) -> list[str]:
    """Outputs of an evaluation run that are scores, by its first lines."""
    rules = ScoreRules()
    outputs = [line.output or {} for line in islice(client.runs.lines(evaluation, with_steps=False), _LOOKED_AT)]
    names = dict.fromkeys(name for output in outputs for name in output)
    return [name for name in names if any(rules.score(output.get(name)) is not None for output in outputs)]


def score_range(evaluation: str, output: str, low: float | None, high: float | None) -> ScoreRange:
    """Lines that an evaluation run gave a score within bounds; words that mean pass or fail count as 1 and 0."""
    return ScoreRange(run=evaluation, output=output, low=low, high=high, words=_WORDS)


def rendered_prompts(line: LineResult) -> dict[str, str]:
    """Node -> what it sent to its model, as text."""
    found = {}
    for node in line.nodes:
        texts = [text for span in _spans(node.spans) if (text := _prompt_text(span.inputs))]
        if texts:
            found[node.node] = "\n\n---\n\n".join(texts)
    return found


def _spans(spans: Sequence[Span]) -> Iterator[Span]:
    for span in spans:
        if span.kind == "LLM":
            yield span
        else:
            yield from _spans(span.children)


def _prompt_text(inputs: Any) -> str:
    if not isinstance(inputs, Mapping):
        return ""

    messages = inputs.get("messages")
    if isinstance(messages, list):
        return "\n\n".join(f"{message.get('role')}:\n{_content(message.get('content'))}" for message in messages)

    return str(inputs.get("prompt") or "")


def _content(content: Any) -> str:
    return content if isinstance(content, str) else dumps(content)
