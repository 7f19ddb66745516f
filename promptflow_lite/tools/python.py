"""Python nodes: a script with one `@tool`, made ready to be called."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

from promptflow_lite._utils.hashing import file_digest
from promptflow_lite.connections import CustomStrongTypeConnection
from promptflow_lite.errors import InputTypeMismatch, InvalidSource, MissingRequiredInputs, ValidationException
from promptflow_lite.flow import NodeSpec, Reference
from promptflow_lite.tools.base import Parameter, ResolvedTool, ToolContext
from promptflow_lite.tools.decorator import STREAMING_OPTION_PARAMETER_ATTR, ToolProvider, original_function
from promptflow_lite.tools.literals import prepare_literals
from promptflow_lite.tools.module import load_tool
from promptflow_lite.tools.signature import parameters_of


def resolve_python_tool(node: NodeSpec, context: ToolContext) -> ResolvedTool:
    """Load a python node's script and prepare its literal inputs.

    Raises:
        InvalidSource: the node names no file.
        PythonParsingError: the file defines no tool, several, or cannot be imported.
        NodeInputValidationError, GetConnectionError: see `prepare_literals`.
    """
    if node.source is None or not node.source.path:
        raise InvalidSource(
            f"Node {node.name!r} does not have a source path defined.",
            hint="Add `source: {type: code, path: file.py}` to the node.",
            where=node.where,
        )

    path = context.root / node.source.path
    loaded = load_tool(path, context.root)
    resolved = resolve_callable(node, loaded.function, loaded.provider, context)
    resolved.cache_parts = (file_digest(path),)
    resolved.user_file = path
    return resolved


def resolve_callable(
    node: NodeSpec, function: Any, provider: type[ToolProvider] | None, context: ToolContext
) -> ResolvedTool:
    """Prepare an imported tool function, or a provider class with its tool method, for a node."""
    raw = original_function(function)
    parameters, _ = parameters_of(raw, skip_self=provider is not None)
    init_parameters = parameters_of(_init_of(provider), skip_self=True)[0] if provider else {}
    clash = sorted(set(parameters) & set(init_parameters))
    if clash:
        raise ValidationException(
            f"Inputs {clash} of node {node.name!r} are declared both by the class and by its tool method.",
            hint="Rename one of them.",
            where=node.where,
        )

    custom_classes = _custom_connection_classes(raw, provider)
    literals = prepare_literals(node, {**parameters, **init_parameters}, context, custom_classes=custom_classes)
    call: Callable[..., Any] = raw  # the node's own record already holds what tracing the tool itself would add
    if provider is not None:
        call = functools.partial(raw, _instantiate(node, provider, init_parameters, literals))

    return ResolvedTool(
        name=raw.__name__,
        call=call,
        parameters=parameters,
        literals={name: value for name, value in literals.items() if name not in init_parameters},
        is_async=asyncio.iscoroutinefunction(raw) or inspect.isasyncgenfunction(raw),
        stream_parameter=getattr(function, STREAMING_OPTION_PARAMETER_ATTR, None),
    )


def _init_of(provider: type) -> Callable[..., Any]:
    init = provider.__init__  # type: ignore[misc]  # the signature is what is wanted
    return init if init is not ToolProvider.__init__ else lambda self: None


def _instantiate(
    node: NodeSpec, provider: type[ToolProvider], parameters: dict[str, Parameter], literals: dict[str, Any]
) -> ToolProvider:
    for name in parameters:
        if isinstance(node.inputs.get(name), Reference):
            raise InputTypeMismatch(
                f"Input {name!r} of node {node.name!r} belongs to the tool's constructor and must be a literal.",
                hint="Write the value itself instead of a reference.",
                where=node.where,
            )

    missing = [p.name for p in parameters.values() if not p.has_default and p.name not in literals]
    if missing:
        raise MissingRequiredInputs(
            f"Node {node.name!r} misses inputs {missing} that the class {provider.__name__!r} needs.",
            hint="Add them to the node's inputs.",
            where=node.where,
        )

    return provider(**{name: literals[name] for name in parameters if name in literals})


def _custom_connection_classes(function: Any, provider: type | None) -> dict[str, type]:
    scope = dict(getattr(function, "__globals__", {}))
    if provider is not None:
        scope.update(getattr(_init_of(provider), "__globals__", {}))

    return {
        value.__name__: value
        for value in scope.values()
        if isinstance(value, type) and issubclass(value, CustomStrongTypeConnection)
    }
