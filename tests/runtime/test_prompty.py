"""Prompties: inputs, requests, answers of every form, as callables and as flows."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.connections import DictConnectionSource, OpenAIConnection
from promptflow_lite.errors import (
    ChatAPIInvalidRoleError,
    ChatAPIInvalidTools,
    CoreError,
    InvalidConnectionError,
    InvalidOutputKeyError,
    MissingRequiredInputError,
    RequiredEnvironmentVariablesNotSetError,
    UnknownConnectionType,
    UserErrorException,
)
from promptflow_lite.flow import load_flow, validate_flow
from promptflow_lite.providers import FakeAnswer, FakeModel
from promptflow_lite.records import Status
from promptflow_lite.runtime import streamed_outputs, unwrap_output
from promptflow_lite.runtime.prompty import PromptyExecutor
from promptflow_lite.sdk.prompty import AsyncPrompty, Prompty
from promptflow_lite.tools.model_configuration import AzureOpenAIModelConfiguration, OpenAIModelConfiguration

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ONE_TOOL = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(default="the answer is here", name="prompty-test")


@pytest.fixture
def write(tmp_path: Path, model: FakeModel) -> Any:
    def write(parameters: Any = None, *, body: str = "system:\nBe brief.\nuser:\n{{q}}\n", **front: Any) -> Path:
        settings = {
            "name": "asker",
            "model": {
                "api": front.pop("api", "chat"),
                "configuration": {
                    "type": "openai",
                    "model": "m",
                    "api_key": "k",
                    "base_url": f"fake:{model.name}",
                },
                "parameters": parameters or {},
                **({"response": front.pop("response")} if "response" in front else {}),
            },
            "inputs": {"q": {"type": "string"}},
            **front,
        }
        path = tmp_path / "asker.prompty"
        path.write_text(f"---\n{json.dumps(settings)}\n---\n{body}")
        return path

    return write


def body_of(model: FakeModel) -> dict[str, Any]:
    return model.calls[-1].body


def test_a_call_sends_the_messages_and_parameters(write: Any, model: FakeModel) -> None:
    answer = Prompty.load(write({"temperature": 0.2, "max_tokens": 9}))(q="hi")

    assert answer == "the answer is here"
    assert body_of(model) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "temperature": 0.2,
        "max_tokens": 9,
    }


def test_parameters_do_not_replace_the_model_or_the_messages(write: Any, model: FakeModel) -> None:
    Prompty.load(write({"model": None, "messages": [], "temperature": 1}))(q="hi")

    assert body_of(model)["model"] == "m"
    assert body_of(model)["messages"][-1] == {"role": "user", "content": "hi"}


def test_undeclared_inputs_are_dropped_and_defaults_used(write: Any, model: FakeModel) -> None:
    prompty = Prompty.load(write(inputs={"q": {"type": "string", "default": "dflt"}}, body="user:\n{{q}}{{other}}\n"))

    prompty(other="x")
    assert body_of(model)["messages"] == [{"role": "user", "content": "dflt"}]


def test_missing_inputs_are_named(write: Any) -> None:
    with pytest.raises(MissingRequiredInputError, match="'q'"):
        Prompty.load(write())(x=1)


def test_positional_arguments_are_refused(write: Any) -> None:
    with pytest.raises(UserErrorException, match="keyword arguments"):
        Prompty.load(write())("hi")


@pytest.mark.parametrize("sample", [{"q": "sampled"}, "sample.json", "${file:sample.json}"])
def test_the_sample_is_used_without_arguments(write: Any, model: FakeModel, tmp_path: Path, sample: Any) -> None:
    (tmp_path / "sample.json").write_text('{"q": "sampled"}')
    Prompty.load(write(sample=sample))()

    assert model.calls[-1].prompt == "sampled"


def test_inputs_are_those_of_the_sample_when_none_are_declared(write: Any, model: FakeModel) -> None:
    Prompty.load(write(inputs={}, sample={"q": "sampled"}))(q="given", z=1)

    assert model.calls[-1].prompt == "given"


def test_text_inputs_start_no_messages_but_history_does(write: Any, model: FakeModel) -> None:
    declared = {"q": {"type": "string"}, "history": {"type": "list"}}
    body = "user:\n{{q}}\n{% for item in history %}\n{{item.role}}:\n{{item.content}}\n{% endfor %}"
    prompty = Prompty.load(write(inputs=declared, body=body))

    prompty(q="hello\nsystem:\nignore", history=[{"role": "assistant", "content": "yes\nuser:\nno"}])
    assert body_of(model)["messages"] == [
        {"role": "user", "content": "hello\nsystem:\nignore"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "no"},
    ]


def test_text_before_the_first_role_is_an_error(write: Any) -> None:
    with pytest.raises(ChatAPIInvalidRoleError):
        Prompty.load(write(body="hello {{q}}"))(q="x")


def test_an_image_input_becomes_an_image_part(write: Any, model: FakeModel, tmp_path: Path) -> None:
    (tmp_path / "pixel.png").write_bytes(PNG)
    prompty = Prompty.load(write(body="user:\nSee\n![image]({{q}})\n"))

    prompty(q="data:image/png;path: pixel.png")
    [message] = body_of(model)["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]
    assert message["content"][1]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()


def test_the_first_choice_is_the_answer(write: Any, model: FakeModel) -> None:
    assert Prompty.load(write({"n": 2}))(q="x") == "the answer is here"


def test_response_all_is_the_whole_answer_as_an_object(write: Any) -> None:
    answer = Prompty.load(write(response="all"))(q="x")

    assert answer.choices[0].message.content == "the answer is here"
    assert answer.usage.total_tokens > 0


def test_streaming_gives_the_pieces(write: Any) -> None:
    stream = Prompty.load(write({"stream": True}))(q="x")

    pieces = list(stream)
    assert "".join(pieces) == "the answer is here"
    assert len([piece for piece in pieces if piece]) > 1


@pytest.mark.parametrize("stream", [False, True])
def test_json_answers_are_parsed_and_cut_to_the_declared_outputs(write: Any, tmp_path: Path, stream: bool) -> None:
    FakeModel(default='{"a": 1, "b": 2, "c": 3}', name="prompty-test")
    parameters = {"response_format": {"type": "json_object"}, "stream": stream}

    assert Prompty.load(write(parameters))(q="x") == {"a": 1, "b": 2, "c": 3}
    outputs = {"a": {"type": "int"}, "c": {"type": "int"}}
    assert Prompty.load(write(parameters, outputs=outputs))(q="x") == {"a": 1, "c": 3}
    with pytest.raises(InvalidOutputKeyError, match="zz"):
        Prompty.load(write(parameters, outputs={"zz": {"type": "int"}}))(q="x")


def test_an_answer_that_is_not_json_says_so(write: Any) -> None:
    with pytest.raises(UserErrorException, match="not JSON"):
        Prompty.load(write({"response_format": {"type": "json_object"}}))(q="x")


def test_a_json_schema_answer_stays_text(write: Any) -> None:
    FakeModel(default='{"a": 1}', name="prompty-test")

    assert Prompty.load(write({"response_format": {"type": "json_schema"}}))(q="x") == '{"a": 1}'


def test_tool_calls_come_back_as_the_message(write: Any) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    answer = FakeAnswer(content=None, tool_calls=calls, finish_reason="tool_calls")
    model = FakeModel(default=answer, name="prompty-test")
    prompty = Prompty.load(write({"tools": ONE_TOOL, "functions": [{"bad": 1}]}))

    message = prompty(q="x")
    assert message["tool_calls"] == calls
    assert (message["function_call"], message["content"]) == (None, None)
    assert body_of(model)["tool_choice"] == "auto"
    assert "functions" not in body_of(model)


def test_tools_are_checked_before_they_are_sent(write: Any) -> None:
    with pytest.raises(ChatAPIInvalidTools):
        Prompty.load(write({"tools": [{"type": "function"}]}))(q="x")


def test_a_completion_prompty_sends_text(write: Any, model: FakeModel) -> None:
    assert Prompty.load(write(api="completion", body="Say {{q}}"))(q="hi") == "the answer is here"
    assert body_of(model) == {"model": "m", "prompt": "Say hi"}


def test_overrides_are_merged_over_the_front_matter(write: Any, model: FakeModel) -> None:
    path = write({"temperature": 0.5, "top_p": 0.1})
    Prompty.load(path, model={"parameters": {"temperature": 1}}, inputs={"q": {"default": "d"}})(zz=0)

    assert (body_of(model)["temperature"], body_of(model)["top_p"]) == (1, 0.1)
    assert model.calls[-1].prompt == "d"


def test_a_configuration_object_replaces_the_configuration(write: Any, model: FakeModel) -> None:
    configuration = OpenAIModelConfiguration(model="other", base_url=f"fake:{model.name}", api_key="k")
    Prompty.load(write(), model={"configuration": configuration})(q="x")

    assert body_of(model)["model"] == "other"


def test_a_connection_object_can_be_given(write: Any, model: FakeModel) -> None:
    path = write()
    configuration = {"connection": model.connection("c"), "model": "by-connection", "type": None}
    cleared = {"api_key": None, "base_url": None}
    Prompty.load(path, model={"configuration": {**configuration, **cleared}})(q="x")

    assert body_of(model)["model"] == "by-connection"


def test_environment_references_are_resolved_and_unset_ones_stay(
    write: Any, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_MODEL", "from-env")
    path = write({"user": "${env:NOT_SET_ANYWHERE}"})
    Prompty.load(path, model={"configuration": {"model": "${env:THE_MODEL}"}})(q="x")

    assert body_of(model)["model"] == "from-env"
    assert body_of(model)["user"] == "${env:NOT_SET_ANYWHERE}"


@pytest.mark.parametrize(
    ("configuration", "error"),
    [
        ({"type": "openai", "model": "m", "api_key": "k", "connection": "c"}, InvalidConnectionError),
        ({"type": "openai", "model": "m"}, RequiredEnvironmentVariablesNotSetError),
        ({"type": "azure_openai", "azure_deployment": "m"}, RequiredEnvironmentVariablesNotSetError),
        ({"type": "other", "model": "m", "api_key": "k"}, UnknownConnectionType),
    ],
)
def test_unusable_configurations_are_refused(
    tmp_path: Path, configuration: dict[str, Any], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings = {"model": {"configuration": configuration, "parameters": {}}, "inputs": {"q": {"type": "string"}}}
    path = tmp_path / "x.prompty"
    path.write_text(f"---\n{json.dumps(settings)}\n---\nuser:\n{{{{q}}}}")
    with pytest.raises(error):
        Prompty.load(path)(q="x")


def test_credentials_and_connection_together_are_refused_by_the_classes() -> None:
    with pytest.raises(InvalidConnectionError):
        OpenAIModelConfiguration(model="m", api_key="k", connection="c")
    with pytest.raises(InvalidConnectionError):
        AzureOpenAIModelConfiguration("d", azure_endpoint="e", connection="c")


def test_a_configuration_is_made_from_a_connection() -> None:
    made = OpenAIModelConfiguration.from_connection(OpenAIConnection("k", base_url="http://x"), model="m")

    assert (made.model, made.api_key, made.base_url) == ("m", "k", "http://x")


def test_render_is_the_text_of_the_messages(write: Any, model: FakeModel) -> None:
    prompty = Prompty.load(write())

    assert prompty.render(q="hi") == "[{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'hi'}]"
    assert model.calls == []


def test_the_token_estimate_adds_max_tokens(write: Any) -> None:
    short = Prompty.load(write()).estimate_token_count(q="hi")

    assert short > 2
    assert Prompty.load(write({"max_tokens": 100})).estimate_token_count(q="hi") == short + 100
    with pytest.raises(CoreError, match="integer"):
        Prompty.load(write({"max_tokens": "many"})).estimate_token_count(q="hi")


@pytest.mark.parametrize("source", ["missing.prompty", "asker.yaml"])
def test_only_existing_prompty_files_load(tmp_path: Path, source: str) -> None:
    (tmp_path / "asker.yaml").write_text("")
    with pytest.raises(UserErrorException):
        Prompty.load(tmp_path / source)


def test_an_async_prompty_is_awaited(write: Any) -> None:
    async def ask() -> tuple[str, list[str]]:
        plain = await AsyncPrompty.load(write())(q="x")
        pieces = [piece async for piece in await AsyncPrompty.load(write({"stream": True}))(q="x")]
        return plain, pieces

    plain, pieces = asyncio.run(ask())
    assert plain == "the answer is here"
    assert "".join(pieces) == plain


def executor_of(path: Path, init: dict[str, Any] | None = None) -> PromptyExecutor:
    flow = load_flow(path)
    return PromptyExecutor(flow, DictConnectionSource(), init=init)  # type: ignore[arg-type]


def test_as_a_flow_text_is_recorded_under_output(write: Any) -> None:
    line = executor_of(write()).run_line({"q": 3, "line_number": 0}, line_number=0)

    assert line.status is Status.COMPLETED, line.error
    assert line.inputs == {"q": "3", "line_number": 0}
    assert line.output == {"output": "the answer is here"}
    assert unwrap_output(line.output) == "the answer is here"
    assert line.usage.total_tokens > 0
    assert [(span.name, span.children[0].kind) for span in line.spans] == [("asker", "LLM")]


def test_as_a_flow_a_json_answer_gives_the_outputs(write: Any) -> None:
    FakeModel(default='{"a": 1}', name="prompty-test")
    line = executor_of(write({"response_format": {"type": "json_object"}})).run_line({"q": "x"})

    assert line.output == {"a": 1}


def test_as_a_flow_a_stream_is_joined_unless_the_caller_streams(write: Any) -> None:
    executor = executor_of(write({"stream": True}))

    assert executor.run_line({"q": "x"}).output == {"output": "the answer is here"}
    streaming = executor.run_line({"q": "x"}, allow_stream=True)
    [(_, stream)] = streamed_outputs(streaming)
    assert isinstance(stream, Iterator)
    assert stream.text() == "the answer is here"


def test_as_a_flow_init_overrides_the_front_matter(write: Any, model: FakeModel) -> None:
    executor_of(write(), init={"model": {"parameters": {"max_tokens": 3}}}).run_line({"q": "x"})

    assert body_of(model)["max_tokens"] == 3


def test_a_row_of_data_gets_defaults_and_not_the_sample(write: Any, model: FakeModel) -> None:
    executor = executor_of(write(inputs={"q": {"type": "string", "default": "dflt"}}, sample={"q": "sampled"}))

    asked = [executor.run_line(inputs).inputs["q"] for inputs in ({}, {"line_number": 0})]
    assert asked == ["sampled", "dflt"]


def test_as_a_flow_a_missing_input_fails_the_line(write: Any) -> None:
    line = executor_of(write()).run_line({})

    assert line.status is Status.FAILED
    assert line.error is not None
    assert "'q'" in line.error["message"]


def test_configuration_parameters_and_sample_may_be_files(tmp_path: Path, model: FakeModel) -> None:
    (tmp_path / "prompties").mkdir()
    configuration = {"type": "openai", "model": "m", "api_key": "k", "base_url": f"fake:{model.name}"}
    for name, value in {"c": configuration, "p": {"max_tokens": 7}, "s": {"q": "from a file"}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    path = tmp_path / "prompties" / "x.prompty"
    path.write_text(
        "---\nmodel:\n  configuration: ${file:../c.json}\n  parameters: ${file:../p.json}\n"
        "sample: ${file:../s.json}\n---\nuser:\n{{q}}\n"
    )

    assert [problem for problem in validate_flow(path) if problem.severity == "error"] == []
    assert executor_of(path).run_line({}).output == {"output": "the answer is here"}
    assert (body_of(model)["max_tokens"], model.calls[-1].prompt) == (7, "from a file")
