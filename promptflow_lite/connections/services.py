"""The kinds of connections that stand for known services."""

from __future__ import annotations

import functools
from typing import Any

from promptflow_lite._utils.imports import require
from promptflow_lite.connections.model import Connection
from promptflow_lite.errors import RequiredEnvironmentVariablesNotSetError
from promptflow_lite.settings import env

LIMIT_KEYS = (
    "requests_per_minute",
    "tokens_per_minute",
    "request_timeout_s",
    "max_attempts",
    "retry_patience_s",
    "stream_usage",
)
"""Settings of this package that connections to models may carry."""


class _TokenMixin(Connection):
    """Kinds that may authenticate with an Entra ID token instead of a key."""

    def get_token(self) -> str:
        """A bearer token of the signed-in identity.

        Raises:
            MissingExtraError: the identity package is not installed.
        """
        return str(_credential().get_token("https://cognitiveservices.azure.com/.default").token)


@functools.lru_cache(maxsize=1)
def _credential() -> Any:
    """The identity of this machine's user; it keeps its tokens until they expire."""
    identity = require("azure.identity", extra="azure", feature="Signing in with an Entra ID token")
    return identity.DefaultAzureCredential()


class AzureOpenAIConnection(_TokenMixin):
    """Azure OpenAI."""

    yaml_type = "azure_open_ai"
    type = "AzureOpenAI"
    config_keys = ("api_base", "api_type", "api_version", "auth_mode", "resource_id")
    optional_keys = LIMIT_KEYS
    secret_keys = ("api_key",)
    required_keys = ("api_base",)

    def __init__(
        self,
        api_base: str,
        api_key: str | None = None,
        api_type: str = "azure",
        api_version: str = "2024-02-01",
        auth_mode: str = "key",
        resource_id: str | None = None,
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__(
            name=name,
            module=module,
            configs={
                "api_base": api_base,
                "api_type": api_type,
                "api_version": api_version,
                "auth_mode": auth_mode,
                "resource_id": resource_id,
            },
            secrets={"api_key": api_key},
        )

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        return {"api_type": "azure", "api_version": "2024-02-01", "auth_mode": "key"}

    @classmethod
    def from_env(cls, name: str | None = None) -> AzureOpenAIConnection:
        """From `AZURE_OPENAI_ENDPOINT`, `AZURE_OPENAI_API_KEY` and, if set, `OPENAI_API_VERSION`."""
        values = _required_env("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY")
        version = env("OPENAI_API_VERSION")
        extra = {"api_version": version} if version else {}
        return cls(values["AZURE_OPENAI_ENDPOINT"], values["AZURE_OPENAI_API_KEY"], name=name, **extra)


class OpenAIConnection(Connection):
    """OpenAI, or any server that speaks its protocol at `base_url`."""

    yaml_type = "open_ai"
    type = "OpenAI"
    config_keys = ("base_url", "organization")
    optional_keys = LIMIT_KEYS
    secret_keys = ("api_key",)
    required_keys = ("api_key",)

    def __init__(
        self,
        api_key: str,
        organization: str | None = None,
        base_url: str | None = None,
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__(
            name=name,
            module=module,
            configs={"base_url": _real_url(base_url), "organization": organization},
            secrets={"api_key": api_key},
        )

    def __setattr__(self, key: str, value: Any) -> None:
        super().__setattr__(key, _real_url(value) if key == "base_url" else value)

    @classmethod
    def from_env(cls, name: str | None = None) -> OpenAIConnection:
        """From `OPENAI_API_KEY` and, if set, `OPENAI_BASE_URL` and `OPENAI_ORG_ID`."""
        values = _required_env("OPENAI_API_KEY")
        return cls(values["OPENAI_API_KEY"], env("OPENAI_ORG_ID"), env("OPENAI_BASE_URL"), name=name)


class ServerlessConnection(Connection):
    """A serverless endpoint that speaks the OpenAI protocol below `<api_base>/v1`."""

    yaml_type = "serverless"
    type = "Serverless"
    optional_keys = LIMIT_KEYS
    config_keys = ("api_base",)
    secret_keys = ("api_key",)
    required_keys = ("api_key", "api_base")

    def __init__(
        self, api_key: str, api_base: str, *, name: str | None = None, module: str | None = None, **_: Any
    ) -> None:
        super().__init__(name=name, module=module, configs={"api_base": api_base}, secrets={"api_key": api_key})


class SerpConnection(Connection):
    """The SerpAPI web search."""

    yaml_type = "serp"
    type = "Serp"
    secret_keys = ("api_key",)
    required_keys = ("api_key",)

    def __init__(self, api_key: str, *, name: str | None = None, module: str | None = None, **_: Any) -> None:
        super().__init__(name=name, module=module, secrets={"api_key": api_key})


class CognitiveSearchConnection(_TokenMixin):
    """Azure AI Search."""

    yaml_type = "cognitive_search"
    type = "CognitiveSearch"
    config_keys = ("api_base", "api_version", "auth_mode")
    secret_keys = ("api_key",)
    required_keys = ("api_base",)

    def __init__(
        self,
        api_base: str,
        api_key: str | None = None,
        api_version: str = "2023-11-01",
        auth_mode: str = "key",
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        configs = {"api_base": api_base, "api_version": api_version, "auth_mode": auth_mode}
        super().__init__(name=name, module=module, configs=configs, secrets={"api_key": api_key})

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        return {"api_version": "2023-11-01", "auth_mode": "key"}


class AzureAIServicesConnection(_TokenMixin):
    """Azure AI services."""

    yaml_type = "azure_ai_services"
    type = "AzureAIServices"
    config_keys = ("endpoint", "auth_mode")
    secret_keys = ("api_key",)
    required_keys = ("endpoint",)

    def __init__(
        self,
        endpoint: str,
        api_key: str | None = None,
        auth_mode: str = "key",
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        configs = {"endpoint": endpoint, "auth_mode": auth_mode}
        super().__init__(name=name, module=module, configs=configs, secrets={"api_key": api_key})

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        return {"auth_mode": "key"}


class AzureContentSafetyConnection(Connection):
    """Azure AI Content Safety."""

    yaml_type = "azure_content_safety"
    type = "AzureContentSafety"
    config_keys = ("endpoint", "api_version", "api_type")
    secret_keys = ("api_key",)
    required_keys = ("api_key", "endpoint")

    def __init__(
        self,
        api_key: str,
        endpoint: str,
        api_version: str = "2023-10-01",
        api_type: str = "Content Safety",
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        configs = {"endpoint": endpoint, "api_version": api_version, "api_type": api_type}
        super().__init__(name=name, module=module, configs=configs, secrets={"api_key": api_key})

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        return {"api_version": "2023-10-01", "api_type": "Content Safety"}


class FormRecognizerConnection(AzureContentSafetyConnection):
    """Azure AI Document Intelligence."""

    yaml_type = "form_recognizer"
    type = "FormRecognizer"

    def __init__(
        self,
        api_key: str,
        endpoint: str,
        api_version: str = "2023-07-31",
        api_type: str = "Form Recognizer",
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__(api_key, endpoint, api_version, api_type, name=name, module=module)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        return {"api_version": "2023-07-31", "api_type": "Form Recognizer"}


class QdrantConnection(Connection):
    """The Qdrant vector database."""

    yaml_type = "qdrant"
    type = "Qdrant"
    default_module = "promptflow_vectordb.connections"
    config_keys = ("api_base",)
    secret_keys = ("api_key",)
    required_keys = ("api_key", "api_base")

    def __init__(
        self, api_key: str, api_base: str, *, name: str | None = None, module: str | None = None, **_: Any
    ) -> None:
        super().__init__(name=name, module=module, configs={"api_base": api_base}, secrets={"api_key": api_key})


class WeaviateConnection(QdrantConnection):
    """The Weaviate vector database."""

    yaml_type = "weaviate"
    type = "Weaviate"


class BingConnection(Connection):
    """Bing web search; made in code only."""

    type = "Bing"
    config_keys = ("url",)
    secret_keys = ("api_key",)
    required_keys = ("api_key",)

    def __init__(
        self,
        api_key: str,
        url: str = "https://api.bing.microsoft.com/v7.0/search",
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__(name=name, module=module, configs={"url": url}, secrets={"api_key": api_key})


def _real_url(value: Any) -> Any:
    return None if value in ("", "_") else value


def _required_env(*names: str) -> dict[str, str]:
    values = {name: env(name) for name in names}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise RequiredEnvironmentVariablesNotSetError(
            f"Environment variables {', '.join(missing)} are needed to make this connection.",
            hint=f"Set {missing[0]}, or name a stored connection instead.",
            missing=missing,
        )

    return {name: value for name, value in values.items() if value is not None}
