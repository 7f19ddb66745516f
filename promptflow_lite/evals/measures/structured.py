"""Structured answers: is the text JSON, and does it fit a schema?"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from promptflow_lite._utils.imports import require
from promptflow_lite.errors import EvaluatorError

_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.S)


@dataclass(frozen=True, slots=True)
class JsonCheck:
    """Whether a text is JSON and fits, with the first problem."""

    is_valid: bool
    fits_schema: bool
    problem: str = ""


def check_json(text: str, schema: dict[str, Any] | str | None = None, *, allows_fence: bool = True) -> JsonCheck:
    """Parse a text as JSON and hold it against a JSON schema.

    Args:
        text: The answer; a Markdown code fence around it is allowed unless `allows_fence` is false.
        schema: A JSON schema, or its text; None asks for valid JSON only.
        allows_fence: Accept a fenced block.
    Raises:
        EvaluatorError: the schema itself is not usable.
    """
    fenced = _FENCE.match(text) if allows_fence else None
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse_constant)
    except ValueError as error:
        return JsonCheck(is_valid=False, fits_schema=False, problem=f"no JSON: {error}")

    if schema is None or schema == "":
        return JsonCheck(is_valid=True, fits_schema=True)

    problem = _schema_problem(value, _schema(schema))
    return JsonCheck(is_valid=True, fits_schema=not problem, problem=problem)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _schema(schema: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(schema, dict):
        return schema

    try:
        parsed = json.loads(schema)
    except ValueError as error:
        raise EvaluatorError(f"The schema is no JSON: {error}.") from error

    if not isinstance(parsed, dict):
        raise EvaluatorError("The schema must be a JSON object.")

    return parsed


def _schema_problem(value: Any, schema: dict[str, Any]) -> str:
    jsonschema = require("jsonschema", extra="eval", feature="Checking a JSON schema")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise EvaluatorError(f"The schema is not a valid JSON schema: {error.message}.") from error

    found = next(iter(kind(schema).iter_errors(value)), None)
    return "" if found is None else f"{found.json_path}: {found.message}"
