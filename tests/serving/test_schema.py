"""The OpenAPI documents of a served flow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.flow import DagFlow, InputSpec, OutputSpec
from promptflow_lite.serving.schema import describe_interface, input_schema, openapi_document, swagger_document


def flow(root: Path, inputs: list[InputSpec], outputs: list[OutputSpec]) -> DagFlow:
    return DagFlow(
        path=root / "flow.dag.yaml",
        root=root,
        name="n",
        inputs={spec.name: spec for spec in inputs},
        outputs={spec.name: spec for spec in outputs},
        nodes=(),
    )


def output(name: str, **kwargs: Any) -> OutputSpec:
    return OutputSpec(name=name, reference=None, **kwargs)


@pytest.mark.parametrize(
    ("type_name", "schema"),
    [
        ("int", {"type": "integer"}),
        ("double", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("string", {"type": "string"}),
        ("list", {"type": "array", "items": {"type": "object", "additionalProperties": {}}}),
        ("object", {"type": "object", "additionalProperties": {}}),
        ("image", {"type": "object", "additionalProperties": {}}),
    ],
)
def test_each_input_type_has_its_swagger_schema(tmp_path: Path, type_name: str, schema: dict[str, Any]) -> None:
    document = swagger_document(
        describe_interface(flow(tmp_path, [InputSpec(name="x", type=type_name, description="d")], []))
    )

    request = document["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert request["properties"]["x"] == {**schema, "description": "d"}


def test_swagger_lists_all_inputs_as_required_and_hides_evaluation_outputs(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text(json.dumps([{"a": "hello"}]))
    described = describe_interface(
        flow(
            tmp_path,
            [InputSpec(name="a"), InputSpec(name="b", default="x")],
            [output("o"), output("score", type="double", evaluation_only=True)],
        )
    )
    document = swagger_document(described)

    operation = document["paths"]["/score"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    assert content["schema"]["required"] == ["a", "b"]
    assert content["schema"]["properties"]["b"]["default"] == "x"
    assert content["example"] == {"a": "hello"}
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["properties"] == {"o": {"type": "string"}}
    assert document["openapi"] == "3.0.0"
    assert document["info"]["title"] == f"Promptflow[{tmp_path.name}] API"
    assert "x-flow-type" not in document["info"]
    assert input_schema(described)["required"] == ["a"]


def test_chat_flows_say_which_fields_are_the_conversation(tmp_path: Path) -> None:
    described = describe_interface(
        flow(
            tmp_path,
            [InputSpec(name="question", is_chat_input=True), InputSpec(name="chat_history", type="list", default=[])],
            [output("answer", is_chat_output=True)],
        )
    )

    info = swagger_document(described)["info"]
    assert (info["x-flow-type"], info["x-chat-input"], info["x-chat-history"], info["x-chat-output"]) == (
        "chat",
        "question",
        "chat_history",
        "answer",
    )
    assert "/v1/chat/completions" in openapi_document(described, version="1", requires_key=False)["paths"]


def test_a_history_input_can_be_declared_not_to_be_one(tmp_path: Path) -> None:
    described = describe_interface(
        flow(
            tmp_path,
            [
                InputSpec(name="question", is_chat_input=True),
                InputSpec(name="chat_history", type="list", default=[], is_chat_history=False),
            ],
            [output("answer", is_chat_output=True)],
        )
    )

    assert not described.is_chat
    assert "/v1/models" not in openapi_document(described, version="1", requires_key=True)["paths"]
