"""Server-sent events: values and chunks as the bytes of a `text/event-stream`."""

from __future__ import annotations

from typing import Any

from promptflow_lite._utils.jsonable import dumps_bytes

DONE = b"data: [DONE]\n\n"
"""How the OpenAI protocol ends a stream."""


def data_event(value: Any) -> bytes:
    """`data: <json>`; JSON has no raw line ends, so one line always holds it."""
    return b"data: " + dumps_bytes(value) + b"\n\n"


def named_event(name: str, value: Any) -> bytes:
    """An event with a name (`end`, `error`) and a JSON value."""
    return b"event: " + name.encode() + b"\ndata: " + dumps_bytes(value) + b"\n\n"
