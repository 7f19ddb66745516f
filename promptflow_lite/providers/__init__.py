"""Models behind one interface: OpenAI-compatible servers, Azure, the local engine and a scripted fake."""

from promptflow_lite.providers.base import Body, ModelClient
from promptflow_lite.providers.fake import FakeAnswer, FakeCall, FakeModel, fake_model
from promptflow_lite.providers.mapping import Endpoint, map_error
from promptflow_lite.providers.openai import ClientSettings, OpenAIModelClient, openai_client, serverless_address
from promptflow_lite.providers.resolve import (
    DefaultModel,
    client_for,
    default_model,
    forget_clients,
    is_local_connection,
    takes_choices,
)
from promptflow_lite.providers.retry import RateLimiter, RetryPolicy, call_with_retries
from promptflow_lite.providers.usage import count_tokens

__all__ = [
    "Body",
    "ClientSettings",
    "DefaultModel",
    "Endpoint",
    "FakeAnswer",
    "FakeCall",
    "FakeModel",
    "ModelClient",
    "OpenAIModelClient",
    "RateLimiter",
    "RetryPolicy",
    "call_with_retries",
    "client_for",
    "count_tokens",
    "default_model",
    "fake_model",
    "forget_clients",
    "is_local_connection",
    "map_error",
    "openai_client",
    "serverless_address",
    "takes_choices",
]
