"""JSON schemas of the files people write, for editors and checkers; the keys are those that the parsers read."""

from __future__ import annotations

from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow.dag import NODE_TYPES, OPERATORS
from promptflow_lite.flow.model import INPUT_TYPES

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE_PATTERN = r"^\$\{.+\}$"


def json_schema(kind: str) -> Schema:
    """The schema of `dag` (`flow.dag.yaml`), `flex`, `prompty` (its front matter) or `run` (`run.yaml`).

    Raises:
        UserErrorException: another kind.
    """
    builders = {"dag": _dag, "flex": _flex, "prompty": _prompty, "run": _run}
    if kind not in builders:
        hint = did_you_mean(kind, builders)
        raise UserErrorException(f"There is no schema {kind!r}.", hint=hint)

    return {"$schema": DIALECT, **builders[kind]()}


SCHEMA_KINDS = ("dag", "flex", "prompty", "run")


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description, "default": False}


def _positive(description: str, kind: str = "number", **more: Any) -> Schema:
    return {"type": kind, "exclusiveMinimum": 0, "description": description, **more}


def _object(description: str, properties: Schema, *, required: tuple[str, ...] = (), is_open: bool = False) -> Schema:
    schema: Schema = {"type": "object", "description": description, "properties": properties}
    if required:
        schema["required"] = list(required)

    return schema if is_open else {**schema, "additionalProperties": False}


def _map_of(description: str, value: Schema) -> Schema:
    return {"type": ["object", "null"], "description": description, "additionalProperties": value}


def _section(description: str, value: Schema) -> Schema:
    """A mapping that may also be written as an empty list."""
    return {
        "description": description,
        "anyOf": [
            {"type": "object", "additionalProperties": value},
            {"type": "array", "maxItems": 0},
            {"type": "null"},
        ],
    }


def _reference(description: str) -> Schema:
    return _text(description, pattern=REFERENCE_PATTERN, examples=["${inputs.question}", "${node_name.output}"])


def _metadata() -> Schema:
    return {
        "$schema": _text("Ignored; editors use it to find this schema."),
        "type": _text("What the flow is for.", enum=["standard", "evaluation", "chat"], default="standard"),
        "display_name": _text("Name shown to people."),
        "description": _text("What the flow does."),
        "tags": {"type": ["object", "null"], "description": "Words to find the flow by."},
        "version": {"type": ["string", "number"], "description": "Version of the flow; metadata only."},
        "language": _text("Language of the flow's code; only python runs here.", default="python"),
        "environment": {
            "type": ["object", "null"],
            "description": "What a built image contains (python_requirements_txt, image …); not used to run locally.",
        },
        "environment_variables": _map_of(
            "Variables set for the flow's code. A value '${connection.key}' becomes that connection's key.", {}
        ),
        "additional_includes": {
            "type": ["array", "null"],
            "items": {"type": "string"},
            "description": "Files and folders from elsewhere that appear in the flow's folder under their own names.",
            "examples": [["../shared/tools.py"]],
        },
        "message_format": _text(
            "How images are written in inputs and outputs.", enum=["basic", "openai-vision"], default="basic"
        ),
    }


def _input() -> Schema:
    return _object(
        "A flow input.",
        {
            "type": _text("Type that values are converted to.", enum=list(INPUT_TYPES)),
            "default": {"description": "Value when none is given; null means the input is required."},
            "description": _text("What the input means."),
            "enum": {"type": "array", "description": "Values to offer; not enforced."},
            "is_chat_input": _flag("Whether this is the user's message of a chat."),
            "is_chat_history": {"type": ["boolean", "null"], "description": "Whether this is the history of a chat."},
            "name": _text("Ignored."),
            "ui_hints": {"description": "Ignored."},
        },
        required=("type",),
    )


def _output() -> Schema:
    return _object(
        "A flow output.",
        {
            "type": _text("Declared type; values are not converted."),
            "reference": {
                "description": "Where the value comes from: '${node.output}', '${inputs.name}', or a literal.",
                "examples": ["${answer.output}", "${answer.output.text}"],
            },
            "description": _text("What the output means."),
            "is_chat_output": _flag("Whether this is the answer of a chat."),
            "evaluation_only": _flag("Kept in runs, left out of HTTP responses."),
            "name": _text("Ignored."),
        },
        required=("reference",),
    )


def _activate() -> Schema:
    operators = {
        "is": {"description": "Run when the value equals this."},
        "not": {"description": "Run when the value differs from this."},
        "in": {"type": "array", "description": "Run when the value is one of these."},
        "not_in": {"type": "array", "description": "Run when the value is none of these."},
        "lt": {"description": "Run when the value is less than this."},
        "le": {"description": "Run when the value is at most this."},
        "gt": {"description": "Run when the value is greater than this."},
        "ge": {"description": "Run when the value is at least this."},
    }
    when = {"description": "The value to look at, usually a reference.", "examples": ["${inputs.kind}"]}
    schema = _object("Run the node only under a condition; otherwise it is bypassed.", {"when": when, **operators})
    return {**schema, "required": ["when"], "oneOf": [{"required": [name]} for name in OPERATORS]}


def _node_body() -> Schema:
    source = _object(
        "Where the node's code or template is.",
        {
            "type": _text("Kind of source.", enum=["code", "package", "package_with_prompt"], default="code"),
            "path": _text("File relative to the flow's folder; for a sub-flow, its folder or file."),
            "tool": _text("Id of a package tool.", examples=["promptflow.tools.embedding.embedding"]),
        },
    )
    retry = {
        "description": "Try again when the node fails.",
        "anyOf": [
            {"type": "integer", "minimum": 1, "description": "Number of attempts."},
            {"const": False},
            _object(
                "Attempts and waits.",
                {
                    "max_attempts": _positive("Attempts in all.", "integer", default=1),
                    "delay_s": {"type": "number", "minimum": 0, "description": "Seconds before the second attempt."},
                    "backoff": _positive("Factor by which each further wait grows.", default=2),
                },
            ),
        ],
    }
    repeat = _object(
        "Run a sub-flow again until its outputs satisfy a condition.",
        {
            "until": {"description": "Stop when this is true: '${outputs.NAME}' of the sub-flow."},
            "max": _positive("Rounds at most.", "integer", default=3),
            "carry": {
                "type": "object",
                "description": "Inputs of the next round from the outputs of this one: 'draft: ${outputs.draft}'.",
            },
        },
        required=("until",),
    )
    return {
        "type": _text("Kind of node.", enum=list(NODE_TYPES)),
        "source": source,
        "inputs": _section("Input name to literal or reference '${…}'.", {}),
        "connection": _text("Connection of an LLM node; without one the default model answers."),
        "api": _text("API of an LLM node.", examples=["chat", "completion"]),
        "provider": _text("Provider of an LLM node; the connection's kind decides when there is one."),
        "module": _text("Module of an LLM tool; kept for compatibility."),
        "tool": _text("Name of an entry of the legacy top-level 'tools'."),
        "aggregation": _flag("Run once after all lines, over lists of their values."),
        "reduce": _flag("Old name of 'aggregation'."),
        "use_variants": _flag("Take the node's body from 'node_variants'."),
        "activate": _activate(),
        "enable_cache": _flag("Reuse the stored output when code, inputs and model are the same."),
        "retry": retry,
        "timeout_s": _positive("Seconds after which the node fails."),
        "for_each": _reference("A list; the node runs once for every element, which it reads as ${item}."),
        "concurrency": _positive("Elements of 'for_each' that run at once.", "integer", default=4),
        "repeat": repeat,
        "comment": {"description": "Ignored."},
        "description": _text("What the node does; ignored."),
        "skip": {"description": "A removed feature; ignored."},
    }


def _dag() -> Schema:
    body = _node_body()
    node = _object(
        "A node.", {"name": _text("Unique name, without dots.", pattern=r"^[^.]+$"), **body}, required=("name",)
    )
    variant = _object(
        "One variant.",
        {"node": _object("The node's body in this variant.", body), "description": _text("What differs.")},
        required=("node",),
    )
    variants = _object(
        "Variants of one node.",
        {
            "default_variant_id": _text("The variant that runs when none is selected."),
            "variants": _map_of("Variant name to variant.", variant),
        },
        required=("default_variant_id", "variants"),
    )
    return {
        "title": "flow.dag.yaml",
        **_object(
            "A flow of nodes.",
            {
                "id": _text("Recorded with runs."),
                "name": _text("Name; the folder's name when absent."),
                "inputs": _section("Inputs by name.", _input()),
                "outputs": _section("Outputs by name.", _output()),
                "nodes": {"type": ["array", "null"], "description": "Nodes, in any order.", "items": node},
                "node_variants": _map_of("Node name to its variants.", variants),
                "tools": {"type": ["array", "null"], "description": "Legacy inline tool metadata."},
                **_metadata(),
            },
        ),
    }


def _signature(types: bool) -> Schema:
    kinds: Schema = {"enum": list(INPUT_TYPES)} if types else {}
    return _object(
        "A parameter.",
        {
            "type": _text("Type that values are converted to.", **kinds),
            "default": {"description": "Value when none is given."},
            "description": _text("What the parameter means."),
            "enum": {"type": "array", "description": "Values to offer; not enforced."},
            "is_chat_input": _flag("Whether this is the user's message of a chat."),
            "is_chat_history": {"type": ["boolean", "null"], "description": "Whether this is the history of a chat."},
        },
        required=("type",),
    )


def _plain_output() -> Schema:
    properties = {"type": _text("Declared type."), "description": _text("What the output means.")}
    return _object("An output.", {**properties, "is_chat_output": _flag("Whether this is the answer of a chat.")})


def _flex() -> Schema:
    values = {"anyOf": [{"type": "object"}, _text("Reference to a JSON file.", pattern=r"^\$\{file:.+\}$")]}
    sample = {
        "inputs": {"description": "Values of inputs, or '${file:sample.json}'.", **values},
        "init": {"description": "Values of constructor parameters, or '${file:sample.json}'.", **values},
    }
    return {
        "title": "flow.flex.yaml",
        **_object(
            "A flow that is a Python function or class.",
            {
                "entry": _text(
                    "Function or class, as module:name.",
                    pattern=r"^[a-zA-Z0-9_.]+:[a-zA-Z0-9_]+$",
                    examples=["my_flow:answer"],
                ),
                "inputs": _map_of("Inputs; inferred from the code when absent.", _signature(True)),
                "outputs": _map_of("Outputs; inferred from the code when absent.", _plain_output()),
                "init": _map_of("Constructor parameters of a class.", _signature(False)),
                "sample": _object("Values used when none are given.", sample),
                "code": _text("Folder of the code; the file's own folder by default."),
                "name": _text("Accepted and ignored."),
                **_metadata(),
            },
            required=("entry",),
        ),
    }


def _prompty() -> Schema:
    configuration = _object(
        "The model: a connection by name, or credentials, or only a deployment or model name.",
        {
            "type": _text("Kind of model.", examples=["azure_openai", "openai"]),
            "connection": _text("Name of a connection."),
            "azure_deployment": _text("Deployment on Azure."),
            "azure_endpoint": _text("Endpoint on Azure."),
            "api_version": _text("API version on Azure."),
            "api_key": _text("Key; write ${env:NAME} and keep the key in the environment."),
            "model": _text("Model name."),
            "base_url": _text("Base URL of an OpenAI-compatible server."),
            "organization": _text("OpenAI organization."),
        },
        is_open=True,
    )
    model = _object(
        "What answers, and how.",
        {
            "api": _text("API to call.", enum=["chat", "completion"], default="chat"),
            "configuration": configuration,
            "parameters": {
                "type": ["object", "null"],
                "description": "Request parameters, passed on as they are (temperature, max_tokens, tools …).",
            },
            "response": _text("The first answer, or the whole response.", enum=["first", "all"], default="first"),
        },
    )
    sample = {
        "description": "Sample input values, or a JSON file that holds them.",
        "type": ["object", "string", "null"],
    }
    parameter = {**_signature(True), "required": []}
    return {
        "title": "Front matter of a .prompty file",
        **_object(
            "A prompt with its model and inputs.",
            {
                "name": _text("Name; the file's name when absent."),
                "authors": {"type": ["array", "string", "null"], "description": "Who wrote it."},
                "model": model,
                "inputs": _map_of("Inputs by name.", {"anyOf": [parameter, {"not": {"type": "object"}}]}),
                "outputs": _map_of("Keys to keep of a JSON answer.", _plain_output()),
                "sample": sample,
                "template": {"description": "Template engine; only jinja2."},
                "format": {"description": "Ignored."},
                **{key: value for key, value in _metadata().items() if key not in ("language", "additional_includes")},
                "tags": {"type": ["object", "array", "null"], "description": "Words to find the prompt by."},
            },
            required=("model",),
            is_open=True,
        ),
    }


def _run() -> Schema:
    override = _object(
        "Inputs of one node to replace.",
        {
            "connection": _text("Connection name."),
            "deployment_name": _text("Deployment name."),
            "model": _text("Model name."),
        },
        is_open=True,
    )
    return {
        "title": "run.yaml",
        **_object(
            "A run of a flow over data.",
            {
                "$schema": _text("Ignored; editors use it to find this schema."),
                "name": _text("Unique name of the run."),
                "display_name": _text("Name shown to people; '${variant_id}' and '${timestamp}' are filled in."),
                "description": _text("What the run is for."),
                "tags": {"type": ["object", "null"], "description": "Words to find the run by."},
                "properties": {"type": ["object", "null"], "description": "Free properties, kept with the run."},
                "flow": _text("The flow: a path relative to this file, or module:name."),
                "data": _text("Data file or folder, relative to this file."),
                "column_mapping": _map_of(
                    "Flow input to '${data.COLUMN}', '${run.outputs.NAME}', '${run.inputs.COLUMN}' or a literal.", {}
                ),
                "run": _text("Name of a finished run to evaluate."),
                "variant": _text("Variant to use, as '${node.variant}'."),
                "environment_variables": {
                    "type": ["object", "string", "null"],
                    "description": "Variables for the flow's code, or the path of a .env file.",
                },
                "connections": _map_of("Node name to the inputs to replace.", override),
                "init": {
                    "type": ["object", "string", "null"],
                    "description": "Constructor values of a flex flow, or a JSON file with them.",
                },
                "resume_from": _text("Name of an unfinished run to continue."),
                "runtime": {"description": "Cloud only; ignored."},
                "resources": {"description": "Cloud only; ignored."},
                "identity": {"description": "Cloud only; ignored."},
            },
            required=("flow",),
        ),
    }
