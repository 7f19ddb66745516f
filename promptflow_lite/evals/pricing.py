"""What tokens cost: a table the user sets, applied to the model calls of a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.errors import InvalidConfigValue
from promptflow_lite.records import LineResult, Span, Usage

ANY_MODEL = "*"
_MODEL_KEYS = ("llm.response.model", "gen_ai.response.model", "llm.request.model", "gen_ai.request.model", "model")


@dataclass(frozen=True, slots=True)
class Price:
    """Money for a million tokens."""

    prompt: float
    completion: float

    def of(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1_000_000


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Model name -> price; `*` is the price of every model that is not named."""

    by_model: Mapping[str, Price] = field(default_factory=dict)

    def find(self, model: str | None) -> Price | None:
        return self.by_model.get(model or ANY_MODEL) or self.by_model.get(ANY_MODEL)


def parse_prices(values: Mapping[str, Any]) -> PriceTable:
    """A price table from settings: `{"gpt-4o-mini": [0.15, 0.6]}`, prompt and completion, for a million tokens.

    Raises:
        InvalidConfigValue: a price is not two numbers.
    """
    table = {}
    for model, value in values.items():
        pair = value.split(",") if isinstance(value, str) else value
        if isinstance(pair, Mapping):
            pair = [pair.get("prompt"), pair.get("completion")]
        try:
            prompt, completion = (float(part) for part in pair)
        except (TypeError, ValueError) as error:
            raise InvalidConfigValue(
                f"The price of {model!r} must be two numbers; got {value!r}.",
                hint="Money for a million prompt and completion tokens, such as 0.15,0.60.",
            ) from error
        table[model] = Price(prompt, completion)

    return PriceTable(table)


def line_cost(line: LineResult, prices: PriceTable) -> float | None:
    """Money for the model calls of a line; None when a call's price is unknown.

    Calls are priced by their own model where the trace names it; otherwise the line's tokens get the `*` price.
    """
    calls = [span for node in line.nodes for span in _model_calls(node.spans)]
    if not calls:
        price = prices.find(None)
        return price.of(line.usage) if price else (None if line.usage.total_tokens else 0.0)

    total = 0.0
    for span in calls:
        price = prices.find(_model(span))
        if price is None:
            return None

        total += price.of(span.usage or Usage())

    return total


def _model_calls(spans: list[Span]) -> Iterator[Span]:
    for span in spans:
        if span.usage is not None and span.kind in ("LLM", "Embedding"):
            yield span
        else:
            yield from _model_calls(span.children)


def _model(span: Span) -> str | None:
    for key in _MODEL_KEYS:
        if span.attributes.get(key):
            return str(span.attributes[key])

    inputs = span.inputs if isinstance(span.inputs, Mapping) else {}
    return str(inputs["model"]) if inputs.get("model") else None
