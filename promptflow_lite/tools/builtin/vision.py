"""Chat tools for models that see: images in the template's variables become parts of the messages."""

from __future__ import annotations

from typing import Any

from promptflow_lite.connections import AzureOpenAIConnection, OpenAIConnection
from promptflow_lite.flow import render_chat
from promptflow_lite.flow.templates import isolate_images
from promptflow_lite.providers import Body, client_for, is_local_connection
from promptflow_lite.tools.builtin.llm_functions import provider_of
from promptflow_lite.tools.builtin.messages import split_escape
from promptflow_lite.tools.decorator import ToolProvider, tool
from promptflow_lite.tools.llm import send
from promptflow_lite.tools.llm_apis import AZURE, to_bool
from promptflow_lite.tools.types import PromptTemplate

_AZURE_HEADERS = {"ms-azure-ai-promptflow-called-from": "aoai-gpt4v-tool"}
_DEFAULT_MODEL = "gpt-4-vision-preview"


class AzureOpenAI(ToolProvider):
    """Vision models deployed on Azure OpenAI."""

    def __init__(self, connection: AzureOpenAIConnection) -> None:
        super().__init__()
        self.connection = connection

    @tool(streaming_option_parameter="stream")
    def chat(
        self,
        prompt: PromptTemplate,
        deployment_name: str,
        temperature: float = 1.0,
        top_p: float = 1.0,
        stream: bool = False,
        stop: list[Any] | None = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0,
        frequency_penalty: float = 0,
        seed: int | None = None,
        detail: str = "auto",
        **kwargs: Any,
    ) -> Any:
        """Ask the deployment about text and images."""
        body = _options(temperature, top_p, stream, stop, max_tokens, presence_penalty, frequency_penalty, seed)
        return _ask(self.connection, prompt, deployment_name, body, detail, kwargs)


class OpenAI(ToolProvider):
    """Vision models of OpenAI or a compatible server."""

    def __init__(self, connection: OpenAIConnection) -> None:
        super().__init__()
        self.connection = connection

    @tool(streaming_option_parameter="stream")
    def chat(
        self,
        prompt: PromptTemplate,
        model: str = _DEFAULT_MODEL,
        temperature: float = 1.0,
        top_p: float = 1.0,
        stream: bool = False,
        stop: list[Any] | None = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0,
        frequency_penalty: float = 0,
        seed: int | None = None,
        detail: str = "auto",
        **kwargs: Any,
    ) -> Any:
        """Ask the model about text and images."""
        body = _options(temperature, top_p, stream, stop, max_tokens, presence_penalty, frequency_penalty, seed)
        return _ask(self.connection, prompt, model, body, detail, kwargs)


@tool(streaming_option_parameter="stream")
def llm_vision(
    connection: AzureOpenAIConnection | OpenAIConnection,
    prompt: PromptTemplate,
    deployment_name: str = "",
    model: str = "",
    temperature: float = 1.0,
    top_p: float = 1.0,
    stream: bool = False,
    stop: list[Any] | None = None,
    max_tokens: int | None = None,
    presence_penalty: float = 0,
    frequency_penalty: float = 0,
    seed: int | None = None,
    detail: str = "auto",
    **kwargs: Any,
) -> Any:
    """Ask the model that the connection leads to about text and images."""
    body = _options(temperature, top_p, stream, stop, max_tokens, presence_penalty, frequency_penalty, seed)
    chosen = deployment_name if provider_of(connection) == AZURE else model
    return _ask(connection, prompt, chosen, body, detail, kwargs)


def _options(
    temperature: float,
    top_p: float,
    stream: bool,
    stop: list[str] | None,
    max_tokens: int | None,
    presence_penalty: float,
    frequency_penalty: float,
    seed: int | None,
) -> Body:
    body: Body = {
        "temperature": float(temperature),
        "top_p": float(top_p),
        "n": 1,
        "stream": to_bool(stream),
        "presence_penalty": float(presence_penalty),
        "frequency_penalty": float(frequency_penalty),
    }
    optional = {
        "stop": stop or None,
        "max_tokens": int(max_tokens) if max_tokens is not None else None,
        "seed": int(seed) if seed is not None else None,
    }
    return {**body, **{key: value for key, value in optional.items() if value is not None}}


def _ask(
    connection: AzureOpenAIConnection | OpenAIConnection,
    prompt: str,
    model: str,
    body: Body,
    detail: str,
    kwargs: dict[str, Any],
) -> Any:
    variables, escape = split_escape(kwargs)
    body["model"] = model
    body["messages"] = render_chat(
        isolate_images(prompt), variables, escape=escape, join_lists=True, image_detail=detail or "auto"
    )
    if isinstance(connection, AzureOpenAIConnection):
        body["extra_headers"] = _AZURE_HEADERS

    return send(client_for(connection), body, is_chat=True, is_local=is_local_connection(connection))
