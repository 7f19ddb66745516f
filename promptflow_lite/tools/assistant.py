"""Assistant definitions: a yaml file that lists the tools an assistant may call, and the object that calls them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite.errors import InvalidAssistantTool
from promptflow_lite.tools.decorator import original_function

_OPENAI_TYPES = {
    "int": "integer",
    "double": "number",
    "bool": "boolean",
    "string": "string",
    "list": "array",
    "object": "object",
}
_PARAMETER_LINE = re.compile(r"^\s*:param\s+(?:[\w\[\], .]+\s+)?(\w+)\s*:\s*(.*)$")
_GOOGLE_LINE = re.compile(r"^\s+(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_NUMPY_NAME = re.compile(r"^(\w+)\s*:\s*\S+")


@dataclass
class AssistantDefinition:
    """Model, instructions and tools of an assistant, as its yaml file gives them."""

    model: str = ""
    instructions: str = ""
    tools: list[dict[str, Any]] = field(default_factory=list)
    _tool_invoker: AssistantToolInvoker | None = field(default=None, repr=False, compare=False)

    __tool_type__ = "assistant_definition"

    @staticmethod
    def deserialize(data: Mapping[str, Any]) -> AssistantDefinition:
        """The definition that a yaml file's mapping stands for; its tools are not loaded."""
        return AssistantDefinition(
            model=str(data.get("model") or ""),
            instructions=str(data.get("instructions") or ""),
            tools=list(data.get("tools") or []),
        )

    def serialize(self) -> dict[str, Any]:
        """The definition without its loaded tools."""
        return {"model": self.model, "instructions": self.instructions, "tools": self.tools}

    __jsonable__ = serialize

    def init_tool_invoker(self, root: Path) -> AssistantDefinition:
        """Load the tools, whose paths are relative to `root`."""
        self._tool_invoker = AssistantToolInvoker.init(self.tools, root)
        return self


def load_assistant_definition(path: Path, root: Path) -> AssistantDefinition:
    """Read a definition and load its tools.

    Args:
        path: The yaml file.
        root: The flow's folder, to which the tools' paths are relative.

    Raises:
        InvalidAssistantTool: the file or one of its tools is unusable.
    """
    from promptflow_lite.flow import load_yaml

    if not path.is_file():
        raise InvalidAssistantTool(
            f"The assistant definition {str(path)!r} does not exist.", hint="Correct the path in the node's inputs."
        )

    data = load_yaml(path).value
    if not isinstance(data, dict):
        raise InvalidAssistantTool(f"{path.name!r} holds no mapping.", hint="Write model, instructions and tools.")

    return AssistantDefinition.deserialize(data).init_tool_invoker(root)


@dataclass
class _AssistantTool:
    """One function that the assistant may call."""

    function: Callable[..., Any]
    name: str
    openai_definition: dict[str, Any]


class AssistantToolInvoker:
    """Describes an assistant's tools to a model and calls the one it picks."""

    def __init__(self, tools: Mapping[str, _AssistantTool], other: list[dict[str, Any]]) -> None:
        self._tools = dict(tools)
        self._other = other

    @classmethod
    def init(cls, tools: list[dict[str, Any]], working_dir: Path | str | None = None) -> AssistantToolInvoker:
        """Load every tool of a definition.

        Raises:
            InvalidAssistantTool: an entry is of an unknown type or misses its source.
        """
        root = Path(working_dir or ".").absolute()
        loaded: dict[str, _AssistantTool] = {}
        other: list[dict[str, Any]] = []
        for entry in tools:
            kind = entry.get("type")
            if kind in ("code_interpreter", "retrieval", "file_search"):
                other.append({"type": kind})
            elif kind == "function":
                tool = _load_function(entry, root)
                loaded[tool.name] = tool
            else:
                raise InvalidAssistantTool(
                    f"Assistant tool of type {kind!r} is not supported.",
                    hint="Use function, code_interpreter or retrieval.",
                )
        return cls(loaded, other)

    def to_openai_tools(self) -> list[dict[str, Any]]:
        """The tools as an OpenAI request describes them; predefined inputs are left out."""
        return [*self._other, *(tool.openai_definition for tool in self._tools.values())]

    def invoke_tool(self, func_name: str, kwargs: dict[str, Any]) -> Any:
        """Call a tool by its name.

        Raises:
            InvalidAssistantTool: there is none of that name.
        """
        tool = self._tools.get(func_name)
        if tool is None:
            raise InvalidAssistantTool(
                f"The assistant has no tool {func_name!r}.", hint=f"It has {', '.join(sorted(self._tools))}."
            )

        return tool.function(**kwargs)


def _load_function(entry: Mapping[str, Any], root: Path) -> _AssistantTool:
    from promptflow_lite.tools.module import load_tool
    from promptflow_lite.tools.package import find_package_tool, import_package_tool

    source = entry.get("source") or {}
    provider: Any = None
    if source.get("type", "code") == "code" and source.get("path"):
        loaded = load_tool(root / source["path"], root)
        function, provider = loaded.function, loaded.provider
    elif source.get("tool"):
        function, provider = import_package_tool(find_package_tool(source["tool"]))
    else:
        raise InvalidAssistantTool(
            "An assistant's function has no source.", hint="Add `source: {type: code, path: tool.py}`."
        )

    predefined = dict(entry.get("predefined_inputs") or {})
    bound = function if provider is None else functools.partial(function, provider())
    raw = original_function(function)
    return _AssistantTool(
        function=functools.partial(bound, **predefined),
        name=raw.__name__,
        openai_definition=openai_definition(raw, leave_out=set(predefined), skip_self=provider is not None),
    )


def openai_definition(
    function: Callable[..., Any], *, leave_out: set[str] | frozenset[str] = frozenset(), skip_self: bool = False
) -> dict[str, Any]:
    """A function as an OpenAI tool: name, description and JSON schema of its parameters."""
    from promptflow_lite.tools.signature import parameters_of

    description, documented = parse_docstring(inspect.getdoc(function) or "")
    parameters, _ = parameters_of(function, skip_self=skip_self)
    visible = {name: parameter for name, parameter in parameters.items() if name not in leave_out}
    properties: dict[str, Any] = {}
    for name, parameter in visible.items():
        properties[name] = {
            "description": documented.get(name, ""),
            "type": _OPENAI_TYPES.get(parameter.types[0], "string"),
        }
        if parameter.enum:
            properties[name]["enum"] = list(parameter.enum)

    return {
        "type": "function",
        "function": {
            "name": function.__name__,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": [name for name, parameter in visible.items() if not parameter.has_default],
            },
        },
    }


def parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Description and parameter texts of a docstring in Sphinx, Google or NumPy style."""
    description: list[str] = []
    documented: dict[str, str] = {}
    section = ""
    current = ""
    for line in text.splitlines():
        heading = line.strip().rstrip(":").lower()
        sphinx = _PARAMETER_LINE.match(line)
        if sphinx:
            section, current = "sphinx", sphinx.group(1)
            documented[current] = sphinx.group(2).strip()
        elif line.strip().startswith(":"):
            section, current = "other", ""
        elif heading in ("args", "arguments", "parameters", "params"):
            section, current = "parameters", ""
        elif heading in ("returns", "return", "raises", "yields", "examples", "example", "notes"):
            section, current = "other", ""
        elif section == "parameters":
            current = _read_parameter(line, current, documented)
        elif section == "sphinx" and current and line.strip():
            documented[current] += " " + line.strip()
        elif not section:
            description.append(line.strip())

    return " ".join(part for part in description if part), documented


def _read_parameter(line: str, current: str, documented: dict[str, str]) -> str:
    """Take one line of a parameter section; returns the parameter that the next line may continue."""
    if not line.strip() or set(line.strip()) == {"-"}:
        return current

    google = _GOOGLE_LINE.match(line)
    numpy = _NUMPY_NAME.match(line)
    if google:
        documented[google.group(1)] = google.group(2).strip()
        return google.group(1)

    if numpy:
        documented[numpy.group(1)] = ""
        return numpy.group(1)

    if current:
        documented[current] = f"{documented[current]} {line.strip()}".strip()

    return current
