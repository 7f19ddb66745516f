"""Typing of values: flow inputs row by row, and literals of nodes once at load."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from promptflow_lite._utils.text import did_you_mean, truncate
from promptflow_lite.errors import (
    InputNotFound,
    InputParseError,
    InputTypeError,
    InvalidFlowRequest,
    InvalidImageInput,
    LoadMultimediaDataError,
    UserErrorException,
)
from promptflow_lite.flow.media import MessageFormat, image_files, load_image, load_media
from promptflow_lite.flow.model import InputSpec

Converter = Callable[[Any], Any]

_EXACT_TYPES: dict[str, type] = {"int": int, "double": float, "bool": bool, "string": str}
_NEVER = type("_Never", (), {})


class _NotJson(ValueError):
    """A text that had to be JSON is not."""


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value

    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"

    raise ValueError("only true and false are booleans")


def _to_list(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _NotJson(str(error)) from error

    if isinstance(value, list):
        return value

    raise TypeError(f"expected a list, got {type(value).__name__}")


def _to_object(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value

    return value


_CONVERTERS: dict[str, Converter] = {
    "int": int,
    "double": float,
    "bool": _to_bool,
    "string": str,
    "list": _to_list,
    "object": _to_object,
}


class InputCoercion:
    """Gives every declared flow input its type; made once for a flow and called for every line.

    Args:
        specs: The declared inputs.
        root: The folder that image paths are relative to.
        message_format: How image items inside lists and objects are encoded.
        fetch_urls: Whether images given by URL are downloaded.

    Thread: may be called from several threads at once.
    """

    def __init__(
        self,
        specs: Mapping[str, InputSpec],
        *,
        root: Path | None = None,
        message_format: MessageFormat = "basic",
        fetch_urls: bool = True,
    ) -> None:
        self._specs = specs
        self._media: dict[str, Any] = {"root": root or Path(), "fetch_urls": fetch_urls}
        self._message_format = message_format
        self._plan = [
            (name, _EXACT_TYPES.get(spec.type, _NEVER), self._converter(spec.type), spec.default)
            for name, spec in specs.items()
        ]

    def __call__(self, values: Mapping[str, Any], line_number: int | None = None) -> dict[str, Any]:
        """The values with types; extra keys are kept, missing ones get their default.

        Raises:
            InputNotFound: an input without default is missing.
            InputTypeError: a value does not fit the declared type.
            InputParseError: a list is given as text that is not JSON.
            LoadMultimediaDataError: an image cannot be loaded.
        """
        result = dict(values)
        for name, exact, convert, default in self._plan:
            if name in result:
                value = result[name]
            elif default is not None:
                value = default if isinstance(default, str) else copy.deepcopy(default)
                result[name] = value
                convert = convert and _of_the_author(convert)
            else:
                raise _not_found(name, values, line_number)

            if convert is not None and type(value) is not exact:
                try:
                    result[name] = convert(value)
                except (ValueError, TypeError, OverflowError, RecursionError, UserErrorException) as error:
                    raise self._failure(name, value, line_number, error) from error

        return result

    def _converter(self, kind: str) -> Converter | None:
        if kind == "image":
            return lambda value: load_image(value, **self._media)

        convert = _CONVERTERS.get(kind)
        if kind in ("list", "object") and convert is not None:
            return lambda value: self._load_media(convert(value))

        return convert

    def _load_media(self, value: Any) -> Any:
        if not value or not isinstance(value, dict | list):
            return value

        return load_media(value, message_format=self._message_format, **self._media)

    def _failure(self, name: str, value: Any, line_number: int | None, error: Exception) -> UserErrorException:
        kind = self._specs[name].type
        place = "" if line_number is None else f" in line {line_number} of the input data"
        facts: dict[str, Any] = {"input_name": name, "line_number": line_number, "expected_type": kind}
        shown = truncate(repr(value), 200)
        if isinstance(error, InvalidImageInput):
            return LoadMultimediaDataError(
                f"The image for input {name!r}{place} cannot be loaded: ({type(error).__name__}) {error}",
                hint=error.hint,
                **facts,
            )

        if isinstance(error, _NotJson):
            return InputParseError(
                f"The value of flow input {name!r}{place} is not valid JSON, as its type {kind!r} needs: {shown}. "
                f"(JSONDecodeError) {error}",
                hint='Write the list as JSON, such as ["a", "b"].',
                **facts,
            )

        return InputTypeError(
            f"The value of flow input {name!r}{place} does not fit the expected type {kind!r}: {shown}.",
            hint=f"Give a value of type {kind!r}, or change the type of the input in the flow.",
            **facts,
        )


def _of_the_author(convert: Converter) -> Converter:
    """A conversion of what stands in the flow itself, which may name image files where callers may not."""

    def converted(value: Any) -> Any:
        with image_files(allowed=True):
            return convert(value)

    return converted


def coerce_inputs(
    specs: Mapping[str, InputSpec], values: Mapping[str, Any], line_number: int | None = None
) -> dict[str, Any]:
    """One line's flow inputs with types; see `InputCoercion`, which is faster for many lines."""
    return InputCoercion(specs)(values, line_number)


def _not_found(name: str, values: Mapping[str, Any], line_number: int | None) -> InvalidFlowRequest:
    place = "" if line_number is None else f" in line {line_number} of the input data"
    close = did_you_mean(name, values)
    return InputNotFound(
        f"Flow input {name!r} is not given{place}.",
        hint=close if close and close.startswith("Did") else f"Give a value for {name!r}, or a default in the flow.",
        input_name=name,
        line_number=line_number,
    )


def coerce_literal(value: Any, kind: str, *, root: Path | None = None, message_format: MessageFormat = "basic") -> Any:
    """A literal of a node input in the type its tool declares.

    Raises:
        ValueError: it does not fit; `TypeError` and `InvalidImageInput` likewise.
    """
    if kind == "image":
        return load_image(value, root=root or Path())

    convert = _CONVERTERS.get(kind)
    if convert is None or type(value) is _EXACT_TYPES.get(kind):
        return value

    try:
        return convert(value)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def is_dropped_literal(value: Any) -> bool:
    """Whether a literal counts as not given, so that the tool's own default applies."""
    return value is None or (isinstance(value, str) and value == "")
