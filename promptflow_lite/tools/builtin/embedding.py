"""The embedding tool: a text as a vector."""

from __future__ import annotations

from promptflow_lite.connections import AzureOpenAIConnection, OpenAIConnection, ServerlessConnection
from promptflow_lite.providers import client_for
from promptflow_lite.tools.builtin.llm_functions import provider_of
from promptflow_lite.tools.decorator import tool
from promptflow_lite.tools.llm_apis import AZURE

DEFAULT_MODEL = "text-embedding-ada-002"


@tool
def embedding(
    connection: AzureOpenAIConnection | OpenAIConnection | ServerlessConnection,
    input: str,
    deployment_name: str = "",
    model: str = DEFAULT_MODEL,
) -> list[float]:
    """The vector of a text; `deployment_name` counts for Azure, `model` for the others."""
    chosen = deployment_name if provider_of(connection) == AZURE else model
    answer = client_for(connection).embed({"model": str(chosen), "input": input})
    return list(answer["data"][0]["embedding"])
