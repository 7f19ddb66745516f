"""What forms of the studio need to know: kinds of connections, the shape of a chat flow, settings of a node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.connections import CONNECTION_TYPES
from promptflow_lite.errors import PromptflowException
from promptflow_lite.flow import chat_roles, load_flow
from promptflow_lite.sdk.studio.graph import GraphNode, as_reference

MessageFormat = Literal["basic", "openai-vision"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionKind:
    """A kind of connection and its fields."""

    yaml_type: str
    type: str
    config_keys: tuple[str, ...]
    secret_keys: tuple[str, ...]
    defaults: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatShape:
    """Which inputs and output of a flow make a conversation."""

    question: str
    answer: str
    history: str | None
    takes_list: bool
    """The question may hold images beside text."""
    message_format: MessageFormat
    """How images are written."""


def connection_kinds() -> list[ConnectionKind]:
    """All kinds that a form can make."""
    return [
        ConnectionKind(
            yaml_type=kind.yaml_type,
            type=kind.type,
            config_keys=kind.config_keys,
            secret_keys=kind.secret_keys,
            defaults=kind.defaults(),
        )
        for kind in CONNECTION_TYPES
    ]


def chat_shape(flow: str | Path) -> ChatShape | None:
    """The conversation that a flow can hold; None when it holds none or cannot be loaded."""
    try:
        loaded = load_flow(flow)
    except PromptflowException:
        return None

    roles = chat_roles(loaded)
    answer = roles.output or next(iter(loaded.outputs or {}), None)
    if roles.input is None or answer is None:
        return None

    return ChatShape(
        question=roles.input,
        answer=answer,
        history=roles.history,
        takes_list=(loaded.inputs or {})[roles.input].type == "list",
        message_format=loaded.message_format,
    )


def settings_text(node: GraphNode) -> str:
    """Connection and literal inputs of a node, one a line."""
    facts = {"connection": node.body.get("connection"), "api": node.body.get("api")}
    facts |= {name: value for name, value in node.inputs.items() if as_reference(value) is None}
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else dumps(value)}"
        for name, value in facts.items()
        if value is not None
    )
