"""What a node runs: a tool prepared for one node of one flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite.connections.source import ConnectionSource

NO_DEFAULT: Any = object()
"""Marks a parameter that the tool's function gives no default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An input that a tool declares."""

    name: str
    types: tuple[str, ...]
    """Tool types (`int`, `string`, `AzureOpenAIConnection` …); literals are coerced to the first."""
    default: Any = NO_DEFAULT
    enum: tuple[str, ...] = ()
    custom_types: tuple[str, ...] = ()
    """Class names of custom strong-type connections."""

    @property
    def has_default(self) -> bool:
        return self.default is not NO_DEFAULT


@dataclass(slots=True, kw_only=True)
class ResolvedTool:
    """A callable with everything that binding its inputs needs.

    `call` takes keyword arguments. Names in `literals` are already coerced and resolved (connections are objects).
    """

    name: str
    call: Callable[..., Any]
    parameters: dict[str, Parameter]
    literals: dict[str, Any] = field(default_factory=dict)
    is_async: bool = False
    stream_parameter: str | None = None
    """The parameter that the runtime forces to true or false when it decides about streaming."""
    cache_parts: tuple[Any, ...] = ()
    """What, beside the inputs, determines the output: code, template, model, deployment."""
    user_file: Path | None = None
    """The user's source, where tracebacks start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What resolving a node's tool may use."""

    root: Path
    """The flow's working directory."""
    connections: ConnectionSource
    message_format: str = "basic"
    connection_overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Node name -> `{"connection": name, "deployment_name": x, ...}`; values may be connection objects."""
