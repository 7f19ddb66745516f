"""From a prompt template to chat messages: roles, names, tool calls, images, and protection against injected roles.

**Why guards.** A template marks roles by lines such as `user:`. A value that comes from outside may contain such a line
too. Before rendering, a guard is put before every role word that would count as a header; guarded words start no
message, and the guards are taken out after parsing. A guard is made of digits, because digits come unchanged through
whatever a template does with a text: printing a list as Python, `tojson`, `upper`.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from promptflow_lite._utils.text import truncate
from promptflow_lite.errors import (
    ChatAPIFunctionRoleInvalidFormat,
    ChatAPIInvalidRole,
    ChatAPIInvalidRoleError,
    ChatAPIToolRoleInvalidFormat,
)
from promptflow_lite.flow.templates import isolate_images, render_template

ROLES = ("system", "user", "assistant", "function", "tool")

Message = dict[str, Any]

_GUARD = "8307415926048173"
_ROLE_WORDS = "|".join(ROLES)
# A header at the very end of a value counts too: the template may continue with a line break.
_INJECTED_HEADER = re.compile(rf"^(\s*#?\s*)(?=(?:{_ROLE_WORDS})\s*:\s*(?:\n|\Z))", re.IGNORECASE | re.MULTILINE)
_NAME_AND_CONTENT = r"[ \t]*#{0,2}\s*name\s*:\s*\n\s*(\S+)\s*\n\s*#{0,2}\s*content\s*:\s*(?:\n(.*))?\Z"
_NAMED = re.compile(rf"\A\s*{_NAME_AND_CONTENT}", re.DOTALL)
_NAMED_ANYWHERE = re.compile(rf"^{_NAME_AND_CONTENT}", re.DOTALL | re.MULTILINE)
_TOOL_ANSWER = re.compile(rf"^{_NAME_AND_CONTENT.replace('name', 'tool_call_id')}", re.DOTALL | re.MULTILINE)
_LIST_TOKEN = re.compile(r"""[\[\]]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL)
_TOOL_CALLS = re.compile(r"^\s*#{0,2}\s*tool_calls\s*:\s*\n+\s*(?=\[)", re.MULTILINE)


@runtime_checkable
class ImageLike(Protocol):
    """What this module needs of an image; `str(image)` is the line that stands for it."""

    source_url: str | None

    def to_base64(self, with_type: bool = False) -> str: ...


class PromptResult(str):
    """Text rendered by a prompt node, with a form in which injected role headers are guarded.

    An LLM node that gets one renders the guarded form, so protection survives from prompt to LLM.
    """

    escaped: str

    def __new__(cls, text: str, escaped: str | None = None) -> PromptResult:
        result = super().__new__(cls, text)
        result.escaped = text if escaped is None else escaped
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return (PromptResult, (str(self), self.escaped))

    def need_to_escape(self) -> bool:
        """Whether the guarded form differs."""
        return self.escaped != str(self)

    def get_escaped_string(self) -> str:
        """The guarded form."""
        return self.escaped


class LineList(list[Any]):
    """A list that prints its items one a line, as Azure chat templates expect of chat history."""

    def __str__(self) -> str:
        return "\n".join(str(item) for item in self)


def render_prompt(template: str, variables: Mapping[str, Any], escape: Collection[str] = ()) -> PromptResult:
    """Render a prompt node.

    Args:
        template: Jinja text.
        variables: What it may read.
        escape: Names of variables bound directly to flow inputs.
    """
    guarded = guard_variables(variables, escape)
    text = render_template(template, variables)
    return PromptResult(text) if guarded is variables else PromptResult(text, render_template(template, guarded))


def render_chat(
    template: str,
    variables: Mapping[str, Any],
    *,
    escape: Collection[str] = (),
    join_lists: bool = False,
    image_detail: str = "auto",
    for_prompty: bool = False,
) -> list[Message]:
    """Render a template and parse the text into chat messages.

    Args:
        template: Jinja text.
        variables: What it may read; images in them may become image parts.
        escape: Names of variables whose text must not start messages.
        join_lists: Print lists one item a line.
        image_detail: `auto`, `low` or `high`.
        for_prompty: Parse by the rules of prompty files, which differ in the error class and in tool calls.
    """
    images = find_images(variables)
    if images or for_prompty:
        template = isolate_images(template)

    if join_lists or (images and not for_prompty):  # an image in a list counts only on a line of its own
        variables = {name: line_lists(value) for name, value in variables.items()}

    target = "Core" if for_prompty else "Tool"
    text = render_template(template, guard_variables(variables, escape), target=target)
    messages = parse_chat(text, images, image_detail=image_detail, for_prompty=for_prompty)
    return _without_guards(messages) if _GUARD in text else messages


def parse_chat(
    text: str,
    images: Iterable[ImageLike] = (),
    *,
    image_detail: str = "auto",
    for_prompty: bool = False,
    roles: Sequence[str] = ROLES,
) -> list[Message]:
    """Split rendered text at its role headers into chat messages.

    Args:
        text: What a template gave.
        images: Those whose lines in the text become image parts.
        image_detail: `auto`, `low` or `high`.
        for_prompty: Parse by the rules of prompty files.
        roles: The words that start messages.

    Raises:
        ChatAPIInvalidRole: text stands before the first role (`ChatAPIInvalidRoleError` for prompty).
        ChatAPIToolRoleInvalidFormat: a tool message lacks `tool_call_id` or `content`.
        ChatAPIFunctionRoleInvalidFormat: a function message lacks `name` or `content`.
    """
    before, *parts = _role_header(tuple(roles)).split(text)
    if before.strip():
        raise _invalid_role(before.strip(), for_prompty, roles)

    parser = _MessageParser({str(image): image for image in images}, image_detail, calls_end_text=for_prompty)
    return [parser.parse(role.lower(), chunk) for role, chunk in zip(parts[::2], parts[1::2], strict=True)]


@functools.lru_cache(maxsize=16)
def _role_header(roles: tuple[str, ...]) -> re.Pattern[str]:
    words = "|".join(map(re.escape, roles))
    return re.compile(rf"^\s*#?\s*({words})\s*:\s*\n", re.IGNORECASE | re.MULTILINE)


def guard_variables(variables: Mapping[str, Any], escape: Collection[str]) -> Mapping[str, Any]:
    """The variables with injected role headers guarded; the same object when there is nothing to guard."""
    changed: dict[str, Any] = {}
    for name, value in variables.items():
        guarded = _guard(value) if name in escape or isinstance(value, PromptResult) else value
        if guarded is not value:
            changed[name] = guarded

    return {**variables, **changed} if changed else variables


def remove_guards(text: str) -> str:
    """The text as its author wrote it."""
    return text.replace(_GUARD, "")


def find_images(value: Any) -> list[ImageLike]:
    """All images inside a value, at any depth, in order."""
    if isinstance(value, bytes):
        return [value] if isinstance(value, ImageLike) else []

    if isinstance(value, Mapping):
        return [image for item in value.values() for image in find_images(item)]

    if isinstance(value, list | tuple):
        return [image for item in value for image in find_images(item)]

    return []


class _MessageParser:
    """Turns the text below one role header into a message."""

    def __init__(self, image_by_line: dict[str, ImageLike], image_detail: str, *, calls_end_text: bool) -> None:
        self._image_by_line = image_by_line
        self._image_detail = image_detail
        self._calls_end_text = calls_end_text

    def parse(self, role: str, chunk: str) -> Message:
        if role == "tool":
            return self._tool_answer(chunk)

        if role == "assistant":
            calls = _parse_tool_calls(chunk, must_end_text=self._calls_end_text)
            if calls is not None:
                return {"role": role, "tool_calls": calls}

        named = (_NAMED_ANYWHERE.search if role == "function" else _NAMED.match)(chunk)
        if named:
            return {"role": role, "name": named.group(1), "content": self._content(named.group(2) or "")}

        if role == "function":
            raise ChatAPIFunctionRoleInvalidFormat(
                "A function message must name its function before its content.",
                hint="Write `name:`, a line with the name, `content:` and the content below the function role.",
            )

        return {"role": role, "content": self._content(chunk)}

    def _tool_answer(self, chunk: str) -> Message:
        match = _TOOL_ANSWER.search(chunk)
        if not match:
            raise ChatAPIToolRoleInvalidFormat(
                "A tool message must give the id of its tool call before its content.",
                hint="Write `tool_call_id:`, a line with the id, `content:` and the content below the tool role.",
            )

        return {"role": "tool", "tool_call_id": match.group(1), "content": self._content(match.group(2) or "")}

    def _content(self, text: str) -> str | list[dict[str, Any]]:
        return message_content(text.strip(), self._image_by_line, self._image_detail)


def message_content(text: str, image_by_line: Mapping[str, ImageLike], image_detail: str) -> str | list[dict[str, Any]]:
    """The text, or a list of parts when one of its lines stands for an image."""
    if not image_by_line:
        return text

    lines = text.split("\n")
    if not any(line.strip() in image_by_line for line in lines):
        return text

    return [_part(line, image_by_line.get(line.strip()), image_detail) for line in lines if line.strip()]


def _part(line: str, image: ImageLike | None, image_detail: str) -> dict[str, Any]:
    if image is None:
        return {"type": "text", "text": line}

    url = image.source_url or image.to_base64(with_type=True)
    return {"type": "image_url", "image_url": {"url": url, "detail": image_detail}}


def name_and_content(text: str) -> tuple[str, str] | None:
    """The values below the headers `name:` and `content:`; None when the text has no such headers."""
    named = _NAMED.match(text)
    return (named.group(1), named.group(2) or "") if named else None


def _parse_tool_calls(chunk: str, *, must_end_text: bool) -> list[Any] | None:
    """The list below a `tool_calls:` header, or None when there is none that can be read."""
    header = _TOOL_CALLS.search(chunk)
    if not header:
        return None

    text = chunk[header.end() :].rstrip()
    end = _end_of_list(text)
    if must_end_text and end != len(text):
        return None

    return _parse_list(text[:end])


def _end_of_list(text: str) -> int:
    """Position after the bracket that closes the list at the start of the text; brackets in strings do not count."""
    depth = 0
    for token in _LIST_TOKEN.finditer(text):
        depth += {"[": 1, "]": -1}.get(token.group(0), 0)
        if depth == 0 and token.group(0) == "]":
            return token.end()

    return 0


def _parse_list(text: str) -> list[Any] | None:
    for parse in (ast.literal_eval, json.loads):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue

        if isinstance(value, list):
            return value

    return None


def _invalid_role(text: str, for_prompty: bool, roles: Sequence[str]) -> Exception:
    kind = ChatAPIInvalidRoleError if for_prompty else ChatAPIInvalidRole
    return kind(
        f"The prompt must start with a role, one of {', '.join(roles)}, alone on its line and followed by a colon; "
        f"it starts with {truncate(remove_guards(text), 100)!r}.",
        hint="Put a line such as `system:` or `user:` before the first text of the prompt.",
    )


def _guard(value: Any) -> Any:
    """The value with guards before injected role headers; the same object when none was needed."""
    if isinstance(value, PromptResult):
        return value.escaped if value.need_to_escape() else value

    if isinstance(value, str):
        return _guard_text(value)

    if isinstance(value, dict):
        items = {key: _guard(item) for key, item in value.items()}
        return items if any(items[key] is not value[key] for key in value) else value

    if isinstance(value, list):
        guarded = [_guard(item) for item in value]
        return type(value)(guarded) if any(new is not old for new, old in zip(guarded, value, strict=True)) else value

    return value


def _guard_text(text: str) -> str:
    if ":" not in text:
        return text

    guarded = _INJECTED_HEADER.sub(rf"\g<1>{_GUARD}", text)
    return text if guarded == text else guarded


def line_lists(value: Any) -> Any:
    """The value with its lists, at any depth, as `LineList`."""
    if isinstance(value, list):
        return LineList(line_lists(item) for item in value)

    if isinstance(value, dict):
        return {key: line_lists(item) for key, item in value.items()}

    return value


def _without_guards(value: Any) -> Any:
    if isinstance(value, str):
        return remove_guards(value)

    if isinstance(value, dict):
        return {key: _without_guards(item) for key, item in value.items()}

    if isinstance(value, list):
        return [_without_guards(item) for item in value]

    return value
