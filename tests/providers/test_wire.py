"""What reaches a server: JSON bodies, paths and headers of every API; and what comes back from good and bad servers."""

from __future__ import annotations

import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.connections import (
    AzureOpenAIConnection,
    Connection,
    DictConnectionSource,
    OpenAIConnection,
    ServerlessConnection,
)
from promptflow_lite.errors import (
    ContentFilterError,
    ContextLengthError,
    ExceedMaxRetryTimes,
    MissingExtraError,
    ProviderAuthError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
    WrappedOpenAIError,
    error_to_dict,
)
from promptflow_lite.flow import Image, NodeSpec, SourceSpec, load_prompty, parse_reference
from promptflow_lite.providers import ClientSettings, RetryPolicy, client_for, openai_client
from promptflow_lite.tools.base import ToolContext
from promptflow_lite.tools.llm import resolve_llm_tool
from promptflow_lite.tools.prompty import PromptyCall
from promptflow_lite.tools.resolve import resolve_tool
from promptflow_lite.tracing import Scope
from tests.providers.server import Answer, Server, chat_answer, chat_chunks, serve

KEY = "sk-very-secret-4711"
PNG = b"\x89PNG\r\n\x1a\nxx"
PNG_URI = "data:image/png;base64,iVBORw0KGgp4eA=="
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
HI = [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}]
ASK = {"model": "m", "messages": [{"role": "user", "content": "q"}]}


@pytest.fixture
def server():
    with serve() as server:
        yield server


class FakeClock:
    def __init__(self) -> None:
        self.time = 0.0
        self.sleeps: list[float] = []

    def now(self) -> float:
        return self.time

    monotonic = now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds


def connection_to(server: Server, kind: str = "openai") -> Connection:
    if kind == "azure":
        return AzureOpenAIConnection(server.address, KEY, name="conn")
    if kind == "serverless":
        return ServerlessConnection(KEY, server.address, name="conn")
    return OpenAIConnection(KEY, organization="org", base_url=f"{server.address}/v1", name="conn")


def call_node(root: Path, connection: Connection, template: str, arguments: dict[str, Any], **fields: Any) -> Any:
    (root / "t.jinja2").write_text(template)
    node = {"name": "n", "type": "llm", "source": SourceSpec(path="t.jinja2"), "connection": "conn", "api": "chat"}
    tool = resolve_tool(
        NodeSpec(**{**node, **fields}), ToolContext(root=root, connections=DictConnectionSource([connection]))
    )
    return tool.call(**{**tool.literals, **arguments})


AZURE_CHAT = "/openai/deployments/d/chat/completions?api-version=2024-02-01"


@pytest.mark.parametrize(
    ("kind", "api", "inputs", "path", "body"),
    [
        ("azure", "chat", {"deployment_name": "d"}, AZURE_CHAT,
         {"model": "d", "messages": HI, "temperature": 1.0, "top_p": 1.0, "n": 1, "stream": False}),
        ("azure", "chat",
         {"deployment_name": "d", "temperature": 0.2, "n": 2, "stop": ["a"], "max_tokens": 5, "presence_penalty": 0,
          "frequency_penalty": 0.1, "logit_bias": {"1": 2}, "user": "u", "response_format": {"type": "json_object"},
          "seed": 3, "top_p": 0.5}, AZURE_CHAT,
         {"model": "d", "messages": HI, "temperature": 0.2, "top_p": 0.5, "n": 2, "stream": False, "stop": ["a"],
          "max_tokens": 5, "presence_penalty": 0, "frequency_penalty": 0.1, "logit_bias": {"1": 2}, "user": "u",
          "response_format": {"type": "json_object"}, "seed": 3}),
        ("azure", "chat", {"deployment_name": "d", "tools": TOOLS}, AZURE_CHAT,
         {"model": "d", "messages": HI, "temperature": 1.0, "top_p": 1.0, "n": 1, "stream": False, "tools": TOOLS,
          "tool_choice": "auto"}),
        ("azure", "chat", {"deployment_name": "d", "functions": [TOOLS[0]["function"]]}, AZURE_CHAT,
         {"model": "d", "messages": HI, "temperature": 1.0, "top_p": 1.0, "n": 1, "stream": False,
          "functions": [TOOLS[0]["function"]], "function_call": "auto"}),
        ("openai", "chat", {"model": "m"}, "/v1/chat/completions",
         {"model": "m", "messages": HI, "temperature": 1.0, "top_p": 1.0, "stream": False}),
        ("openai", "chat", {"model": "m", "tools": TOOLS}, "/v1/chat/completions",
         {"model": "m", "messages": HI, "temperature": 1.0, "top_p": 1.0, "stream": False, "tools": TOOLS,
          "tool_choice": None}),
        ("serverless", "chat", {"model": "m"}, "/v1/chat/completions",
         {"model": "m", "messages": HI, "temperature": 1.0, "top_p": 1.0, "stream": False}),
        ("azure", "completion", {"deployment_name": "d"}, "/openai/deployments/d/completions?api-version=2024-02-01",
         {"model": "d", "prompt": "system:\nS\nuser:\nhi", "best_of": 1, "echo": False, "logit_bias": {},
          "logprobs": None, "max_tokens": 16, "n": 1, "stop": None, "suffix": None, "temperature": 1.0, "top_p": 1.0,
          "user": "", "stream": False}),
        ("openai", "completion",
         {"model": "m", "suffix": "s", "logprobs": 2, "echo": True, "best_of": 2, "user": "u", "stop": ["a"],
          "presence_penalty": 0, "logit_bias": {"1": 1}}, "/v1/completions",
         {"model": "m", "prompt": "system:\nS\nuser:\nhi", "best_of": 2, "echo": True, "logit_bias": {"1": 1},
          "logprobs": 2, "max_tokens": 16, "n": 1, "stop": ["a"], "suffix": "s", "temperature": 1.0, "top_p": 1.0,
          "user": "u", "stream": False, "presence_penalty": 0.0, "frequency_penalty": None}),
    ],
)  # fmt: skip
def test_an_llm_node_sends_exactly(tmp_path, server, kind, api, inputs, path, body):
    if api == "completion":
        server.answers = [Answer({"choices": [{"text": "hi"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})]
    call_node(tmp_path, connection_to(server, kind), "system:\nS\nuser:\n{{q}}", {"q": "hi"}, api=api, inputs=inputs)
    (request,) = server.received
    assert (request.path, request.body) == (path, body)
    if kind == "azure":
        assert request.headers["api-key"] == KEY
        assert request.headers["ms-azure-ai-promptflow-called-from"] == "aoai-tool"
    else:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers.get("openai-organization") == ("org" if kind == "openai" else None)


@pytest.mark.parametrize(
    ("kind", "tool", "inputs", "model"),
    [
        ("azure", "promptflow.tools.aoai_gpt4v.AzureOpenAI.chat", {"deployment_name": "d"}, "d"),
        ("openai", "promptflow.tools.openai_gpt4v.OpenAI.chat", {}, "gpt-4-vision-preview"),
        ("openai", "promptflow.tools.llm_vision.llm_vision", {"model": "m"}, "m"),
    ],
)
def test_vision_tools_send_images_with_their_detail(tmp_path, server, kind, tool, inputs, model):
    call_node(
        tmp_path,
        connection_to(server, kind),
        "system:\nS\nuser:\nlook ![image]({{photo}})\nwell?",
        {"photo": Image(PNG)},
        type="custom_llm",
        source=SourceSpec(type="package_with_prompt", tool=tool, path="t.jinja2"),
        inputs={"connection": "conn", "detail": "low", "photo": parse_reference("${inputs.photo}"), **inputs},
    )
    (request,) = server.received
    assert request.body == {
        "model": model,
        "messages": [
            {"role": "system", "content": "S"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look "},
                    {"type": "image_url", "image_url": {"url": PNG_URI, "detail": "low"}},
                    {"type": "text", "text": "well?"},
                ],
            },
        ],
        "temperature": 1.0,
        "top_p": 1.0,
        "n": 1,
        "stream": False,
        "presence_penalty": 0,
        "frequency_penalty": 0,
    }
    if kind == "azure":
        assert request.headers["ms-azure-ai-promptflow-called-from"] == "aoai-gpt4v-tool"


@pytest.mark.parametrize(
    ("kind", "path", "model"),
    [
        ("azure", "/openai/deployments/d/embeddings?api-version=2024-02-01", "d"),
        ("openai", "/v1/embeddings", "text-embedding-ada-002"),
    ],
)
def test_the_embedding_tool_sends_text_and_gives_the_vector(tmp_path, server, kind, path, model):
    server.answers = [Answer({"data": [{"index": 0, "embedding": [0.5, 1]}], "usage": {"prompt_tokens": 1}})]
    with Scope("n") as scope:
        vector = call_node(
            tmp_path,
            connection_to(server, kind),
            "",
            {"input": "hello"},
            type="python",
            source=SourceSpec(type="package", tool="promptflow.tools.embedding.embedding"),
            inputs={"connection": "conn", "deployment_name": "d"},
        )
    assert vector == [0.5, 1]
    assert (server.received[0].path, server.received[0].body) == (path, {"model": model, "input": "hello"})
    assert "2 dimensional vector" in dumps(scope.spans[0].output)
    assert scope.usage.prompt_tokens == 1


def test_streams_arrive_piece_by_piece_and_tokens_are_counted(tmp_path, server):
    server.answers = [Answer(chunks=chat_chunks("a", "b", usage=True))]
    with Scope("n") as scope:
        stream = call_node(tmp_path, connection_to(server), "user:\nq", {"stream": True}, inputs={"model": "m"})
    assert list(stream) == ["a", "b"]
    assert server.received[0].body["stream"] is True
    assert scope.usage.total_tokens == 9


def test_a_stream_without_usage_is_estimated_and_usage_can_be_asked_for(server):
    server.answers = [Answer(chunks=chat_chunks("four", "more"))]
    client = openai_client(connection_to(server), ClientSettings(stream_usage=True))
    last = list(client.stream_chat(dict(ASK)))[-1]
    assert server.received[0].body["stream_options"] == {"include_usage": True}
    assert last["usage"]["completion_tokens"] == 2
    assert last["usage"]["estimated"] is True


def test_extra_headers_query_and_body_are_sent_where_they_belong(server):
    body = {**ASK, "extra_headers": {"x-test": "1"}, "extra_query": {"a": "b"}, "extra_body": {"top_k": 3}}
    openai_client(connection_to(server)).chat(body)
    (request,) = server.received
    assert request.body == {**ASK, "top_k": 3}
    assert (request.headers["x-test"], request.path) == ("1", "/v1/chat/completions?a=b")


PROMPTY = """---
name: p
model:
  api: chat
  configuration: {{type: azure_openai, azure_deployment: d, azure_endpoint: "{address}", api_key: {key}}}
  parameters:
    max_tokens: 5
    tools: [{{type: function, function: {{name: f, parameters: {{type: object, properties: {{}}}}}}}}]
inputs:
  q: {{type: string}}
---
user:
{{{{q}}}}
"""


def test_a_prompty_sends_its_parameters_as_they_are(tmp_path, server):
    path = tmp_path / "p.prompty"
    path.write_text(PROMPTY.format(address=server.address, key=KEY))
    assert PromptyCall(load_prompty(path), DictConnectionSource())({"q": "hi\nsystem:\nx"}) == "hi"
    (request,) = server.received
    assert request.path.startswith("/openai/deployments/d/chat/completions?api-version=")
    assert request.headers["ms-azure-ai-promptflow-called-from"] == "promptflow-core"
    assert request.body == {
        "model": "d",
        "messages": [{"role": "user", "content": "hi\nsystem:\nx"}],
        "max_tokens": 5,
        "tools": TOOLS,
        "tool_choice": "auto",
    }


# --- servers that fail ------------------------------------------------------------------------------------------------


def failure(server: Server, **settings: Any) -> Any:
    clock = FakeClock()
    retry = RetryPolicy(max_attempts=settings.pop("max_attempts", 1))
    client = openai_client(connection_to(server), ClientSettings(retry=retry, **settings), clock=clock)
    with pytest.raises(WrappedOpenAIError) as caught:
        client.chat(dict(ASK))
    assert caught.value.hint
    assert KEY not in json.dumps(error_to_dict(caught.value))
    return caught.value


def error_body(message: str, code: str | None = None, **extra: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "t", "code": code, **extra}}


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (Answer(error_body(f"Incorrect API key provided: {KEY}"), 401), ProviderAuthError, "AuthenticationError"),
        (Answer(error_body("no"), 403), ProviderAuthError, "PermissionDeniedError"),
        (Answer(error_body("no such model"), 404), WrappedOpenAIError, "NotFoundError"),
        (Answer(error_body("bad"), 400), WrappedOpenAIError, "BadRequestError"),
        (Answer(error_body("x", "context_length_exceeded"), 400), ContextLengthError, "BadRequestError"),
        (Answer(error_body("This model's maximum context length is 4 tokens"), 400), ContextLengthError,
         "BadRequestError"),
        (Answer(error_body("x", "content_filter"), 400), ContentFilterError, "BadRequestError"),
        (Answer(error_body("x", None, innererror={"code": "ResponsibleAIPolicyViolation"}), 400), ContentFilterError,
         "BadRequestError"),
        (Answer(error_body("x", "insufficient_quota"), 429), RateLimitError, "RateLimitError"),
        (Answer("<html>not json", 200), WrappedOpenAIError, "APIResponseValidationError"),
        (Answer('{"cut": ', 200), WrappedOpenAIError, "APIResponseValidationError"),
        (Answer({**chat_answer(), "choices": []}, 200), WrappedOpenAIError, "APIResponseValidationError"),
        (Answer({"unexpected": 1}, 200), WrappedOpenAIError, "APIResponseValidationError"),
    ],
)  # fmt: skip
def test_refusals_are_clear_errors_at_once(server, answer, error, code):
    server.answers = [answer]
    caught = failure(server, max_attempts=5)
    assert type(caught) is error
    assert caught.error_codes == ["UserError", "OpenAIError", code]
    assert caught.message.startswith(f"OpenAI API hits {code}: ")
    assert len(server.received) == 1


def test_a_dead_endpoint_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    client = openai_client(OpenAIConnection(KEY, base_url=address, name="conn"))
    with pytest.raises(ProviderUnavailableError) as caught:
        client.chat(dict(ASK))
    assert address in caught.value.hint
    assert "'conn'" in caught.value.hint


def test_a_silent_server_times_out(server):
    server.answers = [Answer(chat_answer(), delay_s=30)]
    client = openai_client(connection_to(server), ClientSettings(retry=RetryPolicy(max_attempts=2)), clock=FakeClock())
    with pytest.raises(ExceedMaxRetryTimes) as caught:
        client.chat(dict(ASK), timeout_s=0.2)
    assert isinstance(caught.value.__cause__, ProviderTimeoutError)
    assert caught.value.facts["attempts"] == 2


def test_rate_limited_requests_wait_as_long_as_the_server_says(server, caplog):
    server.answers = [Answer(error_body("slow down"), 429, {"retry-after": "7"}), Answer(chat_answer())]
    clock = FakeClock()
    with caplog.at_level(logging.DEBUG):
        answer = openai_client(connection_to(server), ClientSettings(), clock=clock).chat(dict(ASK))
    assert answer["choices"][0]["message"]["content"] == "hi"
    assert clock.sleeps == [7.0]
    assert KEY not in caplog.text


def test_server_errors_are_tried_again_with_growing_waits(server):
    server.answers = [
        Answer(error_body("oops"), 500),
        Answer("x", 503),
        Answer(error_body("x"), 502),
        Answer(chat_answer()),
    ]
    clock = FakeClock()
    openai_client(connection_to(server), ClientSettings(), clock=clock).chat(dict(ASK))
    assert clock.sleeps == [3, 4, 6]


def test_patience_ends(server):
    server.answers = [Answer(error_body("oops"), 500)]
    clock = FakeClock()
    settings = ClientSettings(retry=RetryPolicy(patience_s=20))
    with pytest.raises(ExceedMaxRetryTimes, match=r"Exceed max retry times\. OpenAI API hits InternalServerError"):
        openai_client(connection_to(server), settings, clock=clock).chat(dict(ASK))
    assert sum(clock.sleeps) <= 20
    assert len(server.received) == 4


def test_a_server_that_asks_for_more_than_the_patience_is_not_waited_for(server):
    server.answers = [Answer(error_body("later"), 429, {"retry-after": "3600"})]
    clock = FakeClock()
    with pytest.raises(ExceedMaxRetryTimes, match="later"):
        openai_client(connection_to(server), ClientSettings(), clock=clock).chat(dict(ASK))
    assert clock.sleeps == []


def test_three_unprocessable_answers_in_a_row_are_final(server):
    server.answers = [Answer(error_body("no"), 422)]
    clock = FakeClock()
    with pytest.raises(WrappedOpenAIError, match="UnprocessableEntityError"):
        openai_client(connection_to(server), ClientSettings(), clock=clock).chat(dict(ASK))
    assert len(server.received) == 3


def test_a_cut_stream_is_an_error_after_the_pieces_that_came(server):
    server.answers = [Answer(chunks=[*chat_chunks("a", "b")[:2], None])]
    stream = client_for(connection_to(server)).stream_chat(dict(ASK))
    pieces = []
    with pytest.raises(ProviderUnavailableError):
        pieces.extend(chunk["choices"][0]["delta"]["content"] for chunk in stream)
    assert len(server.received) == 1


def test_an_error_inside_a_stream_is_reported(server):
    server.answers = [Answer(chunks=[*chat_chunks("a")[:1], error_body("overloaded")])]
    stream = openai_client(connection_to(server)).stream_chat(dict(ASK))
    with pytest.raises(WrappedOpenAIError, match="overloaded"):
        list(stream)


def test_no_span_record_error_or_log_shows_the_key(tmp_path, server, caplog):
    server.answers = [Answer(error_body(f"bad key {KEY}"), 401)]
    with caplog.at_level(logging.DEBUG), Scope("n") as scope, pytest.raises(ProviderAuthError) as caught:
        call_node(tmp_path, connection_to(server), "user:\nq", {}, inputs={"model": "m"})
    shown = [dumps(scope.spans), repr(scope.spans), json.dumps(error_to_dict(caught.value)), repr(caught.value)]
    assert not [text for text in [*shown, caplog.text] if KEY in text]
    assert "******" in caught.value.message


def test_signing_in_without_the_identity_package_names_the_extra(tmp_path, server, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    connection = AzureOpenAIConnection(server.address, auth_mode="meid_token", name="conn")
    with pytest.raises(MissingExtraError, match="Entra") as caught:
        call_node(tmp_path, connection, "user:\nq", {}, inputs={"deployment_name": "d"})
    assert "promptflow-lite[azure]" in caught.value.hint


def test_a_token_is_sent_instead_of_a_key(server, monkeypatch):
    monkeypatch.setattr(AzureOpenAIConnection, "get_token", lambda self: "the-token")
    connection = AzureOpenAIConnection(server.address, auth_mode="meid_token", name="conn")
    client_for(connection).chat({**ASK, "model": "d"})
    assert server.received[0].headers["authorization"] == "Bearer the-token"
    assert "api-key" not in server.received[0].headers


def test_cached_parts_of_a_node_hold_no_secret(tmp_path, server):
    (tmp_path / "t.jinja2").write_text("user:\nq")
    node = NodeSpec(name="n", type="llm", source=SourceSpec(path="t.jinja2"), connection="conn", api="chat")
    tool = resolve_llm_tool(node, ToolContext(root=tmp_path, connections=DictConnectionSource([connection_to(server)])))
    assert KEY not in repr(tool) + dumps(tool.cache_parts)
