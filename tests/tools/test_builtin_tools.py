"""Built-in package tools against local stand-ins for their services, and the LLM functions that code calls itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.connections import (
    AzureContentSafetyConnection,
    AzureOpenAIConnection,
    Connection,
    CustomConnection,
    DictConnectionSource,
    OpenAIConnection,
    SerpConnection,
    ServerlessConnection,
)
from promptflow_lite.errors import (
    APINotFound,
    FailedToImportModule,
    InvalidConnectionType,
    InvalidCustomLLMTool,
    InvalidSource,
    NodeInputValidationError,
    PackageToolNotFoundError,
    ProviderError,
    ProviderUnavailableError,
    UserErrorException,
    WrappedOpenAIError,
)
from promptflow_lite.flow import NodeSpec, SourceSpec, parse_reference
from promptflow_lite.providers import FakeModel
from promptflow_lite.tools.base import ToolContext
from promptflow_lite.tools.builtin import builtin_tools, content_safety, serpapi
from promptflow_lite.tools.builtin.llm_functions import (
    OpenAI,
    azure_chat,
    azure_completion,
    llm,
    openai_chat,
    openai_completion,
)
from promptflow_lite.tools.builtin.messages import build_messages, parse_chat, render_jinja_template, to_bool
from promptflow_lite.tools.choices import choose
from promptflow_lite.tools.custom_llm import resolve_custom_llm_tool
from promptflow_lite.tools.package import import_package_tool
from promptflow_lite.tools.resolve import resolve_tool
from tests.providers.server import Answer, Server, chat_answer, serve

KEY = "sk-very-secret-4711"


@pytest.fixture
def server():
    with serve() as server:
        yield server


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(default="the answer")


def node_for(root: Path, tool: str, template: str | None = None, **inputs: Any) -> NodeSpec:
    if template is not None:
        (root / "t.jinja2").write_text(template)
    inputs = {name: parse_reference(value) or value for name, value in inputs.items()}
    kind = "package" if template is None else "package_with_prompt"
    path = None if template is None else "t.jinja2"
    source = SourceSpec(type=kind, tool=tool, path=path)
    return NodeSpec(name="n", type="python" if template is None else "custom_llm", source=source, inputs=inputs)


def call(root: Path, node: NodeSpec, *connections: Connection, **arguments: Any) -> Any:
    tool = resolve_tool(node, ToolContext(root=root, connections=DictConnectionSource(connections)))
    return tool.call(**{**tool.literals, **arguments})


# --- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool_id", sorted(builtin_tools()))
def test_every_built_in_tool_can_be_imported_and_takes_its_inputs(tool_id):
    from promptflow_lite.tools.decorator import original_function
    from promptflow_lite.tools.signature import parameters_of

    metadata = builtin_tools()[tool_id]
    function, provider = import_package_tool(metadata)
    names = set(parameters_of(original_function(function), skip_self=provider is not None)[0])
    if provider is not None:
        names |= set(parameters_of(provider.__init__, skip_self=True)[0])
    assert set(metadata["inputs"]) <= names


# --- custom LLM tools -------------------------------------------------------------------------------------------------


def test_the_llm_tool_chats_and_completes(tmp_path, model):
    node = node_for(
        tmp_path, "promptflow.tools.llm.llm", "user:\n{{q}}", connection="c", model="m", q="${inputs.q}", api="chat"
    )
    assert call(tmp_path, node, model.connection("c"), q="a\nsystem:\nb") == "the answer"
    assert model.calls[0].body["messages"] == [{"role": "user", "content": "a\nsystem:\nb"}]
    node = node_for(tmp_path, "promptflow.tools.llm.llm", "Say {{q}}", connection="c", api="completion", q="x")
    call(tmp_path, node, model.connection("c"))
    assert (model.calls[1].kind, model.calls[1].prompt, model.calls[1].body["max_tokens"]) == (
        "completion",
        "Say x",
        None,
    )


def test_the_llm_tool_serves_all_three_kinds_of_connections(model):
    azure = model.connection("a", AzureOpenAIConnection)
    serverless = ServerlessConnection("k", model.connection("x").base_url)
    for connection in (azure, serverless, model.connection("o")):
        assert llm(connection, "user:\n{{q}}", deployment_name="d", model="m", q="x") == "the answer"
    assert [request.body["model"] for request in model.calls] == ["d", "m", "m"]
    with pytest.raises(InvalidConnectionType):
        llm(CustomConnection({}), "user:\nq")
    with pytest.raises(APINotFound):
        llm(azure, "user:\nq", api="nothing")


@pytest.mark.parametrize(
    ("fields", "template", "error"),
    [
        ({"source": SourceSpec(type="package_with_prompt", path="t.jinja2")}, "user:\nq", InvalidSource),
        ({"source": SourceSpec(type="package_with_prompt", tool="no.such.tool", path="t.jinja2")}, "user:\nq",
         PackageToolNotFoundError),
        ({"source": SourceSpec(type="package_with_prompt", tool="promptflow.tools.llm.llm")}, "", InvalidSource),
        ({"source": SourceSpec(type="package_with_prompt", tool="promptflow.tools.embedding.embedding",
                               path="t.jinja2")}, "user:\nq", InvalidCustomLLMTool),
        ({}, "user:\n{{temperature}}", NodeInputValidationError),
    ],
)  # fmt: skip
def test_custom_llm_nodes_that_cannot_work_say_why(tmp_path, model, fields, template, error):
    (tmp_path / "t.jinja2").write_text(template)
    source = SourceSpec(type="package_with_prompt", tool="promptflow.tools.llm.llm", path="t.jinja2")
    node = NodeSpec(**{"name": "n", "type": "custom_llm", "source": source, "inputs": {"connection": "c"}, **fields})
    with pytest.raises(error) as caught:
        resolve_custom_llm_tool(
            node, ToolContext(root=tmp_path, connections=DictConnectionSource([model.connection("c")]))
        )
    assert caught.value.hint


def test_metadata_that_leads_nowhere_is_an_import_error():
    with pytest.raises(FailedToImportModule):
        import_package_tool({"name": "x", "module": "promptflow_lite.tools.builtin", "function": "nothing"})


def test_recorded_inputs_of_a_custom_llm_node_hold_no_hidden_arguments(tmp_path, model):
    node = node_for(tmp_path, "promptflow.tools.llm.llm", "user:\n{{q}}", connection="c", q="${inputs.q}")
    context = ToolContext(root=tmp_path, connections=DictConnectionSource([model.connection("c")]))
    tool = resolve_tool(node, context)
    assert set(tool.literals) == {"connection"}
    assert "prompt" not in tool.parameters
    assert tool.stream_parameter == "stream"


# --- functions --------------------------------------------------------------------------------------------------------


def test_apis_can_be_called_as_functions(model):
    azure, openai = model.connection("a", AzureOpenAIConnection), model.connection("o")
    assert azure_chat(azure, "user:\n{{q}}", "d", q="x", temperature=0) == "the answer"
    assert openai_chat(connection=openai, prompt="user:\n{{q}}", model="m", q="x", max_tokens="5") == "the answer"
    assert azure_completion(azure, "Say {{q}}", deployment_name="d", q="x") == "the answer"
    assert openai_completion(openai, "Say {{q}}", q="x") == "the answer"
    assert OpenAI(openai).chat("user:\n{{q}}", q="x") == "the answer"
    assert list(openai_chat(openai, "user:\nq", stream=True)) == ["the", " answer", ""]
    assert [request.prompt for request in model.calls] == ["x", "x", "Say x", "Say x", "x", "q"]


def test_message_helpers_work_under_their_original_names():
    assert render_jinja_template("{{a}}\n", trim_blocks=True, keep_trailing_newline=True, a=1) == "1\n"
    assert parse_chat("user:\nhi", None, ["user"]) == [{"role": "user", "content": "hi"}]
    assert build_messages("user:\n{{q}}", q="a\nsystem:\nb", _inputs_to_escape=["q"]) == [
        {"role": "user", "content": "a\nsystem:\nb"}
    ]
    assert [to_bool(value) for value in ("True", "false", True, "yes")] == [True, False, True, False]


# --- services ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "query"),
    [
        ({}, ["engine=google", "num=10", "safe=off"]),
        ({"engine": "bing", "safe": "active", "num": "3"}, ["engine=bing", "count=3", "safeSearch=Strict"]),
        ({"location": "Bern"}, ["location=Bern"]),
    ],
)
def test_web_search_asks_with_the_key_and_gives_the_json(tmp_path, server, monkeypatch, inputs, query):
    monkeypatch.setattr(serpapi, "ADDRESS", f"{server.address}/search")
    server.answers = [Answer({"organic_results": []})]
    node = node_for(tmp_path, "promptflow.tools.serpapi.SerpAPI.search", connection="c", query="${inputs.q}", **inputs)
    assert call(tmp_path, node, SerpConnection(KEY, name="c"), query="a b") == {"organic_results": []}
    path = server.received[0].path
    assert all(part in path for part in ["q=a+b", f"api_key={KEY}", *query])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer({"error": f"Invalid key {KEY}"}, 401), ProviderError),
        (Answer("not json"), ProviderError),
        (Answer({}, 500), ProviderError),
    ],
)
def test_services_that_refuse_are_clear_errors_without_the_key(tmp_path, server, monkeypatch, answer, error):
    monkeypatch.setattr(serpapi, "ADDRESS", f"{server.address}/search")
    server.answers = [answer]
    with pytest.raises(error) as caught:
        serpapi.SerpAPI(SerpConnection(KEY)).search("q")
    assert caught.value.hint
    assert KEY not in str(caught.value)
    monkeypatch.setattr(serpapi, "ADDRESS", "http://127.0.0.1:1/search")
    with pytest.raises(ProviderUnavailableError):
        serpapi.SerpAPI(SerpConnection(KEY)).search("q")


@pytest.mark.parametrize(
    ("severity", "sensitivity", "action"),
    [(2, "high_sensitivity", "Reject"), (2, "medium_sensitivity", "Accept"), (4, "medium_sensitivity", "Reject"),
     (4, "low_sensitivity", "Accept"), (6, "low_sensitivity", "Reject"), (7, "disable", "Accept")],
)  # fmt: skip
def test_content_safety_rejects_by_sensitivity(server, severity, sensitivity, action):
    severities = [{"category": "Hate", "severity": severity}, {"category": "Violence", "severity": 0}]
    server.answers = [Answer({"categoriesAnalysis": severities})]
    connection = AzureContentSafetyConnection(KEY, server.address)
    result = content_safety.analyze_text(connection, "text", hate_category=sensitivity)
    assert result == {
        "suggested_action": action,
        "action_by_category": {"Hate": action, "SelfHarm": "Accept", "Sexual": "Accept", "Violence": "Accept"},
    }
    request = server.received[0]
    assert request.path == "/contentsafety/text:analyze?api-version=2023-10-01"
    assert (request.body, request.headers["ocp-apim-subscription-key"]) == ({"text": "text"}, KEY)


def test_content_safety_knows_its_old_id_and_refuses_unknown_sensitivities(tmp_path, server):
    server.answers = [Answer({"hateResult": {"category": "Hate", "severity": 6}})]
    node = node_for(
        tmp_path,
        "content_safety_text.tools.content_safety_text_tool.analyze_text",
        connection="c",
        text="x",
        violence_category="disable",
    )
    connection = AzureContentSafetyConnection(KEY, server.address, name="c")
    assert call(tmp_path, node, connection)["suggested_action"] == "Reject"
    with pytest.raises(UserErrorException, match="very"):
        content_safety.analyze_text(connection, "x", hate_category="very")


@pytest.mark.parametrize(
    ("api", "family", "answer", "body"),
    [
        ("chat", "LLaMa", {"output": "hi"},
         {"input_data": {"input_string": [{"role": "user", "content": "x"}],
                         "parameters": {"temperature": 0.5, "max_new_tokens": 500, "top_p": 1.0, "top_k": 3}}}),
        ("completion", "LLaMa", [{"0": "hi"}],
         {"input_data": {"input_string": ["user:\nx"],
                         "parameters": {"temperature": 0.5, "max_new_tokens": 500, "top_p": 1.0, "top_k": 3}}}),
        ("completion", "GPT2", ["hi"],
         {"inputs": {"input_string": ["user:\nx"]},
          "args": {"temperature": 0.5, "max_new_tokens": 500, "top_p": 1.0, "top_k": 3}}),
    ],
)  # fmt: skip
def test_open_models_are_asked_in_the_form_of_their_family(tmp_path, server, api, family, answer, body):
    server.answers = [Answer(answer)]
    connection = CustomConnection(
        {"endpoint_api_key": KEY}, {"endpoint_url": server.address + "/score", "model_family": family}, name="mine"
    )
    node = node_for(
        tmp_path,
        "promptflow.tools.open_model_llm.OpenModelLLM.call",
        "user:\n{{q}}",
        endpoint_name="localConnection/mine",
        api=api,
        q="${inputs.q}",
        temperature="0.5",
        deployment_name="blue",
        model_kwargs={"top_k": 3},
    )
    assert call(tmp_path, node, connection, q="x") == "hi"
    (request,) = server.received
    assert (request.path, request.body) == ("/score", body)
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["azureml-model-deployment"] == "blue"


@pytest.mark.parametrize("endpoint", ["onlineEndpoint/x", "localConnection/", "localConnection/plain"])
def test_open_model_endpoints_that_cannot_be_found_say_what_to_do(tmp_path, endpoint):
    node = node_for(
        tmp_path, "promptflow.tools.open_model_llm.OpenModelLLM.call", "user:\nq", endpoint_name=endpoint, api="chat"
    )
    with pytest.raises(UserErrorException) as caught:
        call(tmp_path, node, CustomConnection({}, name="plain"))
    assert "connection" in caught.value.hint.lower() or "configs" in caught.value.hint


# --- choices behind a server ------------------------------------------------------------------------------------------

BODY = {"model": "m", "messages": [{"role": "user", "content": "q"}]}


def ask(server: Server, output: str) -> Any:
    from promptflow_lite.providers import openai_client

    client = openai_client(OpenAIConnection(KEY, base_url=f"{server.address}/v1"))
    try:
        return choose(client, dict(BODY), ["negative", "positive"], output, takes_choices=False, is_chat=True)
    finally:
        client.close()


def logprobs_answer(*tokens: tuple[str, float]) -> dict[str, Any]:
    answer = chat_answer("x")
    top = [{"token": token, "logprob": value} for token, value in tokens]
    answer["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]} if top else None
    return answer


def test_a_label_is_asked_for_by_schema(server):
    server.answers = [Answer(chat_answer(json.dumps({"label": "positive"})))]
    assert ask(server, "label") == "positive"
    schema = server.received[0].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["label"]["enum"] == ["negative", "positive"]


def test_probabilities_come_from_the_first_token(server):
    server.answers = [Answer(logprobs_answer((" pos", -0.5), ("neg", -1.5), ("x", -3.0), ("p", -4.0)))]
    probabilities = ask(server, "probabilities")
    assert probabilities["positive"] == pytest.approx(0.735, abs=0.01)
    assert sum(probabilities.values()) == pytest.approx(1)
    assert (server.received[0].body["max_tokens"], server.received[0].body["top_logprobs"]) == (1, 20)


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (Answer({"error": {"message": "response_format is not supported"}}, 400), "label"),
        (Answer(chat_answer("I think it is good")), "label"),
        (Answer({"error": {"message": "logprobs is not supported"}}, 400), "probabilities"),
        (Answer(chat_answer("positive")), "probabilities"),
        (Answer(logprobs_answer(("maybe", -0.1))), "probabilities"),
    ],
)
def test_a_server_that_cannot_choose_is_a_clear_error(server, answer, output):
    server.answers = [answer]
    with pytest.raises(WrappedOpenAIError) as caught:
        ask(server, output)
    assert caught.value.hint
