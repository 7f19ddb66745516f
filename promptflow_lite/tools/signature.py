"""A Python function's parameters as declared tool inputs (contract section 4.2)."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Union

from promptflow_lite.connections import Connection, CustomStrongTypeConnection
from promptflow_lite.tools.base import NO_DEFAULT, Parameter

_SCALAR_TYPES: dict[Any, str] = {int: "int", float: "double", bool: "bool", str: "string", list: "list", dict: "object"}


def parameters_of(function: Callable[..., Any], *, skip_self: bool = False) -> tuple[dict[str, Parameter], bool]:
    """Declared inputs of a function, and whether it takes any other keyword.

    Args:
        function: The undecorated function.
        skip_self: Leave out the first parameter (methods).
    """
    hints = _type_hints(function)
    found: dict[str, Parameter] = {}
    accepts_extra = False
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            accepts_extra = True
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL and not (skip_self and position == 0):
            found[parameter.name] = _parameter(parameter, hints.get(parameter.name, parameter.annotation))
    return found, accepts_extra


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Resolved annotations; a name that cannot be resolved only makes that tool's inputs untyped."""
    try:
        return typing.get_type_hints(function)
    except Exception:  # annotations are the user's code and may fail in any way
        return {}


def _parameter(parameter: inspect.Parameter, annotation: Any) -> Parameter:
    default = NO_DEFAULT if parameter.default is inspect.Parameter.empty else parameter.default
    choices = annotation
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return Parameter(name=parameter.name, types=(_type_of_default(default),), default=default)

    names, custom = type_names(annotation)
    choices = _unwrap_optional(annotation)
    enum_values = (
        tuple(str(item.value) for item in choices)
        if isinstance(choices, type) and issubclass(choices, enum.Enum)
        else ()
    )
    return Parameter(name=parameter.name, types=names, default=default, enum=enum_values, custom_types=custom)


def type_names(annotation: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tool types of an annotation, and the class names of custom strong-type connections among them."""
    annotation = _unwrap_optional(annotation)
    members = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    if len(members) > 1 and not all(_is_connection_class(member) for member in members):
        return ("object",), ()

    custom = tuple(m.__name__ for m in members if _is_connection_class(m) and issubclass(m, CustomStrongTypeConnection))
    return tuple(_type_name(member) for member in members), custom


def _unwrap_optional(annotation: Any) -> Any:
    if not _is_union(annotation):
        return annotation

    members = [member for member in typing.get_args(annotation) if member is not type(None)]
    return members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007  # built from a list


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (Union, types.UnionType)


def _is_connection_class(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Connection)


def _type_name(annotation: Any) -> str:
    if not isinstance(annotation, type):
        return _SCALAR_TYPES.get(typing.get_origin(annotation), "object")

    if annotation in _SCALAR_TYPES:
        return _SCALAR_TYPES[annotation]

    if _is_connection_class(annotation):
        return "CustomConnection" if issubclass(annotation, CustomStrongTypeConnection) else annotation.__name__

    tool_type = getattr(annotation, "__tool_type__", None)
    if isinstance(tool_type, str):
        return tool_type

    return "string" if issubclass(annotation, enum.Enum) else "object"


def _type_of_default(default: Any) -> str:
    if default is NO_DEFAULT or default is None:
        return "object"

    return _SCALAR_TYPES.get(type(default), "object")
