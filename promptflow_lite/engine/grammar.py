"""JSON schemas to GBNF grammars, with everything refused that would only fail, or explode, inside the C library."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from promptflow_lite._utils.imports import require
from promptflow_lite.errors import GrammarError

MAX_REPETITION = 1000
"""Largest length or count a schema may ask for; the grammar writes repetitions out."""
MAX_DEPTH = 40
_NOT_IN_STRINGS = r"\x22\x5C\x7F\x00-\x1F"
"""Characters that JSON strings have escaped only, as a grammar's character class says them."""
_NEGATED_CLASS = re.compile(r"(\\.)|\[\^")
_COUNT_KEYS = ("minLength", "maxLength", "minItems", "maxItems")

JSON_OBJECT_SCHEMA: dict[str, Any] = {"type": "object"}


def grammar_of_schema(schema: Any) -> str:
    """The grammar of all JSON texts that fit a schema.

    Raises:
        GrammarError: the schema is no schema, or asks for something a grammar cannot say.
    """
    if not isinstance(schema, Mapping):
        raise GrammarError(f"A JSON schema must be an object, not {type(schema).__name__}.")

    _check(schema, depth=0)
    return _convert(json.dumps(schema))


@lru_cache(maxsize=128)
def _convert(text: str) -> str:
    module = require("llama_cpp.llama_grammar", extra="local", feature="Structured output of a local model")
    converter = module.SchemaConverter(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    visit_pattern = converter._visit_pattern
    converter._visit_pattern = lambda pattern, name: visit_pattern(_without_raw_marks(pattern), name)
    converter._format_literal = _literal
    try:
        converter.visit(converter.resolve_refs(json.loads(text), "schema"), "")
        converter._rules |= {name: rule for name, rule in _STRICT_RULES.items() if name in converter._rules}
        grammar = str(converter.format_grammar())
        grammar.encode()
        return grammar
    except Exception as error:  # the converter raises whatever a malformed schema trips over
        raise GrammarError(
            f"The JSON schema cannot be turned into a grammar: {type(error).__name__}: {error}",
            hint="Use plain types, enum, const, anyOf, properties and items; refs must point into the schema.",
        ) from error


# The library's own rules let quotes, backslashes and line breaks into strings as they are, which is no JSON.

_STRICT_RULES = {
    "char": rf'[^{_NOT_IN_STRINGS}] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])',
    "dot": f"[^{_NOT_IN_STRINGS}]",
}


def _without_raw_marks(pattern: str) -> str:
    return _NEGATED_CLASS.sub(lambda found: found[1] or f"[^{_NOT_IN_STRINGS}", pattern)


def _literal(text: str) -> str:
    """A JSON text as a literal of the grammar, characters beyond ASCII as they are."""
    plain = json.dumps(json.loads(text), ensure_ascii=False)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _check(schema: Any, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise GrammarError(f"The JSON schema is nested deeper than {MAX_DEPTH} levels.", have=MAX_DEPTH)

    if isinstance(schema, Mapping):
        for key in _COUNT_KEYS:
            _check_count(key, schema.get(key, 0))
        for value in schema.values():
            _check(value, depth=depth + 1)
    elif isinstance(schema, list):
        for value in schema:
            _check(value, depth=depth + 1)


def _check_count(key: str, value: Any) -> None:
    if isinstance(value, Mapping):
        return  # a property that happens to have this name

    if not isinstance(value, int) or not 0 <= value <= MAX_REPETITION:
        raise GrammarError(
            f"{key} is {value!r}; a local model takes whole numbers from 0 to {MAX_REPETITION}.",
            key=key,
            need=repr(value),
        )


def tool_call_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The schema of one call of any of the functions."""
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool["name"]},
                "arguments": tool.get("parameters") or {"type": "object", "properties": {}},
            },
            "required": ["name", "arguments"],
        }
        for tool in tools
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


def smallest_instance(schema: Any, root: Any = None, depth: int = 0) -> str:
    """About the shortest JSON text that fits: what an answer needs at the very least."""
    root = schema if root is None else root
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return "null"

    if "$ref" in schema:
        return smallest_instance(_follow(schema["$ref"], root), root, depth + 1)

    if "const" in schema:
        return json.dumps(schema["const"])

    if schema.get("enum"):
        return min((json.dumps(value) for value in schema["enum"]), key=len)

    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return min((smallest_instance(part, root, depth + 1) for part in schema[key]), key=len)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    return _smallest_of_type(kind, schema, root, depth)


def _smallest_of_type(kind: Any, schema: Mapping[str, Any], root: Any, depth: int) -> str:
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        parts = (
            f"{json.dumps(name)}: {smallest_instance(properties.get(name, {}), root, depth + 1)}"
            for name in schema.get("required", ())
        )
        return "{" + ", ".join(parts) + "}"

    if kind == "array":
        item = smallest_instance(schema.get("items", {}), root, depth + 1)
        return "[" + ", ".join([item] * int(schema.get("minItems", 0))) + "]"

    if kind == "string":
        return json.dumps("x" * int(schema.get("minLength", 0)))

    return {"integer": "0", "number": "0", "boolean": "true"}.get(str(kind), "null")


def _follow(reference: Any, root: Any) -> Any:
    target = root
    for part in str(reference).removeprefix("#").strip("/").split("/"):
        target = target.get(part, {}) if isinstance(target, Mapping) else {}
    return target
