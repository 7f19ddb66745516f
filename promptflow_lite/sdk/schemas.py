"""JSON schemas (draft 2020-12) of every yaml format, as editors and checks use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from promptflow_lite.connections import CONNECTION_TYPES
from promptflow_lite.flow import json_schema

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SchemaEntry:
    """One file format."""

    description: str
    build: Callable[[], Schema]


def schema_of(name: str) -> Schema:
    """The schema of a format; see `SCHEMAS` for the names."""
    entry = SCHEMAS[name]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "description": entry.description}
    return {**entry.build(), **head}


def _text(description: str = "") -> Schema:
    return {"type": "string", **({"description": description} if description else {})}


def _closed(properties: Schema, *required: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }


_ANY: Schema = {}
_POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 1}


def _connection() -> Schema:
    kinds = [kind.yaml_type for kind in CONNECTION_TYPES]
    keys = dict.fromkeys((key for kind in CONNECTION_TYPES for key in (*kind.config_keys, *kind.secret_keys)), _ANY)
    own = {
        "$schema": _text(),
        "name": _text(),
        "type": {"type": "string", "enum": kinds},
        "module": _text(),
        "configs": {"type": "object"},
        "secrets": {"type": "object"},
        "custom_type": _text(),
        "package": _text(),
        "package_version": _text(),
    }
    return _closed({**own, **keys}, "type")


def _experiment() -> Schema:
    common: Schema = {"name": _text(), "display_name": _text(), "environment_variables": {"type": "object"}}
    flow_node = {
        **common,
        "type": {"const": "flow"},
        "path": _text(),
        "inputs": {"type": "object"},
        "variant": _text(),
        "connections": {"type": "object"},
        "init": {"type": "object"},
    }
    command_node = {
        **common,
        "type": {"const": "command"},
        "code": _text(),
        "command": _text(),
        "inputs": {"type": "object"},
        "outputs": {"type": "object"},
    }
    role = {
        "role": _text(),
        "name": _text(),
        "path": _text(),
        "inputs": {"type": "object"},
        "init": {"type": "object"},
        "connections": {"type": "object"},
    }
    chat_node = {
        **common,
        "type": {"const": "chat_group"},
        "max_turns": _COUNT,
        "max_tokens": _COUNT,
        "max_time": _POSITIVE,
        "stop_signal": _text(),
        "roles": {"type": "array", "items": _closed(role, "role", "path")},
    }
    nodes = [
        _closed(flow_node, "name", "type", "path"),
        _closed(command_node, "name", "type", "command"),
        _closed(chat_node, "name", "type", "roles"),
    ]
    named_file = _closed({"name": _text(), "path": _text()}, "name", "path")
    named_input = _closed({"name": _text(), "type": _text(), "default": _ANY}, "name")
    return _closed(
        {
            "$schema": _text(),
            "description": _text(),
            "data": {"type": "array", "items": named_file},
            "inputs": {"type": "array", "items": named_input},
            "nodes": {"type": "array", "items": {"oneOf": nodes}},
        },
        "nodes",
    )


SCHEMAS: dict[str, SchemaEntry] = {
    "flow.dag": SchemaEntry("A flow of nodes: flow.dag.yaml.", partial(json_schema, "dag")),
    "flow.flex": SchemaEntry("A flow that is Python code: flow.flex.yaml.", partial(json_schema, "flex")),
    "prompty": SchemaEntry("The front matter of a .prompty file.", partial(json_schema, "prompty")),
    "run": SchemaEntry("A batch run: run.yaml.", partial(json_schema, "run")),
    "connection": SchemaEntry("A connection: connection.yaml.", _connection),
    "experiment": SchemaEntry("Several flows in sequence: *.exp.yaml.", _experiment),
}
"""Name -> file format."""
