"""What a node's source file asks for, found by reading it; nothing is imported or run."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache

from promptflow_lite.errors import PromptflowException
from promptflow_lite.flow import check_template, template_variables

LANGUAGES = {
    ".py": "python",
    ".jinja2": "jinja",
    ".prompty": "prompty",
    ".md": "markdown",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
}


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input that a source file declares."""

    name: str
    type: str = ""
    is_required: bool = True
    is_shown: bool = True
    """Whether it has a row even while nothing is set."""
    options: tuple[str, ...] = ()
    """The values to choose from; any when there are none."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something wrong at a line of a source file."""

    line: int
    message: str
    column: int | None = None
    severity: str = "error"


def language_of(path: str) -> str:
    """The editor's language for a file name."""
    return next((language for suffix, language in LANGUAGES.items() if path.endswith(suffix)), "text")


def parameters_of(kind: str, source: str) -> list[Parameter]:
    """The inputs of a template or of a script tool; empty when the source cannot be read."""
    if kind in ("llm", "prompt", "custom_llm"):
        return list(_template_parameters(source))

    return list(_tool_parameters(source)) if kind == "python" else []


def marks_of(language: str, source: str) -> list[Mark]:
    """Syntax errors of a source file."""
    if language == "python":
        return _python_marks(source)

    return _template_marks(source) if language == "jinja" else []


@lru_cache(maxsize=256)
def _template_parameters(source: str) -> tuple[Parameter, ...]:
    try:
        return tuple(Parameter(name, type_) for name, type_ in template_variables(source).items())
    except PromptflowException:
        return ()


@lru_cache(maxsize=256)
def _tool_parameters(source: str) -> tuple[Parameter, ...]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()

    functions = [node for node in tree.body if isinstance(node, _FUNCTIONS)]
    tools = [function for function in functions if any(_is_tool(item) for item in function.decorator_list)]
    return _function_parameters(tools[0].args) if tools else ()


def entry_parameters(source: str, name: str) -> list[Parameter]:
    """What a function takes, or the `__call__` of a class; empty when the source cannot be read or has no such name."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return []

    found = next((item for item in body if isinstance(item, _DEFINITIONS) and item.name == name), None)
    if isinstance(found, ast.ClassDef):
        methods = [item for item in found.body if isinstance(item, _FUNCTIONS)]
        found = next((item for item in methods if item.name == "__call__"), None)
        return list(_function_parameters(found.args))[1:] if found is not None else []

    return list(_function_parameters(found.args)) if found is not None else []


def _is_tool(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (isinstance(target, ast.Name) and target.id == "tool") or (
        isinstance(target, ast.Attribute) and target.attr == "tool"
    )


def _function_parameters(arguments: ast.arguments) -> tuple[Parameter, ...]:
    positional = [*arguments.posonlyargs, *arguments.args]
    n_required = len(positional) - len(arguments.defaults)
    found = [_parameter(argument, index < n_required) for index, argument in enumerate(positional)]
    found += [
        _parameter(argument, default is None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return tuple(found)


def _parameter(argument: ast.arg, is_required: bool) -> Parameter:
    return Parameter(argument.arg, ast.unparse(argument.annotation) if argument.annotation else "", is_required)


def _python_marks(source: str) -> list[Mark]:
    try:
        ast.parse(source)
    except SyntaxError as error:
        return [Mark(error.lineno or 1, error.msg, error.offset)]
    except ValueError as error:
        return [Mark(1, str(error))]

    return []


def _template_marks(source: str) -> list[Mark]:
    try:
        check_template(source)
    except PromptflowException as error:
        line = error.where.line if error.where and error.where.line else error.facts.get("lineno") or 1
        return [Mark(int(line), str(error))]

    return []
