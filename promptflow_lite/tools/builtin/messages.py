"""Helpers of prompt tools under their original names: parsing chats, rendering templates, building messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from promptflow_lite.flow import Image, PromptResult, render_chat, render_template
from promptflow_lite.flow import parse_chat as parse_messages
from promptflow_lite.tools.custom_llm import ESCAPE_ARGUMENT
from promptflow_lite.tools.llm_apis import to_bool

__all__ = ["build_messages", "parse_chat", "render_jinja_template", "to_bool"]


def parse_chat(
    chat_str: str,
    images: Iterable[Image] | None = None,
    valid_roles: list[str] | None = None,
    image_detail: str = "auto",
    **_: Any,
) -> list[dict[str, Any]]:
    """Split rendered text into chat messages; `valid_roles` is accepted for compatibility."""
    return parse_messages(chat_str, images or (), image_detail=image_detail)


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
