"""Helpers of tools that call the `openai` package themselves, under their original names.

Tool packages and copies of the built-in tools get their client arguments, retries, checks and answers from here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, TypeVar

from promptflow_lite.connections import (
    AzureOpenAIConnection,
    Connection,
    OpenAIConnection,
    ServerlessConnection,
)
from promptflow_lite.errors import (
    ChatAPIInvalidFunctions,
    ChatAPIInvalidTools,
    FunctionCallNotSupportedInStreamMode,
    InvalidConnectionType,
    PromptflowException,
)
from promptflow_lite.providers import Endpoint, RetryPolicy, call_with_retries, map_error, serverless_address
from promptflow_lite.tools.llm_apis import check_functions, check_tools

P = ParamSpec("P")
R = TypeVar("R")


def handle_openai_error(
    tries: int = 100, unprocessable_entity_error_tries: int = 3
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: failures of the `openai` package that may pass are tried again, all become errors of this package.

    Args:
        tries: How often a request may be sent again.
        unprocessable_entity_error_tries: How often the server may refuse the same request as unprocessable.
    """
    policy = RetryPolicy(max_attempts=tries + 1, max_same_refusals=unprocessable_entity_error_tries)

    def decorate(func: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(func)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            return call_with_retries(lambda: _with_our_errors(func, *args, **kwargs), policy)

        return wrapper

    return decorate


def _with_our_errors(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return func(*args, **kwargs)
    except PromptflowException:
        raise
    except Exception as error:  # whatever the client raises is mapped, as for LLM nodes
        raise map_error(error, Endpoint(provider="OpenAI", address="the model's server")) from error


def generate_retry_interval(retry_count: int) -> float:
    """Seconds to wait after so many tries that failed."""
    return RetryPolicy().delay_s(retry_count + 1, None)


def normalize_connection_config(connection: Connection) -> dict[str, Any]:
    """What a client of the `openai` package is made with.

    Raises:
        InvalidConnectionType: the connection serves no models.
    """
    if isinstance(connection, AzureOpenAIConnection):
        is_token = connection.auth_mode == "meid_token"
        credentials = {"azure_ad_token_provider": connection.get_token} if is_token else {"api_key": connection.api_key}
        return {
            "max_retries": 0,
            **credentials,
            "api_version": connection.api_version,
            "azure_endpoint": connection.api_base,
        }

    if isinstance(connection, ServerlessConnection):
        return {
            "max_retries": 0,
            "api_key": connection.api_key,
            "base_url": serverless_address(connection.api_base),
        }

    if isinstance(connection, OpenAIConnection):
        return {
            "max_retries": 0,
            "api_key": connection.api_key,
            "organization": connection.organization,
            "base_url": connection.base_url,
        }

    raise InvalidConnectionType(
        f"Connection type {type(connection).__name__} is not supported for LLM.",
        hint="Use an AzureOpenAIConnection, an OpenAIConnection or a ServerlessConnection.",
    )


def init_azure_openai_client(connection: AzureOpenAIConnection) -> Any:
    """A client of the `openai` package for a deployment of Azure."""
    import openai

    return openai.AzureOpenAI(**normalize_connection_config(connection))


def init_openai_client(connection: OpenAIConnection | ServerlessConnection) -> Any:
    """A client of the `openai` package for OpenAI or a compatible server."""
    import openai

    return openai.OpenAI(**normalize_connection_config(connection))


def validate_functions(functions: Any) -> None:
    """Raise `ChatAPIInvalidFunctions` unless these are descriptions of functions."""
    if functions == []:
        raise ChatAPIInvalidFunctions("functions must not be empty.", hint="Leave it out if there is none.")

    check_functions(functions)


def validate_tools(tools: Any) -> None:
    """Raise `ChatAPIInvalidTools` unless these are descriptions of tools."""
    if tools == []:
        raise ChatAPIInvalidTools("tools must not be empty.", hint="Leave it out if there is none.")

    check_tools(tools)


def process_function_call(function_call: Any) -> Any:
    """The choice to send: `auto` when there is none.

    Raises:
        ChatAPIInvalidFunctions: it is no choice.
    """
    check_functions([], function_call)
    return "auto" if function_call is None else function_call


def process_tool_choice(tool_choice: Any) -> Any:
    """The choice to send: `auto` when there is none.

    Raises:
        ChatAPIInvalidTools: it is no choice.
    """
    check_tools([], tool_choice)
    return "auto" if tool_choice is None else tool_choice


def post_process_chat_api_response(completion: Any, stream: bool, functions: Any = None, tools: Any = None) -> Any:
    """What an LLM node makes of an answer: text, the message when functions or tools were offered, or a stream of text.

    Raises:
        FunctionCallNotSupportedInStreamMode: functions and streaming together.
    """
    if stream:
        if functions is not None:
            raise FunctionCallNotSupportedInStreamMode(
                "Functions cannot be called in stream mode.", hint="Do not stream, or use tools."
            )

        return _texts(completion)

    message = completion.choices[0].message
    offers_calls = functions is not None or tools is not None
    return message.model_dump() if offers_calls else getattr(message, "content", "")


def _texts(chunks: Iterable[Any]) -> Iterator[str]:
    for chunk in chunks:
        if chunk.choices and chunk.choices[0].delta is not None:
            yield getattr(chunk.choices[0].delta, "content", None) or ""
