"""Prompt templates: Jinja in a sandbox, compiled once, and the variables a template reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from promptflow_lite.errors import JinjaParsingError, JinjaTemplateError
from promptflow_lite.settings import env_bool

Render = Callable[[Mapping[str, Any]], str]

_IMAGE_PLACEHOLDER = re.compile(r"!\[\s*image\s*\]\(\{\{\s*([^\s{}]+)\s*\}\}\)")


def render_template(text: str, variables: Mapping[str, Any], *, target: str = "Tool") -> str:
    """Fill in a template; undefined variables print nothing.

    Args:
        text: The template.
        variables: What it may read.
        target: Who renders, for the error record: `Tool` for nodes, `Core` for prompty files.

    Raises:
        JinjaTemplateError: the template cannot be parsed or fails while it renders.
    """
    try:
        return str(_compiled(text, _use_sandbox()).render(variables))
    except Exception as error:  # a template calls what its variables offer, so anything may come out
        raise JinjaTemplateError(
            f"Failed to render jinja template: {type(error).__name__}: {error}. "
            "Please modify your prompt to fix the issue.",
            hint="Check the template's syntax and what its variables hold.",
            target=target,
            error_type=type(error).__name__,
        ) from error


def check_template(text: str) -> None:
    """Parse a template without rendering it.

    Raises:
        JinjaParsingError: its syntax is wrong; facts carry the line.
    """
    template_variables(text)


def template_variables(text: str) -> dict[str, str]:
    """Variables that the template reads: name -> `string` or `image`, by first position in the text.

    Raises:
        JinjaParsingError: the template's syntax is wrong.
    """
    return dict(_variables(text))


def has_image_placeholder(text: str) -> bool:
    """Whether the template shows a variable as `![image]({{x}})`."""
    return _IMAGE_PLACEHOLDER.search(text) is not None


@lru_cache(maxsize=512)
def isolate_images(text: str) -> str:
    """The template with every `![image]({{x}})` replaced by `{{x}}` on a line of its own."""
    return _IMAGE_PLACEHOLDER.sub(r"\n{{\1}}\n", text)


def _use_sandbox() -> bool:
    return env_bool("PF_USE_SANDBOX_FOR_JINJA", default=True)


@lru_cache(maxsize=2)
def _environment(sandboxed: bool) -> Any:
    from jinja2 import Environment
    from jinja2.sandbox import SandboxedEnvironment

    kind = SandboxedEnvironment if sandboxed else Environment
    return kind(trim_blocks=True, keep_trailing_newline=True)


@lru_cache(maxsize=512)
def _compiled(text: str, sandboxed: bool) -> Any:
    return _environment(sandboxed).from_string(text)


@lru_cache(maxsize=512)
def _variables(text: str) -> tuple[tuple[str, str], ...]:
    from jinja2 import TemplateSyntaxError, meta

    try:
        names = meta.find_undeclared_variables(_environment(True).parse(text))
    except TemplateSyntaxError as error:
        raise JinjaParsingError(
            f"Jinja parsing failed at line {error.lineno}: ({type(error).__name__}) {error.message}",
            hint="Correct the template's syntax at that line.",
            line=error.lineno,
        ) from error

    images = set(_IMAGE_PLACEHOLDER.findall(text))
    return tuple((name, "image" if name in images else "string") for name in sorted(names, key=_position_in(text)))


def _position_in(text: str) -> Callable[[str], tuple[int, str]]:
    def position(name: str) -> tuple[int, str]:
        match = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
        return (match.start() if match else len(text), name)

    return position
