"""Chat templates out of model files: rendered in a sandbox, failures named."""

from __future__ import annotations

from typing import Any

import pytest

from promptflow_lite.engine.chat import ChatTemplate
from promptflow_lite.engine.grammar import grammar_of_schema, smallest_instance, tool_call_schema
from promptflow_lite.errors import EngineRequestError, GrammarError

HELLO = [{"role": "user", "content": "Hello"}]
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def test_model_without_a_template_gets_a_plain_one() -> None:
    assert ChatTemplate("").render(HELLO) == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ raise_exception('roles must alternate') }}",
        "{{ 1 / 0 }}",
        "{{ messages[0]['content'] + 1 }}",
    ],
)
def test_hostile_or_broken_template_is_an_error_of_the_model(source: str) -> None:
    with pytest.raises(EngineRequestError):
        ChatTemplate(source).render(HELLO)


def test_unparsable_template_is_an_error_of_the_model() -> None:
    with pytest.raises(EngineRequestError, match="cannot be parsed"):
        ChatTemplate("{% if %}")


def test_tools_are_introduced_where_the_template_knows_none() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    messages = [
        {"role": "system", "content": "Be kind."},
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "a tree"},
    ]

    text = ChatTemplate("").render(messages, [TOOL])

    assert text.startswith("<|im_start|>system\nBe kind.\n\nYou may call these functions:")
    assert '<tool_call>{"name": "look", "arguments": {"at": 1}}</tool_call>' in text
    assert "<tool_response>a tree</tool_response>" in text


def test_template_that_knows_tools_gets_them_as_data() -> None:
    template = ChatTemplate("{% for tool in tools %}{{ tool.function.name | tojson }}{% endfor %}")

    assert template.render(HELLO, [TOOL]) == '"look"'


def test_text_parts_are_joined_and_pictures_refused() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,xx"}}]

    assert "ab" in ChatTemplate("").render([{"role": "user", "content": parts}])
    with pytest.raises(EngineRequestError, match="image_url"):
        ChatTemplate("").render([{"role": "user", "content": picture}])


@pytest.mark.parametrize(
    "schema",
    [
        [],
        {"type": "nonsense"},
        {"type": "string", "maxLength": 10**9},
        {"type": "array", "items": {"type": "string"}, "minItems": -1},
        {"$ref": "#/nowhere"},
    ],
)
def test_schema_that_no_grammar_can_say_is_refused(schema: Any) -> None:
    with pytest.raises(GrammarError):
        grammar_of_schema(schema)


def test_schema_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"inner": schema}}

    with pytest.raises(GrammarError, match="nested"):
        grammar_of_schema(schema)


@pytest.mark.parametrize(
    ("schema", "smallest"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, '{"a": 0}'),
        ({"type": "array", "items": {"enum": ["long", "x"]}, "minItems": 2}, '["x", "x"]'),
        ({"anyOf": [{"const": "abc"}, {"type": "null"}]}, "null"),
        ({"$ref": "#/$defs/flag", "$defs": {"flag": {"type": "boolean"}}}, "true"),
        ({"type": ["string", "null"], "minLength": 2}, '"xx"'),
    ],
)
def test_smallest_instance_fits_its_schema(schema: Any, smallest: str) -> None:
    assert smallest_instance(schema) == smallest


def test_tool_schema_holds_one_call_of_any_function() -> None:
    tools = [{"name": "a"}, {"name": "b", "parameters": {"type": "object"}}]

    assert [part["properties"]["name"]["const"] for part in tool_call_schema(tools)["anyOf"]] == ["a", "b"]
