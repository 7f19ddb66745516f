"""`@tool` and the inert metadata classes that tool authors attach to it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from promptflow_lite.errors import UserErrorException
from promptflow_lite.tracing import trace

F = TypeVar("F", bound=Callable[..., Any])

TOOL_TYPES = ("llm", "python", "csharp", "prompt", "action", "custom_llm")
STREAMING_OPTION_PARAMETER_ATTR = "_streaming_option_parameter"
IS_TOOL_ATTR = "__pfl_tool__"


class ToolProvider:
    """Base of tool classes: `__init__` parameters become node inputs, one method is the `@tool`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


@dataclass
class DynamicList:
    """A drop-down whose items a function returns; metadata for editors."""

    function: Callable[..., Any] | str
    input_mapping: dict[str, str] = field(default_factory=dict)


@dataclass
class GeneratedBy:
    """An input whose value a function computes from others; metadata for editors."""

    function: Callable[..., Any] | str
    reverse_function: Callable[..., Any] | str | None = None
    input_mapping: dict[str, str] = field(default_factory=dict)


@dataclass(init=False)
class InputSetting:
    """How an editor shows one input of a tool; execution ignores it."""

    is_multi_select: bool | None = None
    allow_manual_entry: bool | None = None
    enabled_by: str | None = None
    enabled_by_value: list[Any] | None = None
    enabled_by_type: list[str] | None = None
    dynamic_list: DynamicList | None = None
    generated_by: GeneratedBy | None = None
    undefined_fields: dict[str, Any] | None = None
    """Settings that this package does not know; they are kept."""
    ui_hints: dict[str, Any] | None = None

    def __init__(self, **settings: Any) -> None:
        known = {name: settings.pop(name) for name in list(settings) if name in type(self).__dataclass_fields__}
        self.__dict__.update(known)
        if settings:
            self.undefined_fields = {**(self.undefined_fields or {}), **settings}


@overload
def tool(func: F, /) -> F: ...


@overload
def tool(
    func: None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    type: str | None = None,
    input_settings: dict[str, InputSetting] | None = None,
    streaming_option_parameter: str | None = None,
    **extra: Any,
) -> Callable[[F], F]: ...


def tool(
    func: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    type: str | None = None,
    input_settings: dict[str, InputSetting] | None = None,
    streaming_option_parameter: str | None = None,
    **extra: Any,
) -> Any:
    """Mark a function or method as a tool that a flow's node can run.

    The decorated function still behaves like the original; each call is also traced.

    Raises:
        UserErrorException: `type` is not a known tool type.
    """
    if type is not None and str(getattr(type, "value", type)) not in TOOL_TYPES:
        raise UserErrorException(f"Tool type {type!r} is not supported.", hint=f"Use one of {', '.join(TOOL_TYPES)}.")

    def decorate(original: Callable[..., Any]) -> Callable[..., Any]:
        wrapped: Any = _keep_coroutine_kind(original, trace(original))
        wrapped.__original_function = original
        setattr(wrapped, IS_TOOL_ATTR, True)
        wrapped.__tool = None
        wrapped.__name = name
        wrapped.__description = description
        wrapped.__type = str(getattr(type, "value", type)) if type else None
        wrapped.__input_settings = input_settings
        wrapped.__extra_info = extra
        if streaming_option_parameter:
            setattr(wrapped, STREAMING_OPTION_PARAMETER_ATTR, streaming_option_parameter)

        return wrapped  # type: ignore[no-any-return]

    return decorate if func is None else decorate(func)


def _keep_coroutine_kind(original: Callable[..., Any], wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """A tracer that already returned the same kind of callable is left as it is."""
    if wrapped is not original or inspect.isclass(original):
        return wrapped

    if asyncio.iscoroutinefunction(original):

        @functools.wraps(original)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await original(*args, **kwargs)

        return call_async

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return call


def is_tool(value: Any) -> bool:
    """Whether a value is a function that `@tool` decorated."""
    return callable(value) and getattr(value, IS_TOOL_ATTR, False) is True


def original_function(value: Any) -> Any:
    """The undecorated function behind a tool."""
    return getattr(value, "__original_function", value)


def tool_metadata(value: Any) -> dict[str, Any]:
    """What the decorator was told: name, description, type, input settings and extra keys."""
    return {
        "name": getattr(value, "__name", None),
        "description": getattr(value, "__description", None),
        "type": getattr(value, "__type", None),
        "input_settings": getattr(value, "__input_settings", None),
        **(getattr(value, "__extra_info", None) or {}),
    }
