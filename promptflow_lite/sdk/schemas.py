"""JSON schemas (draft 2020-12) of every yaml format, as editors and checks use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from promptflow_lite.flow import INPUT_TYPES
from promptflow_lite.flow.dag import NODE_TYPES, OPERATORS, SOURCE_TYPES

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SchemaEntry:
    """One file format."""

    description: str
    build: Callable[[], Schema]


def schema_of(name: str) -> Schema:
    """The schema of a format; see `SCHEMAS` for the names."""
    entry = SCHEMAS[name]
    body = entry.build()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "description": entry.description}
    return {**head, **body}


def _text(description: str = "") -> Schema:
    return {"type": "string", **({"description": description} if description else {})}


def _one_of_texts(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _map_of(schema: Schema) -> Schema:
    """A mapping; an empty list or nothing counts as an empty one."""
    return {"anyOf": [{"type": "object", "additionalProperties": schema}, {"type": "array", "maxItems": 0}, _NULL]}


def _closed(properties: Schema, *required: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }


_NULL: Schema = {"type": "null"}
_BOOL: Schema = {"type": "boolean"}
_ANY: Schema = {}
_REFERENCE: Schema = {"type": "string", "pattern": r"^\$\{.+\}$", "description": "${inputs.name} or ${node.output}"}
_POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_TAGS = {"type": ["object", "array", "null"]}

_METADATA: Schema = {
    "$schema": _text(),
    "id": _text(),
    "name": _text(),
    "type": _one_of_texts("standard", "evaluation", "chat"),
    "display_name": _text(),
    "description": _text(),
    "tags": _TAGS,
    "version": {"type": ["string", "number", "integer"]},
    "language": _one_of_texts("python"),
}

_ENVIRONMENT: Schema = _closed(
    {
        "python_requirements_txt": _text("Requirements file to install in builds."),
        "image": _text("Base image of builds."),
        "conda_file": _text(),
        "setup_sh": _text("Script to run in builds."),
    }
)
_VARIABLES: Schema = _map_of({"type": ["string", "number", "boolean", "object", "array", "null"]})
_INCLUDES: Schema = {"type": ["array", "null"], "items": _text("File or folder to merge into the flow.")}

_INPUT: Schema = _closed(
    {
        "type": _one_of_texts(*INPUT_TYPES),
        "default": _ANY,
        "description": _text(),
        "enum": {"type": "array"},
        "is_chat_input": _BOOL,
        "is_chat_history": {"type": ["boolean", "null"]},
        "name": _text(),
        "ui_hints": {"type": "object"},
    }
)
_OUTPUT: Schema = _closed(
    {
        "type": _text(),
        "reference": _ANY,
        "description": _text(),
        "is_chat_output": _BOOL,
        "evaluation_only": _BOOL,
        "name": _text(),
    }
)
_SOURCE: Schema = _closed(
    {
        "type": _one_of_texts(*SOURCE_TYPES),
        "path": _text("File or folder relative to the flow."),
        "tool": _text("Id of a package tool."),
    }
)
_ACTIVATE: Schema = {
    **_closed({"when": _ANY, **dict.fromkeys(OPERATORS, _ANY)}, "when"),
    "description": "Run the node only when the value of `when` satisfies the one condition given.",
    "minProperties": 2,
    "maxProperties": 2,
}
_RETRY: Schema = {
    "description": "Try a failing node again: a number of attempts, or a mapping.",
    "anyOf": [
        _COUNT,
        _closed({"max_attempts": _COUNT, "delay_s": {"type": "number", "minimum": 0}, "backoff": _POSITIVE}),
        {"const": False},
    ],
}
_REPEAT: Schema = {
    **_closed({"until": _ANY, "max": _COUNT, "carry": {"type": "object"}}, "until"),
    "description": "Run a flow node again until ${outputs.NAME} is true.",
}
_NODE_BODY: Schema = {
    "type": _one_of_texts(*NODE_TYPES),
    "source": _SOURCE,
    "inputs": _map_of(_ANY),
    "connection": _text("Name of a connection."),
    "api": _one_of_texts("chat", "completion"),
    "provider": _text(),
    "module": _text(),
    "tool": _text(),
    "aggregation": _BOOL,
    "reduce": _BOOL,
    "use_variants": _BOOL,
    "activate": _ACTIVATE,
    "enable_cache": {**_BOOL, "description": "Answer from the cache when code, inputs and model are the same."},
    "skip": _ANY,
    "comment": _text(),
    "description": _text(),
    "retry": _RETRY,
    "timeout_s": {**_POSITIVE, "description": "Seconds after which the node fails."},
    "for_each": {**_REFERENCE, "description": "A list; the node runs once for each element."},
    "concurrency": {**_COUNT, "description": "Elements of `for_each` that run at once."},
    "repeat": _REPEAT,
}
_NODE: Schema = _closed({"name": {"type": "string", "pattern": r"^[^.]+$"}, **_NODE_BODY}, "name")
_VARIANT_GROUP: Schema = _closed(
    {
        "default_variant_id": _text(),
        "variants": {
            "type": "object",
            "additionalProperties": _closed(
                {"node": _closed({"name": _text(), **_NODE_BODY}), "description": _text()}, "node"
            ),
        },
    },
    "variants",
)


def _dag() -> Schema:
    return _closed(
        {
            **_METADATA,
            "inputs": _map_of(_INPUT),
            "outputs": _map_of(_OUTPUT),
            "nodes": {"type": ["array", "null"], "items": _NODE},
            "node_variants": _map_of(_VARIANT_GROUP),
            "tools": {"type": "array", "items": {"type": "object"}},
            "environment": _ENVIRONMENT,
            "environment_variables": _VARIABLES,
            "additional_includes": _INCLUDES,
            "message_format": _one_of_texts("basic", "openai-vision"),
        }
    )


_SIGNATURE: Schema = _map_of(
    _closed({"type": _text(), "default": _ANY, "description": _text(), "enum": {"type": "array"}})
)
_SAMPLE_PART: Schema = {"anyOf": [{"type": "object"}, {"type": "string", "pattern": r"^\$\{file:.+\}$"}]}


def _flex() -> Schema:
    return _closed(
        {
            **_METADATA,
            "entry": {"type": "string", "pattern": r"^[a-zA-Z0-9_.]+:[a-zA-Z0-9_]+$", "description": "module:name"},
            "inputs": _map_of(_INPUT),
            "outputs": _map_of(_OUTPUT),
            "init": _SIGNATURE,
            "sample": _closed({"init": _SAMPLE_PART, "inputs": _SAMPLE_PART}),
            "environment": _ENVIRONMENT,
            "environment_variables": _VARIABLES,
            "additional_includes": _INCLUDES,
            "code": _text("Folder of the code; the file's own by default."),
            "message_format": _one_of_texts("basic", "openai-vision"),
        },
        "entry",
    )


def _prompty() -> Schema:
    configuration = {
        "type": "object",
        "properties": {
            "type": _one_of_texts("azure_openai", "openai", "AzureOpenAI", "OpenAI"),
            "azure_deployment": _text(),
            "azure_endpoint": _text(),
            "api_version": _text(),
            "api_key": _text(),
            "model": _text(),
            "base_url": _text(),
            "organization": _text(),
            "connection": _text("Name of a connection."),
        },
    }
    model = _closed(
        {
            "api": _one_of_texts("chat", "completion"),
            "configuration": configuration,
            "parameters": {"type": "object", "description": "Sent with every request."},
            "response": _one_of_texts("first", "all"),
        }
    )
    return {
        "type": "object",
        "required": ["model"],
        "properties": {
            **{key: value for key, value in _METADATA.items() if key != "language"},
            "authors": {"type": "array"},
            "model": model,
            "inputs": _map_of(_ANY),
            "outputs": _map_of(_ANY),
            "sample": {"anyOf": [{"type": "object"}, _text("A JSON file.")]},
            "template": _ANY,
        },
    }


def _run() -> Schema:
    return _closed(
        {
            "$schema": _text(),
            "name": _text(),
            "display_name": _text(),
            "description": _text(),
            "tags": {"type": "object"},
            "properties": {"type": "object"},
            "flow": _text("Folder or file of the flow, or module:name."),
            "data": _text("Data file or folder."),
            "column_mapping": {"type": "object"},
            "run": _text("Name of a completed run."),
            "variant": {"type": "string", "pattern": r"^\$\{.+\..+\}$"},
            "environment_variables": {"anyOf": [{"type": "object"}, _text("A .env file.")]},
            "connections": {"type": "object", "additionalProperties": {"type": "object"}},
            "init": {"anyOf": [{"type": "object"}, _text("A JSON file.")]},
            "resume_from": _text("Name of a run."),
            "runtime": _ANY,
            "resources": _ANY,
            "identity": _ANY,
        }
    )


def _connection() -> Schema:
    from promptflow_lite.connections import CONNECTION_TYPES

    kinds = [kind.yaml_type for kind in CONNECTION_TYPES]
    keys = dict.fromkeys((key for kind in CONNECTION_TYPES for key in (*kind.config_keys, *kind.secret_keys)), _ANY)
    own = {
        "$schema": _text(),
        "name": _text(),
        "type": _one_of_texts(*kinds),
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
    "flow.dag": SchemaEntry("A flow of nodes: flow.dag.yaml.", _dag),
    "flow.flex": SchemaEntry("A flow that is Python code: flow.flex.yaml.", _flex),
    "prompty": SchemaEntry("The front matter of a .prompty file.", _prompty),
    "run": SchemaEntry("A batch run: run.yaml.", _run),
    "connection": SchemaEntry("A connection: connection.yaml.", _connection),
    "experiment": SchemaEntry("Several flows in sequence: *.exp.yaml.", _experiment),
}
"""Name -> file format."""
