"""Literal node inputs, prepared once when a flow is loaded: coerced by type, connections looked up (contract 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.connections import Connection
from promptflow_lite.errors import (
    ConnectionNotFoundError,
    GetConnectionError,
    NodeInputValidationError,
    PromptflowException,
    UserErrorException,
)
from promptflow_lite.flow import NodeSpec, Reference, coerce_literal
from promptflow_lite.tools.assistant import load_assistant_definition
from promptflow_lite.tools.base import Parameter, ToolContext


def prepare_literals(
    node: NodeSpec,
    parameters: Mapping[str, Parameter],
    context: ToolContext,
    *,
    custom_classes: Mapping[str, type] = {},
) -> dict[str, Any]:
    """Literal inputs of a node, ready to be passed to its tool.

    None and the empty string are dropped, so that the tool's own default applies. References are left out.

    Args:
        custom_classes: Custom strong-type connection classes by name, as the tool's module knows them.

    Raises:
        NodeInputValidationError: a literal does not fit the declared type.
        GetConnectionError: a connection does not exist.
    """
    values = {name: value for name, value in node.inputs.items() if not isinstance(value, Reference)}
    values.update(_overrides(node, parameters, context))
    return {
        name: _prepare(node, name, value, parameters.get(name), context, custom_classes)
        for name, value in values.items()
        if value is not None and not (isinstance(value, str) and value == "")
    }


def _overrides(node: NodeSpec, parameters: Mapping[str, Parameter], context: ToolContext) -> dict[str, Any]:
    overrides = context.connection_overrides.get(node.name, {})
    for name in overrides:
        if name not in parameters or not _is_connection(parameters[name]):
            raise UserErrorException(
                f"Node {node.name!r} has no connection input {name!r} to override.",
                hint=did_you_mean(name, [p.name for p in parameters.values() if _is_connection(p)]),
            )
    return overrides


def _is_connection(parameter: Parameter) -> bool:
    return any(type_name.endswith("Connection") for type_name in parameter.types)


def _prepare(
    node: NodeSpec,
    name: str,
    value: Any,
    parameter: Parameter | None,
    context: ToolContext,
    custom_classes: Mapping[str, type],
) -> Any:
    if parameter is None:
        return value

    if _is_connection(parameter):
        return resolve_connection(node.name, name, value, parameter, context, custom_classes)

    if parameter.types[0] == "assistant_definition" and isinstance(value, str):
        return load_assistant_definition(context.root / value, context.root)

    try:
        return coerce_literal(value, parameter.types[0], root=context.root)
    except (ValueError, TypeError, PromptflowException) as error:
        raise NodeInputValidationError(
            f"Input {name!r} for node {node.name!r} of value {value!r} is not type {parameter.types[0]}.",
            hint=str(error),
            where=node.where,
        ) from error


def resolve_connection(
    node_name: str,
    input_name: str,
    value: Any,
    parameter: Parameter,
    context: ToolContext,
    custom_classes: Mapping[str, type] = {},
) -> Connection:
    """The connection object for a connection-typed input: looked up by name, its class checked.

    Raises:
        GetConnectionError: there is no such connection.
        NodeInputValidationError: the connection is of another class.
    """
    if isinstance(value, Connection):
        connection = value
    else:
        try:
            connection = context.connections.get(str(value))
        except ConnectionNotFoundError as error:
            raise GetConnectionError(
                f"Get connection {value!r} for node {node_name!r} error: {error}", hint=error.hint
            ) from error

    if type(connection).__name__ not in parameter.types and type(connection).__name__ not in parameter.custom_types:
        raise NodeInputValidationError(
            f"Input {input_name!r} for node {node_name!r} of type {type(connection).__name__!r} is not supported, "
            f"valid types {list(parameter.types)}.",
            hint="Name a connection of one of these types.",
        )

    for class_name in parameter.custom_types:
        if class_name in custom_classes and not isinstance(connection, custom_classes[class_name]):
            return connection.to_strong_type(custom_classes[class_name])  # type: ignore[no-any-return]

    return connection
