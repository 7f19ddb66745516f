"""Checks of one node against its source: files, Python signatures, templates and literals. Runs no user code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import (
    FlowDefinitionError,
    FlowSyntaxError,
    InputTypeMismatch,
    InvalidSource,
    JinjaParsingError,
    Location,
    MissingRequiredInputs,
    MultipleToolsDefined,
    NodeInputValidationError,
    NoToolDefined,
    PromptflowException,
)
from promptflow_lite.flow.model import NodeSpec
from promptflow_lite.flow.problems import Cursor
from promptflow_lite.flow.references import Reference
from promptflow_lite.flow.signature import ModuleOutline, ToolSignature, read_module
from promptflow_lite.flow.templates import template_variables
from promptflow_lite.flow.values import coerce_literal, is_dropped_literal
from promptflow_lite.flow.yaml_io import read_text

CHAT_PARAMETERS = (
    "temperature",
    "top_p",
    "stream",
    "stop",
    "max_tokens",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "user",
    "response_format",
    "seed",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
)
COMPLETION_PARAMETERS = (
    "suffix",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "stream",
    "logprobs",
    "echo",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "best_of",
    "logit_bias",
    "user",
)
MODEL_PARAMETERS = ("deployment_name", "model")
OWN_PARAMETERS = ("choices", "choices_output")
"""Options of LLM nodes that no API of the original has."""
_LITERAL_TYPES = {
    "temperature": "double",
    "top_p": "double",
    "presence_penalty": "double",
    "frequency_penalty": "double",
    "n": "int",
    "seed": "int",
    "best_of": "int",
    "stop": "list",
    "tools": "list",
    "functions": "list",
    "choices": "list",
    "echo": "bool",
}
ROLE_LINE = re.compile(r"^\s*#?\s*(system|user|assistant|function|tool)\s*:\s*\n", re.IGNORECASE | re.MULTILINE)


@dataclass(slots=True)
class FlowFiles:
    """Files as the merged working copy of the flow would hold them."""

    folder: Path
    includes: dict[str, Path] = field(default_factory=dict)
    """Base name -> file or folder that is included under it."""

    @classmethod
    def of(cls, folder: Path, additional_includes: Iterable[Any]) -> FlowFiles:
        return cls(folder, {Path(str(item)).name: folder / str(item) for item in additional_includes})

    def find(self, name: str) -> Path | None:
        """The file of that relative path, else None."""
        parts = Path(name).parts
        candidates = [self.folder / name]
        if parts and parts[0] in self.includes:
            candidates.insert(0, self.includes[parts[0]].joinpath(*parts[1:]))

        for candidate in candidates:
            try:
                if candidate.is_file():
                    return candidate
            except (OSError, ValueError):
                continue

        return None

    def names(self, suffix: str) -> list[str]:
        """Relative paths of the files with a suffix, for suggestions."""
        own = [path.name for path in self.folder.glob(f"*{suffix}")]
        return [*own, *(name for name in self.includes if name.endswith(suffix))]


def check_node(cursor: Cursor, node: NodeSpec, files: FlowFiles) -> None:
    """Report everything wrong between a node and its source."""
    source = node.source
    if source is None:
        if node.tool is None:
            hint = "Add 'source: {type: code, path: FILE}'."
            cursor.wrong(f"Node {node.name!r} has no source.", code="flow.missing_source", hint=hint)
        return

    if source.type != "code" and not source.tool:
        message = f"The package source of node {node.name!r} names no tool."
        cursor.wrong(message, "source", code="flow.missing_source", hint="Add 'tool: package.module.function'.")

    if source.type == "package":
        return

    path = _source_file(cursor, node, files)
    if path is None:
        return

    if node.type == "python":
        _check_python(cursor, node, path)
    elif node.type in ("llm", "prompt", "custom_llm"):
        _check_template(cursor, node, path)


def _source_file(cursor: Cursor, node: NodeSpec, files: FlowFiles) -> Path | None:
    source = cursor.child("source", cursor.get("source"))
    name = node.source.path if node.source else None
    if not name:
        message = f"The source of node {node.name!r} has no path."
        source.wrong(message, code="flow.missing_source", hint="Add 'path: FILE'.")
        return None

    if node.runs_flow:
        return None  # a sub-flow may be a folder; the sub-flow check looks at it

    path = files.find(name)
    if path is None:
        suffix = ".py" if node.type == "python" else ".jinja2"
        hint = did_you_mean(name, files.names(suffix)) or f"The path is relative to {str(files.folder)!r}."
        error = InvalidSource(
            f"The file {name!r} of node {node.name!r} does not exist.", hint=hint, where=source.where("path"), path=name
        )
        source.findings.error(error, (*source.steps, "path"), name)

    return path


def _check_python(cursor: Cursor, node: NodeSpec, path: Path) -> None:
    outline = _outline(cursor, path)
    tool = None if outline is None else only_tool(cursor, outline, path)
    if tool is not None:
        _check_inputs(cursor, node, tool)


def _outline(cursor: Cursor, path: Path) -> ModuleOutline | None:
    try:
        return read_module(read_text(path), str(path))
    except FlowSyntaxError as error:
        cursor.findings.error(error, (*cursor.steps, "source", "path"), path.name)
        return None


def only_tool(cursor: Cursor, outline: ModuleOutline, path: Path) -> ToolSignature | None:
    """The one tool of a file; none or several are reported."""
    if len(outline.tools) == 1:
        return outline.tools[0]

    error: PromptflowException
    if outline.tools:
        names = ", ".join(repr(tool.function) for tool in outline.tools)
        where = Location(str(path), outline.tools[1].line)
        hint = "Keep one function with @tool in the file; move the others."
        error = MultipleToolsDefined(
            f"Expected one tool in {path.name!r}, found several: {names}.", hint=hint, where=where
        )
    elif outline.has_unknown_decorators or outline.star_imports:
        return None
    else:
        hint = "Import it with 'from promptflow.core import tool' and put @tool above the function."
        error = NoToolDefined(f"No tool is defined in {path.name!r}.", hint=hint, where=Location(str(path), 1))

    cursor.findings.error(error, (*cursor.steps, "source", "path"), path.name)
    return None


def _check_inputs(cursor: Cursor, node: NodeSpec, tool: ToolSignature) -> None:
    inputs = cursor.mapping("inputs")
    given = {name for name, value in node.inputs.items() if not is_dropped_literal(value)}
    for name, value in node.inputs.items():
        parameter = tool.parameters.get(name)
        if parameter is None:
            if not tool.accepts_extra and not is_dropped_literal(value):
                message = f"Node {node.name!r} gives {name!r}, which {tool.function!r} does not take."
                inputs.wrong(message, name, code="flow.unknown_node_input", hint=did_you_mean(name, tool.parameters))
        elif name in tool.init_parameters and isinstance(value, Reference):
            message = f"Input {name!r} of node {node.name!r} belongs to the constructor and cannot be a reference."
            hint = "Give a literal value."
            error = InputTypeMismatch(message, hint=hint, where=inputs.where(name))
            inputs.findings.error(error, (*inputs.steps, name), value.text)
        elif not isinstance(value, Reference) and not is_dropped_literal(value):
            _check_literal(inputs, node.name, name, value, parameter.types[0])

    missing = [name for name, parameter in tool.parameters.items() if not parameter.has_default and name not in given]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        error_missing = MissingRequiredInputs(
            f"Node {node.name!r} lacks the required inputs {names} of {tool.function!r}.",
            hint="Add them under the node's 'inputs'.",
            where=cursor.where("inputs") if "inputs" in cursor.value else cursor.where(),
            inputs=missing,
        )
        cursor.findings.error(error_missing, (*cursor.steps, "inputs"))


def _check_literal(inputs: Cursor, node: str, name: str, value: Any, kind: str) -> None:
    if kind == "image":
        return

    try:
        coerce_literal(value, kind)
    except (ValueError, TypeError) as error:
        problem = NodeInputValidationError(
            f"Input {name!r} of node {node!r} has the value {value!r}, which is not of type {kind!r}.",
            hint=f"Give a value of type {kind!r}, or a reference.",
            where=inputs.where(name),
            reason=str(error),
        )
        inputs.findings.error(problem, (*inputs.steps, name), value)


def _check_template(cursor: Cursor, node: NodeSpec, path: Path) -> None:
    try:
        text = read_text(path)
        variables = read_variables(text, path)
    except FlowSyntaxError as error:
        cursor.findings.error(error, (*cursor.steps, "source", "path"), path.name)
        return

    inputs = cursor.mapping("inputs")
    known_parameters = _api_parameters(node)
    if node.type == "llm":
        _check_clashes(cursor, node, variables)
        for name, kind in _LITERAL_TYPES.items():
            value = node.inputs.get(name)
            if name in known_parameters and not isinstance(value, Reference) and not is_dropped_literal(value):
                _check_literal(inputs, node.name, name, value, kind)

        if node.api in (None, "chat") and not ROLE_LINE.search(text if text.endswith("\n") else text + "\n"):
            message = f"The chat template {path.name!r} has no line with a role, such as 'user:'."
            cursor.child("source", cursor.get("source")).warn(
                message, "path", code="flow.no_role", hint="Start each message with 'system:', 'user:' or 'assistant:'."
            )

    _warn_about_variables(cursor, node, path, variables, known_parameters)


def read_variables(text: str, path: Path, first_line: int = 1) -> dict[str, str]:
    """The variables of a template file.

    Raises:
        FlowSyntaxError: its syntax is wrong; `where` names the line.
    """
    try:
        return template_variables(text)
    except JinjaParsingError as error:
        line = error.facts.get("line")
        where = Location(str(path), line + first_line - 1 if isinstance(line, int) else None)
        raise FlowSyntaxError(str(error), hint=error.hint, where=where) from error
    except (RecursionError, ValueError, OverflowError, MemoryError) as error:
        raise FlowSyntaxError(f"The template cannot be parsed: {error}.", where=Location(str(path), 1)) from error


def _api_parameters(node: NodeSpec) -> tuple[str, ...]:
    if node.type == "prompt":
        return ()

    own = COMPLETION_PARAMETERS if node.api == "completion" else (*CHAT_PARAMETERS, "n")
    return (*own, *MODEL_PARAMETERS, *OWN_PARAMETERS)


def _check_clashes(cursor: Cursor, node: NodeSpec, variables: dict[str, str]) -> None:
    parameters = COMPLETION_PARAMETERS if node.api == "completion" else CHAT_PARAMETERS
    clashes = sorted(name for name in variables if name in (*parameters, "prompt", "connection"))
    if not clashes:
        return

    error = NodeInputValidationError(
        f"The template of node {node.name!r} reads {', '.join(map(repr, clashes))}, "
        f"which are parameters of the {node.api or 'chat'} API.",
        hint="Rename these variables in the template and in the node's inputs.",
        where=cursor.where("source"),
        variables=clashes,
    )
    cursor.findings.error(error, (*cursor.steps, "source", "path"))


def _warn_about_variables(
    cursor: Cursor, node: NodeSpec, path: Path, variables: dict[str, str], parameters: tuple[str, ...]
) -> None:
    inputs = cursor.mapping("inputs")
    missing = [name for name in variables if name not in node.inputs and name not in parameters]
    for name in missing:
        message = (
            f"The template {path.name!r} reads {name!r}, which node {node.name!r} does not give; it prints nothing."
        )
        inputs.warn(message, code="flow.template_variable", hint=f"Add {name!r} to the node's inputs.")

    if node.type == "custom_llm":
        return

    for name in node.inputs:
        if name not in variables and name not in parameters:
            message = f"Input {name!r} of node {node.name!r} is not used by the template {path.name!r}."
            inputs.warn(message, name, code="flow.unused_input", hint=did_you_mean(name, variables))


def report_wrong_entry(cursor: Cursor, message: str, where: Location, hint: str | None) -> None:
    """Report a flex entry that its file does not define."""
    error = FlowDefinitionError(message, code="flow.entry", hint=hint, where=where)
    cursor.findings.error(error, ("entry",), cursor.get("entry"))
