"""A model's own chat template: messages to one prompt text, rendered in a sandbox.

The template is a Jinja program out of a file of unknown origin. It gets plain data, cannot reach attributes of Python
objects, and its failure is the model file's fault, said as such.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from promptflow_lite.errors import EngineRequestError

Message = Mapping[str, Any]

_PLAIN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, for models that bring no template."""

_TOOL_INTRODUCTION = (
    "You may call these functions:\n{tools}\n"
    'To call one, answer with <tool_call>{{"name": NAME, "arguments": {{...}}}}</tool_call> and nothing else.'
)


class ChatTemplate:
    """Renders conversations for one model.

    Args:
        source: Jinja text of the model file; empty for a plain one.
        bos: Text of the model's first token.
        eos: Text of its last.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _format_now
        self.source = source or _PLAIN_TEMPLATE
        self.knows_tools = "tools" in self.source
        self._specials = {"bos_token": bos, "eos_token": eos}
        self._template_error = TemplateError
        try:
            self._template = environment.from_string(self.source)
        except TemplateError as error:
            raise EngineRequestError(f"The model's chat template cannot be parsed: {error}") from error

    def render(self, messages: Sequence[Message], tools: Sequence[Any] = ()) -> str:
        """The prompt up to where the assistant's answer starts.

        Raises:
            EngineRequestError: a message has a part the model cannot read, or the template refuses the conversation.
        """
        plain = [_plain_message(message, keeps_tools=self.knows_tools) for message in messages]
        if tools and not self.knows_tools:
            plain = _introduce_tools(plain, tools)
        values = {"messages": plain, "add_generation_prompt": True, **self._specials}
        if tools and self.knows_tools:
            values["tools"] = list(tools)
        try:
            return self._template.render(**values)
        except EngineRequestError:
            raise
        except (self._template_error, TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            raise EngineRequestError(f"The model's chat template cannot render these messages: {error}") from error


def _to_json(value: Any, indent: int | None = None, **_options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> str:
    raise EngineRequestError(f"The model's chat template refuses these messages: {message}")


def _format_now(pattern: str) -> str:
    return dt.datetime.now().astimezone().strftime(pattern)


def _plain_message(message: Any, *, keeps_tools: bool) -> dict[str, Any]:
    """A message whose content is text."""
    role = message.get("role") if isinstance(message, Mapping) else None
    if not isinstance(role, str):
        raise EngineRequestError("Every message needs a role.", field="messages", got=repr(message)[:200])

    plain = {key: value for key, value in message.items() if value is not None}
    plain["content"] = _plain_content(message.get("content"))
    if plain["role"] == "developer":
        plain["role"] = "system"
    if keeps_tools:
        return plain

    if plain["role"] in ("tool", "function"):
        return {"role": "user", "content": f"<tool_response>{plain['content']}</tool_response>"}

    calls = "".join(f"<tool_call>{_call_text(call)}</tool_call>" for call in plain.get("tool_calls", ()))
    return {"role": plain["role"], "content": plain["content"] + calls}


def _call_text(call: Mapping[str, Any]) -> str:
    function = call["function"]
    return f'{{"name": {json.dumps(function["name"])}, "arguments": {function["arguments"]}}}'


def _plain_content(content: Any) -> str:
    if content is None:
        return ""

    if isinstance(content, str):
        return content

    if isinstance(content, list):
        return "".join(_part_text(part) for part in content)

    raise EngineRequestError("A message's content is neither text nor a list of parts.", field="messages")


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part

    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])

    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise EngineRequestError(
        f"The local model reads text only, a message has a part of type {kind!r}.", field="messages"
    )


def _introduce_tools(messages: list[dict[str, Any]], tools: Sequence[Any]) -> list[dict[str, Any]]:
    text = _TOOL_INTRODUCTION.format(tools="\n".join(_to_json(tool.get("function", tool)) for tool in tools))
    if messages and messages[0]["role"] == "system":
        first = {**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}
        return [first, *messages[1:]]

    return [{"role": "system", "content": text}, *messages]
