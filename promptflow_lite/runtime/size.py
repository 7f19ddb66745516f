"""A limit on what a node may give, so that one runaway value neither fills the memory nor the disk."""

from __future__ import annotations

from typing import Any

from promptflow_lite.errors import OutputTooLargeError
from promptflow_lite.settings import env_float

_DEFAULT_MB = 64.0
_ALWAYS_FINE = 2**16
_ITEM_BYTES = 8
_SCALARS = (int, float, bool, type(None))


def check_size(value: Any, node: str) -> None:
    """Refuse a value whose texts and items take more than `PFL_MAX_OUTPUT_MB`. Cost: a look at every container.

    Raises:
        OutputTooLargeError: it is too large.
    """
    if isinstance(value, _SCALARS):
        return

    size, waiting, seen = 0, [value], set[int]()
    while waiting:
        item = waiting.pop()
        if isinstance(item, str | bytes):
            size += len(item)
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            size += _ITEM_BYTES * len(item)
            members = item.values() if isinstance(item, dict) else item
            waiting.extend(member for member in members if not isinstance(member, _SCALARS))
        if size > _ALWAYS_FINE:
            refuse_beyond_limit(size, node)


def refuse_beyond_limit(size: int, node: str) -> None:
    """Raises `OutputTooLargeError` when that many bytes are more than the limit."""
    limit_mb = env_float("PFL_MAX_OUTPUT_MB") or _DEFAULT_MB
    if size > limit_mb * 2**20:
        raise OutputTooLargeError(
            f"{node!r} gives more than {limit_mb:g} MB.",
            hint="Write it to a file and return its path, or raise PFL_MAX_OUTPUT_MB.",
            node=node,
        )
