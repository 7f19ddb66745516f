"""The LLM APIs as plain functions and classes, for code that calls them itself: `chat(connection, prompt, …)`.

The prompt is a template; keyword arguments that are no parameter of the API are its variables.
"""

from __future__ import annotations

from typing import Any

from promptflow_lite.connections import (
    AzureOpenAIConnection,
    Connection,
    OpenAIConnection,
    ServerlessConnection,
)
from promptflow_lite.errors import APINotFound, InvalidConnectionType
from promptflow_lite.flow import render_chat, render_template
from promptflow_lite.providers import client_for, is_local_connection
from promptflow_lite.tools.builtin.messages import split_escape
from promptflow_lite.tools.decorator import ToolProvider, tool
from promptflow_lite.tools.llm import send
from promptflow_lite.tools.llm_apis import APIS, AZURE, CHAT, COMPLETION, OPENAI
from promptflow_lite.tools.types import PromptTemplate


def call_api(provider: str, name: str, connection: Connection, prompt: str, arguments: dict[str, Any]) -> Any:
    """Render the prompt with the arguments that are no parameters, send the request, and give what LLM nodes give."""
    api = APIS.get((provider, name))
    if api is None:
        raise APINotFound(f"The API '{provider}.{name}' is not found.", hint="Use chat or completion.")

    options = {key: value for key, value in arguments.items() if key in api.parameters}
    variables, escape = split_escape({key: value for key, value in arguments.items() if key not in api.parameters})
    body = api.build(options)
    if api.is_chat:
        body["messages"] = render_chat(prompt, variables, escape=escape, join_lists=provider == AZURE)
    else:
        body["prompt"] = render_template(prompt, variables)

    return send(client_for(connection), body, is_chat=api.is_chat, is_local=is_local_connection(connection))


def provider_of(connection: Connection) -> str:
    """The provider that a connection stands for.

    Raises:
        InvalidConnectionType: it serves no models.
    """
    if isinstance(connection, AzureOpenAIConnection):
        return AZURE

    if isinstance(connection, OpenAIConnection | ServerlessConnection):
        return OPENAI

    raise InvalidConnectionType(
        f"Connection type {type(connection).__name__} is not supported for LLM.",
        hint="Use an AzureOpenAIConnection, an OpenAIConnection or a ServerlessConnection.",
    )


def azure_chat(connection: AzureOpenAIConnection, prompt: str, deployment_name: str = "", **kwargs: Any) -> Any:
    """Chat with a deployment of Azure OpenAI."""
    return call_api(AZURE, CHAT, connection, prompt, {"deployment_name": deployment_name, **kwargs})


def azure_completion(connection: AzureOpenAIConnection, prompt: str, deployment_name: str = "", **kwargs: Any) -> Any:
    """Complete a text with a deployment of Azure OpenAI."""
    return call_api(AZURE, COMPLETION, connection, prompt, {"deployment_name": deployment_name, **kwargs})


def openai_chat(connection: OpenAIConnection, prompt: str, model: str = "", **kwargs: Any) -> Any:
    """Chat with a model of OpenAI or a compatible server."""
    return call_api(OPENAI, CHAT, connection, prompt, {"model": model, **kwargs})


def openai_completion(connection: OpenAIConnection, prompt: str, model: str = "", **kwargs: Any) -> Any:
    """Complete a text with a model of OpenAI or a compatible server."""
    return call_api(OPENAI, COMPLETION, connection, prompt, {"model": model, **kwargs})


class AzureOpenAI(ToolProvider):
    """The functions for Azure OpenAI, bound to a connection."""

    def __init__(self, connection: AzureOpenAIConnection) -> None:
        self.connection = connection

    def chat(self, prompt: str, deployment_name: str = "", **kwargs: Any) -> Any:
        """See `azure_chat`."""
        return azure_chat(self.connection, prompt, deployment_name, **kwargs)

    def completion(self, prompt: str, deployment_name: str = "", **kwargs: Any) -> Any:
        """See `azure_completion`."""
        return azure_completion(self.connection, prompt, deployment_name, **kwargs)


class OpenAI(ToolProvider):
    """The functions for OpenAI, bound to a connection."""

    def __init__(self, connection: OpenAIConnection) -> None:
        self.connection = connection

    def chat(self, prompt: str, model: str = "", **kwargs: Any) -> Any:
        """See `openai_chat`."""
        return openai_chat(self.connection, prompt, model, **kwargs)

    def completion(self, prompt: str, model: str = "", **kwargs: Any) -> Any:
        """See `openai_completion`."""
        return openai_completion(self.connection, prompt, model, **kwargs)


@tool(streaming_option_parameter="stream")
def llm(
    connection: AzureOpenAIConnection | OpenAIConnection | ServerlessConnection,
    prompt: PromptTemplate,
    api: str = "chat",
    deployment_name: str = "",
    model: str = "",
    temperature: float = 1.0,
    top_p: float = 1.0,
    stream: bool = False,
    stop: list[Any] | None = None,
    max_tokens: int | None = None,
    presence_penalty: float | None = None,
    frequency_penalty: float | None = None,
    logit_bias: dict[str, Any] | None = None,
    tool_choice: object = None,
    tools: list[Any] | None = None,
    response_format: object = None,
    seed: int | None = None,
    suffix: str | None = None,
    logprobs: int | None = None,
    echo: bool = False,
    best_of: int = 1,
    **kwargs: Any,
) -> Any:
    """Chat or complete with the model that a connection of any of three kinds leads to."""
    own = {
        "deployment_name": deployment_name,
        "model": model,
        "temperature": temperature,
        "top_p": top_p,
        "stream": stream,
        "stop": stop,
        "max_tokens": max_tokens,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "logit_bias": logit_bias,
    }
    of_chat = {"tool_choice": tool_choice, "tools": tools, "response_format": response_format, "seed": seed}
    of_completion = {"suffix": suffix, "logprobs": logprobs, "echo": echo, "best_of": best_of}
    provider = provider_of(connection)
    own.pop("model" if provider == AZURE else "deployment_name")
    return call_api(provider, api, connection, prompt, {**kwargs, **own, **(of_chat if api == CHAT else of_completion)})
