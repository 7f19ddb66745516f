"""Outputs of flows that return one plain value instead of a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PlainOutput(dict[str, Any]):
    """`{"output": value}` of a flow that returned just `value`; callers that show results show the value."""

    __slots__ = ()


def unwrap_output(output: Mapping[str, Any] | None) -> Any:
    """What the flow itself returned."""
    return output["output"] if isinstance(output, PlainOutput) else output
