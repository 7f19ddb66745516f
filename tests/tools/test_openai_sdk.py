"""Helpers of tools that call the `openai` package themselves: clients, retries, checks and answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest

from promptflow_lite.connections import (
    AzureOpenAIConnection,
    CustomConnection,
    OpenAIConnection,
    ServerlessConnection,
)
from promptflow_lite.errors import (
    ChatAPIInvalidFunctions,
    ChatAPIInvalidRole,
    ChatAPIInvalidTools,
    ExceedMaxRetryTimes,
    FunctionCallNotSupportedInStreamMode,
    InvalidConnectionType,
    LLMError,
    PromptflowException,
    ToolValidationError,
    WrappedOpenAIError,
)
from promptflow_lite.flow import Image
from promptflow_lite.tools.builtin import messages, openai_sdk

FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}


def _refusal(kind: type[openai.APIStatusError], status: int) -> openai.APIStatusError:
    request = httpx2.Request("POST", "http://server/chat")
    response = httpx2.Response(status, request=request, headers={"Retry-After": "0"})
    return kind("refused", response=response, body=None)


def _failing(*errors: Exception, tries: int = 5, unprocessable: int = 3) -> tuple[Any, list[int]]:
    """A decorated function that raises these errors one call after the other, and the calls made."""
    calls: list[int] = []

    @openai_sdk.handle_openai_error(tries=tries, unprocessable_entity_error_tries=unprocessable)
    def request(value: int) -> int:
        calls.append(value)
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]

        return value * 2

    return request, calls


BUSY = _refusal(openai.RateLimitError, 429)
UNPROCESSABLE = _refusal(openai.UnprocessableEntityError, 422)


def test_a_request_that_the_server_was_too_busy_for_is_sent_again() -> None:
    request, calls = _failing(BUSY, BUSY)
    assert request(21) == 42
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("errors", "options", "raised", "calls"),
    [
        ([BUSY] * 9, {"tries": 2}, ExceedMaxRetryTimes, 3),
        ([UNPROCESSABLE] * 9, {"unprocessable": 2}, WrappedOpenAIError, 2),
        ([_refusal(openai.AuthenticationError, 401)], {}, WrappedOpenAIError, 1),
        ([ValueError("odd")], {}, LLMError, 1),
        ([ToolValidationError("mine")], {}, ToolValidationError, 1),
    ],
)
def test_failures_become_errors_of_this_package(
    errors: list[Exception], options: dict[str, int], raised: type[Exception], calls: int
) -> None:
    request, made = _failing(*errors, **options)
    with pytest.raises(raised):
        request(1)

    assert len(made) == calls


@pytest.mark.parametrize(("failed", "seconds"), [(0, 3), (1, 4), (3, 10), (5, 34), (6, 60), (50, 60)])
def test_waits_grow_up_to_a_minute(failed: int, seconds: int) -> None:
    assert openai_sdk.generate_retry_interval(failed) == seconds


@pytest.mark.parametrize(
    ("connection", "arguments"),
    [
        (
            AzureOpenAIConnection(api_key="k", api_base="http://x", api_version="v"),
            {"api_key": "k", "api_version": "v", "azure_endpoint": "http://x"},
        ),
        (
            OpenAIConnection(api_key="k", organization="o", base_url="http://u"),
            {"api_key": "k", "organization": "o", "base_url": "http://u"},
        ),
        (ServerlessConnection(api_key="k", api_base="http://u"), {"api_key": "k", "base_url": "http://u/v1"}),
    ],
    ids=["azure", "openai", "serverless"],
)
def test_a_connection_gives_what_a_client_is_made_with(connection: Any, arguments: dict[str, Any]) -> None:
    assert openai_sdk.normalize_connection_config(connection) == {"max_retries": 0, **arguments}


def test_a_connection_without_models_makes_no_client() -> None:
    with pytest.raises(InvalidConnectionType):
        openai_sdk.normalize_connection_config(CustomConnection(secrets={"a": "b"}))


def test_clients_go_to_the_address_of_the_connection() -> None:
    azure = openai_sdk.init_azure_openai_client(AzureOpenAIConnection(api_key="k", api_base="http://x"))
    other = openai_sdk.init_openai_client(OpenAIConnection(api_key="k", base_url="http://u/v1"))
    assert (str(azure.base_url), str(other.base_url)) == ("http://x/openai/", "http://u/v1/")


@pytest.mark.parametrize(
    ("process", "given", "sent"),
    [
        (openai_sdk.process_function_call, None, "auto"),
        (openai_sdk.process_function_call, "none", "none"),
        (openai_sdk.process_function_call, {"name": "f"}, {"name": "f"}),
        (openai_sdk.process_tool_choice, None, "auto"),
        (openai_sdk.process_tool_choice, "none", "none"),
    ],
)
def test_no_choice_is_auto(process: Any, given: Any, sent: Any) -> None:
    assert process(given) == sent


@pytest.mark.parametrize(
    ("check", "value", "raised"),
    [
        (openai_sdk.process_function_call, {"x": 1}, ChatAPIInvalidFunctions),
        (openai_sdk.process_tool_choice, "f", ChatAPIInvalidTools),
        (openai_sdk.validate_functions, [], ChatAPIInvalidFunctions),
        (openai_sdk.validate_functions, [{"name": "f"}], ChatAPIInvalidFunctions),
        (openai_sdk.validate_tools, [], ChatAPIInvalidTools),
        (openai_sdk.validate_tools, [FUNCTION], ChatAPIInvalidTools),
        (messages.validate_role, "usr", ChatAPIInvalidRole),
    ],
)
def test_what_cannot_be_sent_is_refused(check: Any, value: Any, raised: type[PromptflowException]) -> None:
    with pytest.raises(raised):
        check(value)


def test_what_can_be_sent_passes() -> None:
    openai_sdk.validate_functions([FUNCTION])
    openai_sdk.validate_tools([TOOL])
    messages.validate_role("critic", ["critic"])


def _chunk(content: str | None) -> Any:
    return SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content=content))])


def test_answers_become_what_llm_nodes_give() -> None:
    message = openai.types.chat.ChatCompletionMessage(role="assistant", content="hi")
    completion = SimpleNamespace(choices=[SimpleNamespace(message=message)])
    chunks = [SimpleNamespace(choices=[]), _chunk("a"), _chunk(None)]

    assert openai_sdk.post_process_chat_api_response(completion, False) == "hi"
    assert openai_sdk.post_process_chat_api_response(completion, False, tools=[TOOL])["role"] == "assistant"
    assert list(openai_sdk.post_process_chat_api_response(iter(chunks), True)) == ["a", ""]
    with pytest.raises(FunctionCallNotSupportedInStreamMode):
        openai_sdk.post_process_chat_api_response(iter(chunks), True, functions=[FUNCTION])


def test_only_the_given_roles_start_messages() -> None:
    assert messages.parse_chat("human:\nhi\nuser:\nyo", valid_roles=["human"]) == [
        {"role": "human", "content": "hi\nuser:\nyo"}
    ]
    with pytest.raises(ChatAPIInvalidRole, match="human"):
        messages.parse_chat("user:\nhi", valid_roles=["human"])


def test_images_are_found_and_become_parts_of_the_content() -> None:
    image = Image(b"123", "image/png")
    assert messages.find_referenced_image_set({"a": [image, {"b": image}], "c": "text"}) == {image}
    content = messages.to_content_str_or_list(f"hi\n{image}", {str(image): image}, "low")
    assert [part["type"] for part in content] == ["text", "image_url"]
    assert messages.to_content_str_or_list("hi", {str(image): image}, "low") == "hi"


def test_lists_print_their_items_one_a_line() -> None:
    assert str(messages.convert_to_chat_list({"a": ["x", "y"]})["a"]) == "x\ny"


def test_a_name_before_the_content_is_split_off() -> None:
    assert messages.try_parse_name_and_content("name:\nbob\ncontent:\nhi") == ("bob", "hi")
    assert messages.try_parse_name_and_content("hi") is None
