"""From a request body to a flow's inputs (contract 10.2)."""

from __future__ import annotations

from typing import Any

import orjson

from promptflow_lite.errors import (
    BadRequest,
    JsonPayloadRequiredForMultipleInputFields,
    MissingRequiredFlowInput,
)
from promptflow_lite.serving.schema import Interface


def inputs_from_body(body: bytes, interface: Interface) -> dict[str, Any]:
    """The inputs that a body gives; values are not coerced yet.

    A flow without inputs ignores the body. A body that is not JSON is the text of a flow's only input.

    Raises:
        BadRequest: the body cannot be read, or a required input is missing.
    """
    specs = interface.inputs
    if not specs:
        return {}

    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        data = _single_text_input(body, interface)

    if not isinstance(data, dict):
        raise BadRequest(
            f"The request body is JSON, but not an object: {_kind_of(data)}.",
            hint='Send an object with one member for each input, such as {"question": "…"}.',
        )

    missing = [name for name, spec in specs.items() if name not in data and spec.default is None]
    if missing:
        raise MissingRequiredFlowInput(
            f"Required input fields {missing} are missing in request data {_shown(data)}",
            hint=f"The flow takes: {', '.join(specs)}.",
        )

    return data


def _single_text_input(body: bytes, interface: Interface) -> dict[str, Any]:
    if len(interface.inputs) != 1:
        raise JsonPayloadRequiredForMultipleInputFields(
            "Request data must be in JSON format with multiple input fields.",
            hint=f"The flow takes: {', '.join(interface.inputs)}.",
        )

    try:
        return {next(iter(interface.inputs)): body.decode("utf-8")}
    except UnicodeDecodeError as error:
        raise BadRequest("The request body is neither JSON nor UTF-8 text.") from error


def _kind_of(value: Any) -> str:
    kinds = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
    return kinds.get(type(value), "null")


def _shown(data: dict[str, Any], limit: int = 200) -> str:
    text = repr(data)
    return text if len(text) <= limit else text[:limit] + "…"
