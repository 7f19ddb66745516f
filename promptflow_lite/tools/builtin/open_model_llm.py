"""Open models on an endpoint of one's own, described by a custom connection.

The connection has the configs `endpoint_url` and `model_family` and the secret `endpoint_api_key`. Endpoints that are
found through an Azure workspace (`onlineEndpoint/…`, `serverlessEndpoint/…`) are out of reach of a local installation.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from promptflow_lite.connections import Connection, ConnectionSource
from promptflow_lite.errors import InvalidConnectionType, ProviderError, UserErrorException
from promptflow_lite.flow import render_chat, render_template
from promptflow_lite.tools.builtin.http_json import request_json
from promptflow_lite.tools.builtin.messages import split_escape
from promptflow_lite.tools.decorator import ToolProvider, tool
from promptflow_lite.tools.types import PromptTemplate

_LOCAL_PREFIXES = ("localConnection", "connection")


class API(enum.StrEnum):
    """What the endpoint is asked to do."""

    CHAT = "chat"
    COMPLETION = "completion"


class OpenModelLLM(ToolProvider):
    """Open models behind a custom connection."""

    @tool
    def call(
        self,
        prompt: PromptTemplate,
        api: API,
        endpoint_name: str,
        deployment_name: str | None = None,
        temperature: float = 1.0,
        max_new_tokens: int = 500,
        top_p: float = 1.0,
        model_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> str:
        """Ask the endpoint; `model_kwargs` go into the request's parameters."""
        connections: ConnectionSource | None = kwargs.pop("_connections", None)
        connection = _endpoint(endpoint_name, connections)
        parameters = {
            "temperature": float(temperature),
            "max_new_tokens": int(max_new_tokens),
            "top_p": float(top_p),
            **(model_kwargs or {}),
        }
        variables, escape = split_escape(kwargs)
        if str(api) == API.CHAT:
            content: Any = render_chat(prompt, variables, escape=escape)
        else:
            content = render_template(prompt, variables)

        is_chat = str(api) == API.CHAT
        family = str(connection.configs.get("model_family") or "llama").lower()
        body = _REQUESTS.get(family, _llama_request)(content, parameters, is_chat)
        key = connection.secrets.get("endpoint_api_key")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if deployment_name:
            headers["azureml-model-deployment"] = deployment_name

        answer = request_json(
            "The model endpoint", str(connection.configs["endpoint_url"]), body=body, headers=headers, secret=key
        )
        return _text_of(answer)

    call.takes_connections = True  # type: ignore[attr-defined]


def _endpoint(name: str, connections: ConnectionSource | None) -> Connection:
    kind, _, connection_name = name.partition("/")
    if kind not in _LOCAL_PREFIXES or not connection_name:
        raise UserErrorException(
            f"Endpoint {name!r} cannot be used here.",
            hint="Store the endpoint as a custom connection and name it as localConnection/<connection>.",
        )

    if connections is None:
        raise UserErrorException("No connections are at hand here.", hint="Use the tool in a flow.")

    connection = connections.get(connection_name)
    if not connection.configs.get("endpoint_url"):
        raise InvalidConnectionType(
            f"Connection {connection_name!r} describes no model endpoint.",
            hint="It needs the configs endpoint_url and model_family and the secret endpoint_api_key.",
        )

    return connection


def _llama_request(content: Any, parameters: dict[str, Any], is_chat: bool) -> dict[str, Any]:
    return {"input_data": {"input_string": content if is_chat else [content], "parameters": parameters}}


def _gpt2_request(content: Any, parameters: dict[str, Any], is_chat: bool) -> dict[str, Any]:
    return {"inputs": {"input_string": content if is_chat else [content]}, "args": parameters}


_REQUESTS: dict[str, Callable[[Any, dict[str, Any], bool], dict[str, Any]]] = {
    "llama": _llama_request,
    "gpt2": _gpt2_request,
}


def _text_of(answer: Any) -> str:
    """Endpoints answer `{"output": text}`, `[{"0": text}]` or `[text]`."""
    if isinstance(answer, dict) and "output" in answer:
        return str(answer["output"])

    first = answer[0] if isinstance(answer, list) and answer else None
    if isinstance(first, dict) and first:
        return str(next(iter(first.values())))

    if isinstance(first, str):
        return first

    raise ProviderError("The model endpoint answered in an unknown form.", hint="Check model_family.")
