"""OpenAI-shaped request bodies to requests of the local engine, field by field.

A field that the engine cannot honour is an error that names it; fields that only matter to a remote service are
ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.engine import JSON_OBJECT_SCHEMA, Engine, Generation, grammar_of_schema, smallest_instance
from promptflow_lite.engine import tool_call_schema as schema_of_call
from promptflow_lite.errors import EngineRequestError
from promptflow_lite.providers.base import Body

if TYPE_CHECKING:
    from promptflow_lite.engine.sampling import SamplingSettings

_IGNORED = frozenset(
    "model user stream stream_options metadata store service_tier parallel_tool_calls safety_identifier"
    " prompt_cache_key reproducible".split()
)
_COMMON = frozenset(
    "max_tokens max_completion_tokens temperature top_p top_k min_p repeat_penalty frequency_penalty presence_penalty"
    " seed stop n logit_bias logprobs grammar choices prior_correction adapter response_format".split()
)
CHAT_FIELDS = _IGNORED | _COMMON | {"messages", "top_logprobs", "tools", "tool_choice", "functions", "function_call"}
COMPLETION_FIELDS = _IGNORED | _COMMON | {"prompt", "echo", "suffix", "best_of"}
EMBEDDING_FIELDS = frozenset({"input", "model", "user", "encoding_format", "dimensions"})

_CLOSING_MARGIN = 12
"""Tokens beyond the smallest answer that are kept for closing a structured one."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What shape the answer must have."""

    grammar: str = ""
    n_closing: int = 0
    is_json: bool = False
    is_tool_call: bool = False


def check_fields(body: Body, known: frozenset[str]) -> None:
    """Refuse a field nobody knows."""
    for name in body:
        if name not in known:
            raise EngineRequestError(
                f"The local model has no request field {name!r}.", hint=did_you_mean(name, known), field=name
            )


def generation(
    engine: Engine, body: Body, tokens: list[int], structure: Structure, *, n_logprobs: int | None, is_streamed: bool
) -> Generation:
    """The engine request of a body whose prompt is tokens already.

    Raises:
        EngineRequestError: a field has a wrong value.
    """
    max_tokens = _int(body, "max_completion_tokens", None, 1) or _int(body, "max_tokens", None, 1)
    return Generation(
        tokens=tokens,
        sampling=_sampling(engine, body, structure),
        max_tokens=max_tokens,
        n=_int(body, "n", 1, 1, 128) or 1,
        stop=stop_strings(body),
        n_logprobs=n_logprobs,
        is_streamed=is_streamed,
        adapter=_adapter(body),
    )


def _sampling(engine: Engine, body: Body, structure: Structure) -> SamplingSettings:
    from promptflow_lite.engine.sampling import SamplingSettings

    seed = _int(body, "seed", None, None)
    return SamplingSettings(
        temperature=_float(body, "temperature", 1.0, 0.0, 100.0),
        top_p=_float(body, "top_p", 1.0, 0.0, 1.0),
        top_k=_int(body, "top_k", 0, 0) or 0,
        min_p=_float(body, "min_p", 0.0, 0.0, 1.0),
        repeat_penalty=_float(body, "repeat_penalty", 1.0, 0.01, 100.0),
        frequency_penalty=_float(body, "frequency_penalty", 0.0, -2.0, 2.0),
        presence_penalty=_float(body, "presence_penalty", 0.0, -2.0, 2.0),
        seed=engine.fresh_seed() if seed is None else seed,
        logit_bias=_logit_bias(engine, body.get("logit_bias")),
        grammar=structure.grammar,
        n_closing=structure.n_closing,
    )


def structure_of(engine: Engine, body: Body) -> Structure:
    """The grammar behind `response_format`, `tool_choice` or our own `grammar`.

    Raises:
        GrammarError: the schema or the grammar cannot be used.
    """
    if body.get("grammar"):
        return Structure(grammar=str(body["grammar"]))

    tools = forced_tools(body)
    if tools:
        return _json_structure(engine, schema_of_call(tools), is_tool_call=True)

    wanted = body.get("response_format")
    if not wanted:
        return Structure()

    kind = wanted.get("type") if isinstance(wanted, Mapping) else wanted
    if kind == "text":
        return Structure()

    if kind == "json_object":
        return _json_structure(engine, JSON_OBJECT_SCHEMA)

    if kind == "json_schema":
        holder = wanted.get("json_schema")
        schema = holder.get("schema") if isinstance(holder, Mapping) else None
        if schema is None:
            raise EngineRequestError("response_format.json_schema needs a schema.", field="response_format")

        return _json_structure(engine, schema)

    raise EngineRequestError(
        f"response_format is {kind!r}; the local model knows text, json_object and json_schema.",
        field="response_format",
    )


def _json_structure(engine: Engine, schema: Any, *, is_tool_call: bool = False) -> Structure:
    grammar = grammar_of_schema(schema)
    n_smallest = len(engine.model.tokenize(smallest_instance(schema), parse_special=False))
    return Structure(grammar, n_smallest + _CLOSING_MARGIN, is_json=True, is_tool_call=is_tool_call)


def offered_tools(body: Body) -> list[dict[str, Any]]:
    """Tools the model may call, in the API's current form."""
    if body.get("tool_choice") == "none" or body.get("function_call") == "none":
        return []

    old = [{"type": "function", "function": function} for function in body.get("functions") or ()]
    tools = [*(body.get("tools") or ()), *old]
    for tool in tools:
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise EngineRequestError("Every tool needs a function with a name.", field="tools")

    return tools


def forced_tools(body: Body) -> list[dict[str, Any]]:
    """Functions of which one must be called; empty when the model may answer in words."""
    functions = [tool["function"] for tool in offered_tools(body)]
    choice = body.get("tool_choice") or body.get("function_call")
    if choice == "required":
        return functions

    if not isinstance(choice, Mapping):
        return []

    name = (choice.get("function") or choice).get("name")
    chosen = [function for function in functions if function.get("name") == name]
    if not chosen:
        known = [str(function.get("name")) for function in functions]
        raise EngineRequestError(f"tool_choice names {name!r}, which is no tool.", hint=did_you_mean(str(name), known))

    return chosen


def stop_strings(body: Body) -> tuple[str, ...]:
    stop = body.get("stop")
    if stop is None:
        return ()

    values = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list | tuple) else (None,)
    if not all(isinstance(value, str) for value in values):
        raise EngineRequestError("stop must be a string or a list of strings.", field="stop")

    return values


def logprob_count(body: Body, name: str) -> int | None:
    """Alternatives to report beside each token."""
    return _int(body, name, None, 0, 100)


def choice_labels(body: Body) -> list[str]:
    """The labels of `choices`, as text."""
    labels = body["choices"]
    if not isinstance(labels, Iterable) or isinstance(labels, str | Mapping):
        raise EngineRequestError("choices must be a list of labels.", field="choices")

    return [label if isinstance(label, str) else json.dumps(label) for label in labels]


def _adapter(body: Body) -> str:
    return str(body.get("adapter") or "")


def _logit_bias(engine: Engine, bias: Any) -> tuple[tuple[int, float], ...]:
    if not bias:
        return ()

    try:
        entries = tuple((int(token), float(value)) for token, value in bias.items())
    except (AttributeError, TypeError, ValueError) as error:
        raise EngineRequestError("logit_bias maps token ids to numbers.", field="logit_bias") from error

    for token, _value in entries:
        if not 0 <= token < engine.model.n_vocab:
            raise EngineRequestError(
                f"logit_bias names token {token}, the model has {engine.model.n_vocab}.", field="logit_bias"
            )

    return entries


def _float(body: Body, name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default

    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise EngineRequestError(f"{name} is {value!r}; it must be a number from {low} to {high}.", field=name)

    return float(value)


def _int(body: Body, name: str, default: int | None, low: int | None, high: int = 1 << 62) -> int | None:
    value = body.get(name)
    if value is None:
        return default

    if isinstance(value, bool) or not isinstance(value, int) or value > high or (low is not None and value < low):
        raise EngineRequestError(f"{name} is {value!r}; it must be a whole number of at least {low}.", field=name)

    return value
