"""A chat flow as an OpenAI model: chat completion requests to flow inputs, answers to completions. Pure.

Source: OpenAI API reference, "Create chat completion" and "Chat completion chunk object".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from promptflow_lite.errors import BadRequest, PromptflowException
from promptflow_lite.flow import InputSpec
from promptflow_lite.records import Usage
from promptflow_lite.serving.schema import Interface

SYSTEM_INPUTS = ("system", "system_message", "system_prompt")
"""Inputs that receive the conversation's system messages, if the flow has one of them."""
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a chat completion request asks of a flow."""

    model: str
    inputs: dict[str, Any]
    is_stream: bool
    include_usage: bool


def parse_chat_request(body: Any, interface: Interface) -> ChatRequest:
    """Read a request body.

    The last user message becomes the chat input, the turns before it the chat history, system messages the flow's
    system input if it has one. Sampling parameters are the flow's own business and are ignored.

    Raises:
        BadRequest: the body is no such request, or asks for what a flow cannot give.
    """
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.")

    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a list with at least one message.")

    if body.get("n") not in (None, 1):
        raise BadRequest("A flow gives one answer: 'n' must be 1.")

    options = body.get("stream_options")
    return ChatRequest(
        model=str(body.get("model") or interface.name),
        inputs=_inputs([_message(m) for m in messages], interface),
        is_stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
    )


def _message(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise BadRequest(f"Each message needs a role, one of {', '.join(_ROLES)}.")

    return message["role"], _text(message.get("content"))


def _text(content: Any) -> str:
    if content is None:
        return ""

    if isinstance(content, str):
        return content

    if not isinstance(content, list):
        raise BadRequest("A message's content must be text or a list of parts.")

    parts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise BadRequest("Only text parts can be given to this flow.")

        parts.append(part["text"])
    return "\n".join(parts)


def _inputs(messages: list[tuple[str, str]], interface: Interface) -> dict[str, Any]:
    system = "\n".join(text for role, text in messages if role in ("system", "developer"))
    turns = [(role, text) for role, text in messages if role in ("user", "assistant")]
    if not turns or turns[-1][0] != "user":
        raise BadRequest("The last message must be the user's.")

    assert interface.chat_input is not None  # only chat flows come here  # noqa: S101
    assert interface.chat_history is not None  # noqa: S101
    inputs: dict[str, Any] = {
        interface.chat_input: turns[-1][1],
        interface.chat_history: _history(turns[:-1], interface),
    }
    system_input = next((name for name in SYSTEM_INPUTS if name in interface.inputs), None)
    if system and system_input is not None:
        inputs[system_input] = system

    _check_complete(inputs, interface.inputs)
    return inputs


def _history(turns: list[tuple[str, str]], interface: Interface) -> list[dict[str, Any]]:
    """Past turns in the form of the flow's kind: pairs of inputs and outputs for DAG flows, else messages."""
    if interface.kind != "dag":
        return [{"role": role, "content": text} for role, text in turns]

    output = interface.chat_output or "answer"
    pairs: list[dict[str, Any]] = []
    for role, text in turns:
        if role == "user":
            pairs.append({"inputs": {interface.chat_input: text}, "outputs": {output: ""}})
        elif pairs:
            said = pairs[-1]["outputs"][output]
            pairs[-1]["outputs"][output] = f"{said}\n{text}" if said else text
        else:
            pairs.append({"inputs": {interface.chat_input: ""}, "outputs": {output: text}})
    return pairs


def _check_complete(inputs: dict[str, Any], specs: dict[str, InputSpec]) -> None:
    missing = [name for name, spec in specs.items() if name not in inputs and spec.default is None]
    if missing:
        raise BadRequest(
            f"The flow also needs the inputs {missing}, which a chat request cannot carry.",
            hint="Give them defaults, or use /score.",
        )


def completion(request_id: str, created: int, model: str, text: str, usage: Usage) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage.to_dict(),
    }


def completion_chunk(
    request_id: str,
    created: int,
    model: str,
    delta: dict[str, Any] | None,
    *,
    finish_reason: str | None = None,
    usage: Usage | None = None,
) -> dict[str, Any]:
    """A piece of a streamed answer; without a delta the piece that carries the usage."""
    choices = [] if delta is None else [_chunk_choice(delta, finish_reason)]
    chunk: dict[str, Any] = {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": choices,
    }
    if usage is not None:
        chunk["usage"] = usage.to_dict()

    return chunk


def _chunk_choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def model_list(names: list[str], created: int) -> dict[str, Any]:
    """The answer of `/v1/models`."""
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": created, "owned_by": "promptflow-lite"} for name in names],
    }


_TYPE_BY_STATUS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def chat_error(error: BaseException, status: int) -> dict[str, Any]:
    """An error in the shape that OpenAI clients read."""
    kind = _TYPE_BY_STATUS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = error.code if isinstance(error, PromptflowException) else None
    message = error.message if isinstance(error, PromptflowException) else f"({type(error).__name__}) {error}"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
