"""A flow's interface as OpenAPI documents: 3.0 for clients of the original, 3.1 for everything this server offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from promptflow_lite._utils.jsonable import loads
from promptflow_lite.flow import DagFlow, FlexFlow, Flow, InputSpec, OutputSpec, chat_roles

JsonSchema = dict[str, Any]

_SCHEMA_BY_TYPE: dict[str, JsonSchema] = {
    "int": {"type": "integer"},
    "double": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array", "items": {"type": "object", "additionalProperties": {}}},
    "object": {"type": "object", "additionalProperties": {}},
    "image": {"type": "object", "additionalProperties": {}},
}
_SCHEMA_31_BY_TYPE: dict[str, JsonSchema] = {
    "int": {"type": "integer"},
    "double": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "object": {"type": ["object", "array", "string", "number", "boolean"]},
    "image": {"type": ["object", "string"]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What a served flow takes and gives, whatever kind of flow it is."""

    name: str
    kind: Literal["dag", "flex", "prompty"] = "dag"
    inputs: dict[str, InputSpec]
    outputs: dict[str, OutputSpec]
    chat_input: str | None = None
    chat_history: str | None = None
    chat_output: str | None = None
    sample: dict[str, Any] | None = None
    """Example inputs."""

    @property
    def is_chat(self) -> bool:
        return self.chat_input is not None and self.chat_history is not None

    @property
    def hidden_outputs(self) -> frozenset[str]:
        """Outputs that only evaluations see."""
        return frozenset(name for name, output in self.outputs.items() if output.evaluation_only)


def describe_interface(
    flow: Flow, *, name: str | None = None, inputs: Mapping[str, InputSpec] | None = None
) -> Interface:
    """The interface of a flow.

    Args:
        flow: The flow.
        name: Default: the name of its folder.
        inputs: Its inputs when the flow's file declares none and they were inferred from the code.
    """
    inputs = dict(flow.inputs or inputs or {})
    outputs = dict(flow.outputs or {})
    roles = chat_roles(flow)
    return Interface(
        name=name or flow.root.stem or flow.name,
        kind="dag" if isinstance(flow, DagFlow) else "flex" if isinstance(flow, FlexFlow) else "prompty",
        inputs=inputs,
        outputs=outputs,
        chat_input=roles.input if roles.is_chat else None,
        chat_history=roles.history if roles.is_chat else None,
        chat_output=roles.output if roles.is_chat else None,
        sample=_sample_inputs(flow.root),
    )


def _sample_inputs(root: Path) -> dict[str, Any] | None:
    try:
        samples = loads((root / "samples.json").read_bytes())
    except (OSError, ValueError):
        return None

    return samples[0] if isinstance(samples, list) and samples and isinstance(samples[0], dict) else None


def swagger_document(interface: Interface) -> dict[str, Any]:
    """The OpenAPI 3.0.0 document of `/swagger.json`, as the original's clients know it."""
    request = {
        "type": "object",
        "properties": {name: _swagger_property(spec) for name, spec in interface.inputs.items()},
    }
    if interface.inputs:
        request["required"] = list(interface.inputs)

    content: dict[str, Any] = {"schema": request}
    if interface.sample is not None:
        content["example"] = interface.sample

    info: dict[str, Any] = {
        "title": f"Promptflow[{interface.name}] API",
        "version": "1.0.0",
        "x-flow-name": interface.name,
    }
    if interface.is_chat:
        info["x-flow-type"] = "chat"
        info["x-chat-input"] = interface.chat_input
        info["x-chat-history"] = interface.chat_history
        info["x-chat-output"] = interface.chat_output

    return {
        "openapi": "3.0.0",
        "info": info,
        "components": {"securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer"}}},
        "security": [{"bearerAuth": []}],
        "paths": {
            "/score": {
                "post": {
                    "summary": f"run promptflow: {interface.name} with an given input",
                    "requestBody": {
                        "description": "promptflow input data",
                        "required": True,
                        "content": {"application/json": content},
                    },
                    "responses": {
                        "200": {
                            "description": "successful operation",
                            "content": {"application/json": {"schema": _swagger_outputs(interface)}},
                        },
                        "400": {"description": "Invalid input"},
                        "default": {"description": "unexpected error"},
                    },
                }
            },
            "/feedback": {
                "post": {
                    "summary": "collect promptflow feedback",
                    "requestBody": {
                        "description": "promptflow feedback data",
                        "required": True,
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    },
                    "responses": {
                        "200": {"description": "successful operation"},
                        "400": {"description": "Invalid input"},
                        "default": {"description": "unexpected error"},
                    },
                }
            },
        },
    }


def _swagger_property(spec: InputSpec) -> JsonSchema:
    prop: JsonSchema = dict(_SCHEMA_BY_TYPE.get(spec.type, {"type": "string"}))
    if spec.description:
        prop["description"] = spec.description

    if spec.default:
        prop["default"] = spec.default

    return prop


def _swagger_outputs(interface: Interface) -> JsonSchema:
    properties: dict[str, JsonSchema] = {}
    for name, output in interface.outputs.items():
        if output.evaluation_only:
            continue

        properties[name] = dict(_SCHEMA_BY_TYPE.get(output.type, {"type": "string"}))
        if output.description:
            properties[name]["description"] = output.description
    return {"type": "object", "properties": properties}


def input_schema(interface: Interface) -> JsonSchema:
    """JSON Schema (2020-12) of the inputs as they are really checked: only inputs without a default are required."""
    schema: JsonSchema = {
        "type": "object",
        "properties": {name: _property_31(spec) for name, spec in interface.inputs.items()},
        "additionalProperties": True,
    }
    required = [name for name, spec in interface.inputs.items() if spec.default is None]
    if required:
        schema["required"] = required

    return schema


def _property_31(spec: InputSpec) -> JsonSchema:
    prop: JsonSchema = dict(_SCHEMA_31_BY_TYPE.get(spec.type, {"type": "string"}))
    if spec.description:
        prop["description"] = spec.description

    if spec.default is not None:
        prop["default"] = spec.default

    if spec.enum:
        prop["examples"] = list(spec.enum)

    return prop


_ERROR_SCHEMA: JsonSchema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "UserError or SystemError"},
                "message": {"type": "string"},
                "errorCode": {"type": "string", "description": "Stable code to search for"},
                "hint": {"type": "string"},
                "requestId": {"type": "string"},
            },
        }
    },
}


_EVENT_SCHEMA: JsonSchema = {
    "type": "object",
    "description": "One event of the stream; `data` is JSON text.",
    "required": ["data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
}


def openapi_document(interface: Interface, *, version: str, requires_key: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document of everything this server offers."""
    answer = {"type": "object", "description": "One member for each output of the flow."}
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Inputs"}}}
    if interface.sample is not None:
        body["application/json"]["example"] = interface.sample

    stream = {"text/event-stream": {"schema": _EVENT_SCHEMA}}
    paths: dict[str, Any] = {
        "/score": {"post": _operation("Run the flow once", "score", _json_ok(answer, **stream), body)},
        "/v1/run": {
            "post": _operation(
                "Run the flow once; event streams end with an `end` or `error` event",
                "run",
                _json_ok(answer, **stream),
                body,
            )
        },
        "/feedback": {
            "post": _operation(
                "Tell how an answer was received",
                "feedback",
                _json_ok({"type": "object"}),
                {"application/json": {"schema": {"type": "object"}}},
                [{"name": "flatten", "in": "query", "schema": {"type": "boolean"}}],
            )
        },
        "/health": {"get": _operation("Whether the flow can answer", "health", _json_ok({"type": "object"}))},
        "/version": {"get": _operation("Which build answers", "version", _json_ok({"type": "object"}))},
        "/swagger.json": {"get": _operation("OpenAPI 3.0 document", "swagger", _json_ok({"type": "object"}))},
        "/openapi.json": {"get": _operation("This document", "openapi", _json_ok({"type": "object"}))},
    }
    if interface.is_chat:
        paths |= _chat_paths()

    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": interface.name, "version": version},
        "paths": paths,
        "components": {"schemas": {"Inputs": input_schema(interface), "Error": _ERROR_SCHEMA}},
    }
    if requires_key:
        document["components"]["securitySchemes"] = {"bearerAuth": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"bearerAuth": []}]

    return document


def _chat_paths() -> dict[str, Any]:
    message = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"type": "string", "enum": ["system", "developer", "user", "assistant", "tool"]},
            "content": {"type": ["string", "array", "null"]},
        },
    }
    request = {
        "type": "object",
        "required": ["messages"],
        "properties": {
            "model": {"type": "string"},
            "messages": {"type": "array", "items": message, "minItems": 1},
            "stream": {"type": "boolean"},
            "stream_options": {"type": ["object", "null"]},
        },
    }
    body = {"application/json": {"schema": request}}
    stream = {"text/event-stream": {"schema": _EVENT_SCHEMA}}
    return {
        "/v1/chat/completions": {
            "post": _operation("Chat as with an OpenAI model", "chat", _json_ok({"type": "object"}, **stream), body)
        },
        "/v1/models": {"get": _operation("Models: this flow", "models", _json_ok({"type": "object"}))},
    }


def _json_ok(schema: JsonSchema, **more: Any) -> dict[str, Any]:
    return {"description": "The answer", "content": {"application/json": {"schema": schema}, **more}}


def _operation(
    summary: str,
    operation_id: str,
    ok: dict[str, Any],
    body: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    error = {"description": "Refused or failed", "content": {"application/json": {"schema": _ERROR_SCHEMA_REF}}}
    codes = ["401", "403", "406", "429", "500"]
    if body is not None:
        codes = ["400", "401", "403", "406", "408", "411", "413", "415", "429", "500", "503", "504"]

    operation: dict[str, Any] = {
        "summary": summary,
        "operationId": operation_id,
        "responses": {"200": ok, **dict.fromkeys(codes, error)},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}

    if parameters:
        operation["parameters"] = parameters

    return operation


_ERROR_SCHEMA_REF: JsonSchema = {"$ref": "#/components/schemas/Error"}
