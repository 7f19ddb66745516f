"""Helpers of prompt tools under their original names: parsing chats, rendering templates, building messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from promptflow_lite.errors import ChatAPIInvalidRole
from promptflow_lite.flow import (
    ROLES,
    Image,
    ImageLike,
    LineList,
    PromptResult,
    find_images,
    isolate_images,
    line_lists,
    message_content,
    name_and_content,
    render_chat,
    render_template,
)
from promptflow_lite.flow import parse_chat as parse_messages
from promptflow_lite.tools.custom_llm import ESCAPE_ARGUMENT
from promptflow_lite.tools.llm_apis import to_bool

__all__ = ["PromptResult", "build_messages", "parse_chat", "render_jinja_template", "to_bool"]

ChatInputList = LineList
convert_to_chat_list = line_lists
INPUTS_TO_ESCAPE_PARAM_KEY = ESCAPE_ARGUMENT
preprocess_template_string = isolate_images
to_content_str_or_list = message_content
try_parse_name_and_content = name_and_content


def parse_chat(
    chat_str: str,
    images: Iterable[Image] | None = None,
    valid_roles: Sequence[str] | None = None,
    image_detail: str = "auto",
    **_: Any,
) -> list[dict[str, Any]]:
    """Split rendered text into chat messages; `valid_roles` are the words that start one."""
    return parse_messages(chat_str, images or (), image_detail=image_detail, roles=valid_roles or ROLES)


def validate_role(role: str, valid_roles: Sequence[str] | None = None, **_: Any) -> None:
    """Raise `ChatAPIInvalidRole` unless the word may start a message."""
    allowed = valid_roles or ROLES
    if role not in allowed:
        raise ChatAPIInvalidRole(f"{role!r} is no role.", hint=f"Use one of {', '.join(allowed)}.")


def find_referenced_image_set(kwargs: Mapping[str, Any]) -> set[ImageLike]:
    """All images inside the inputs, at any depth."""
    return set(find_images(kwargs))


def render_jinja_template(template_content: str, **kwargs: Any) -> str:
    """Fill in a template; options of the original's renderer are accepted and have no effect."""
    options = ("trim_blocks", "keep_trailing_newline", "escape_dict", ESCAPE_ARGUMENT)
    return render_template(template_content, {key: value for key, value in kwargs.items() if key not in options})


def build_messages(
    prompt: str, images: Iterable[Image] | None = None, image_detail: str = "auto", **kwargs: Any
) -> list[dict[str, Any]]:
    """Render a template and parse it into chat messages; images are found in the variables."""
    variables, escape = split_escape(kwargs)
    return render_chat(prompt, variables, escape=escape, image_detail=image_detail)


def split_escape(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Template variables, and the names of those whose text must not start messages."""
    variables = dict(kwargs)
    escape = variables.pop(ESCAPE_ARGUMENT, None) or []
    return variables, [name for name in escape if not isinstance(variables.get(name), PromptResult)]
