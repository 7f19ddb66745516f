"""Types that tool authors annotate parameters with, and the names of a tool's value types."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.connections import Connection
from promptflow_lite.connections import Secret as ConnectionSecret


class Secret(ConnectionSecret):
    """A string that is shown as stars wherever a value is displayed."""

    __slots__ = ("secret_name",)
    __tool_type__ = "secret"

    def set_secret_name(self, name: str) -> None:
        """Remember under which name the secret is stored."""
        self.secret_name = name


class PromptTemplate(str):
    """A template's text, as a parameter of a `custom_llm` tool."""

    __slots__ = ()
    __tool_type__ = "prompt_template"


class FilePath(str):
    """A path relative to the flow's folder."""

    __slots__ = ()
    __tool_type__ = "file_path"


class ToolType(enum.StrEnum):
    """Kinds of tools."""

    LLM = "llm"
    PYTHON = "python"
    CSHARP = "csharp"
    PROMPT = "prompt"
    _ACTION = "action"
    CUSTOM_LLM = "custom_llm"


class ValueType(enum.StrEnum):
    """Types of a tool's inputs and outputs."""

    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    STRING = "string"
    SECRET = "secret"  # noqa: S105
    PROMPT_TEMPLATE = "prompt_template"
    LIST = "list"
    OBJECT = "object"
    FILE_PATH = "file_path"
    IMAGE = "image"
    ASSISTANT_DEFINITION = "assistant_definition"

    @staticmethod
    def from_value(value: Any) -> ValueType:
        """The type a value has, by its Python class."""
        return ValueType.from_type(type(value))

    @staticmethod
    def from_type(cls: Any) -> ValueType:
        """The type an annotation stands for; `object` when nothing fits better."""
        return _VALUE_TYPE_BY_CLASS_NAME.get(getattr(cls, "__name__", ""), ValueType.OBJECT)


_VALUE_TYPE_BY_CLASS_NAME = {
    "int": ValueType.INT,
    "float": ValueType.DOUBLE,
    "bool": ValueType.BOOL,
    "str": ValueType.STRING,
    "list": ValueType.LIST,
    "Secret": ValueType.SECRET,
    "PromptTemplate": ValueType.PROMPT_TEMPLATE,
    "FilePath": ValueType.FILE_PATH,
    "Image": ValueType.IMAGE,
    "AssistantDefinition": ValueType.ASSISTANT_DEFINITION,
}


class ConnectionType:
    """Questions about connection values and classes, by name."""

    @staticmethod
    def is_connection_value(value: Any) -> bool:
        """Whether a value is a connection object."""
        return isinstance(value, Connection)

    @staticmethod
    def is_connection_class_name(name: str) -> bool:
        """Whether a tool type names a connection class."""
        return name.endswith("Connection")

    @staticmethod
    def serialize_conn(connection: Any) -> Any:
        """What records keep of a connection: its name."""
        return getattr(connection, "name", None) or type(connection).__name__


@dataclass
class InputDefinition:
    """An input in a tool's metadata."""

    type: list[Any]
    default: Any = None
    description: str | None = None
    enum: list[str] | None = None
    custom_type: list[str] | None = None

    def serialize(self) -> dict[str, Any]:
        """The metadata form, without empty keys."""
        data = {"type": [str(getattr(item, "value", item)) for item in self.type]}
        optional = {
            "default": self.default,
            "description": self.description,
            "enum": self.enum,
            "custom_type": self.custom_type,
        }
        return {**data, **{key: value for key, value in optional.items() if value}}


@dataclass
class Tool:
    """A tool's metadata."""

    name: str
    type: ToolType
    inputs: dict[str, InputDefinition] = field(default_factory=dict)
    description: str | None = None
    module: str | None = None
    class_name: str | None = None
    source: str | None = None
    code: str | None = None
    function: str | None = None

    def serialize(self) -> dict[str, Any]:
        """The metadata form, without empty keys."""
        keys = ("description", "module", "class_name", "source", "code", "function")
        return {
            "name": self.name,
            "type": str(self.type.value),
            "inputs": {name: item.serialize() for name, item in self.inputs.items()},
            **{key: getattr(self, key) for key in keys if getattr(self, key)},
        }
