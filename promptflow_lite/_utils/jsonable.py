"""Values to JSON and back, the same way everywhere.

A class joins in by defining `__jsonable__() -> value`. What cannot be represented becomes its `repr` in records
(`dumps`), or raises where the caller must know (`dumps_strict`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
from pathlib import PurePath
from typing import Any

import orjson

_DEEPEST = 200
"""Levels of nesting that are kept; readers, orjson among them, take few more."""
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def _default(value: Any) -> Any:
    converted = _convert(value)
    return repr(value) if converted is _NOT_CONVERTIBLE else converted


def _strict_default(value: Any) -> Any:
    converted = _convert(value)
    if converted is _NOT_CONVERTIBLE:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    return converted


_NOT_CONVERTIBLE = object()


def _convert(value: Any) -> Any:
    custom = getattr(value, "__jsonable__", None)
    if custom is not None and not isinstance(value, type):
        return custom()

    if isinstance(value, dt.datetime):
        return value.isoformat() + ("" if value.tzinfo else "Z")

    if isinstance(value, dt.date | dt.time):
        return value.isoformat()

    if isinstance(value, enum.Enum):
        return value.value

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        serialize = getattr(value, "serialize", None)
        return (
            serialize() if callable(serialize) else {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        )

    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json")

    if isinstance(value, PurePath):
        return str(value)

    return _convert_subclass(value)


def _convert_subclass(value: Any) -> Any:
    """Subclasses of built-in types, which orjson passes on, and numpy's scalars and arrays."""
    if isinstance(value, str):
        return str.__str__(value)

    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) >= 2**63 else int(value)

    if isinstance(value, list | tuple):
        return list(value)

    if isinstance(value, dict):
        return dict(value)

    return value.tolist() if type(value).__module__ == "numpy" and hasattr(value, "tolist") else _NOT_CONVERTIBLE


def dumps(value: Any, *, indent: bool = False) -> str:
    """Compact JSON text; values without a JSON form become their `repr`."""
    return dumps_bytes(value, indent=indent).decode()


def dumps_bytes(value: Any, *, indent: bool = False) -> bytes:
    options = _OPTIONS | orjson.OPT_INDENT_2 if indent else _OPTIONS
    try:
        return orjson.dumps(value, _default, options)
    except (orjson.JSONEncodeError, RecursionError):
        return orjson.dumps(_sanitize(value, set()), _default, options)


def dumps_strict(value: Any) -> str:
    """Compact JSON text.

    Raises:
        TypeError: a value has no JSON form.
    """
    return orjson.dumps(value, _strict_default, _OPTIONS).decode()


def loads(text: str | bytes) -> Any:
    """Parse JSON text. Raises `ValueError` when it is not JSON."""
    return orjson.loads(text)


def _sanitize(value: Any, seen: set[int]) -> Any:
    """Rescue what orjson refuses as a whole: surrogates, odd keys, huge integers, cycles, depth, broken objects."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()

    if isinstance(value, float):
        return value if math.isfinite(value) else None

    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return float(value) if abs(value) < 10**300 else f"<integer of {value.bit_length()} bits>"

    if isinstance(value, dict | list | tuple):
        if id(value) in seen:
            return "<cycle>"

        if len(seen) >= _DEEPEST:
            return "<nested too deeply>"

        seen = seen | {id(value)}
        if isinstance(value, dict):
            return {_sanitize(str(k), seen): _sanitize(v, seen) for k, v in value.items()}

        return [_sanitize(item, seen) for item in value]

    if value is None or isinstance(value, bool | int):
        return value

    try:
        converted = _default(value)
    except Exception:  # code of the value's class
        return f"<{type(value).__name__}>"

    return _sanitize(converted, seen | {id(value)}) if len(seen) < _DEEPEST else "<nested too deeply>"
