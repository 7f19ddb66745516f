"""Which inputs and outputs make a flow a chat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promptflow_lite.flow.model import Flow, InputSpec, OutputSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRoles:
    """Names of a flow's chat input, history and output."""

    input: str | None = None
    history: str | None = None
    output: str | None = None
    is_chat: bool = False
    """Exactly one chat input, a history input, and exactly one chat output if there are outputs."""


def chat_roles(flow: Flow) -> ChatRoles:
    """The chat roles of any kind of flow."""
    return roles_of(flow.inputs or {}, flow.outputs or {})


def roles_of(inputs: Mapping[str, InputSpec], outputs: Mapping[str, OutputSpec]) -> ChatRoles:
    """The chat roles that these declarations give."""
    chat_inputs = [name for name, spec in inputs.items() if spec.is_chat_input]
    chat_outputs = [name for name, spec in outputs.items() if spec.is_chat_output]
    history = history_input(inputs)
    outputs_fit = len(chat_outputs) == 1 if outputs else True
    return ChatRoles(
        input=chat_inputs[0] if chat_inputs else None,
        history=history,
        output=chat_outputs[0] if chat_outputs else None,
        is_chat=len(chat_inputs) == 1 and history is not None and outputs_fit,
    )


def history_input(inputs: Mapping[str, InputSpec]) -> str | None:
    """The chat history input: the marked one, or else one named `chat_history` that is not unmarked."""
    for name, spec in inputs.items():
        if spec.is_chat_history:
            return name

    unmarked = inputs.get("chat_history")
    return "chat_history" if unmarked is not None and unmarked.is_chat_history is None else None
