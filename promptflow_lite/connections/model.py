"""Connection kinds as objects: the endpoint, credentials and settings of a service that a flow talks to.

A connection never shows its secrets: `repr`, `str`, formatting and the JSON form carry its name only.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

from promptflow_lite._utils.imports import require
from promptflow_lite.errors import RequiredEnvironmentVariablesNotSetError, ValidationException
from promptflow_lite.settings import env

SCRUBBED = "******"
"""What stands for a secret wherever one would be shown."""

CUSTOM_TYPE = "promptflow.connection.custom_type"
CUSTOM_MODULE = "promptflow.connection.module"
CUSTOM_PACKAGE = "promptflow.connection.package"
CUSTOM_PACKAGE_VERSION = "promptflow.connection.package_version"
META_KEYS = (CUSTOM_TYPE, CUSTOM_MODULE, CUSTOM_PACKAGE, CUSTOM_PACKAGE_VERSION)
"""Configs of a custom connection that name its class; they are no settings of the service."""

LIMIT_KEYS = (
    "requests_per_minute",
    "tokens_per_minute",
    "request_timeout_s",
    "max_attempts",
    "retry_patience_s",
    "stream_usage",
)
"""Settings of this package that connections to models may carry."""


class Secret(str):
    """Text that must not be shown; marks secret keys of custom strong-type connections."""

    __slots__ = ()

    def __repr__(self) -> str:
        return SCRUBBED


class Connection:
    """Base of all kinds: named configs and secrets, reachable as attributes, items and `{**connection}`.

    Args:
        name: The name under which it is stored; None for one made in code.
        configs: Settings that may be shown.
        secrets: Values that may not.
    """

    yaml_type: ClassVar[str] = ""
    type: ClassVar[str] = ""
    default_module: ClassVar[str] = "promptflow.connections"
    config_keys: ClassVar[tuple[str, ...]] = ()
    secret_keys: ClassVar[tuple[str, ...]] = ()
    required_keys: ClassVar[tuple[str, ...]] = ()
    optional_keys: ClassVar[tuple[str, ...]] = ()
    """Settings of ours that are there only when somebody sets them."""

    name: str | None
    module: str
    configs: dict[str, Any]
    secrets: dict[str, Any]

    def __init__(
        self,
        *,
        name: str | None = None,
        module: str | None = None,
        configs: dict[str, Any] | None = None,
        secrets: dict[str, Any] | None = None,
    ) -> None:
        self.__dict__.update(
            name=name, module=module or self.default_module, configs=dict(configs or {}), secrets=dict(secrets or {})
        )

    def __getattr__(self, key: str) -> Any:
        if not key.startswith("__"):
            for values in (self.__dict__.get("secrets", {}), self.__dict__.get("configs", {})):
                if key in values:
                    return values[key]

            if key in self.config_keys or key in self.secret_keys or key in self.optional_keys:
                return None

        raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}")

    def __setattr__(self, key: str, value: Any) -> None:
        if key in self.secret_keys or key in self.__dict__.get("secrets", {}):
            self.secrets[key] = value
        elif key in (*self.config_keys, *self.optional_keys) or key in self.__dict__.get("configs", {}):
            self.configs[key] = value
        else:
            object.__setattr__(self, key, value)

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise KeyError(key)

        return self.secrets.get(key, self.configs.get(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __jsonable__(self) -> str:
        return self.name or type(self).__name__

    def keys(self) -> list[str]:
        """Names of all settings, secrets last."""
        declared = [*self.config_keys, *(k for k in self.configs if k not in self.config_keys)]
        secret = [*self.secret_keys, *(k for k in self.secrets if k not in self.secret_keys)]
        return [*declared, *secret]

    def is_secret(self, key: str) -> bool:
        """Whether the setting may not be shown."""
        return key in self.secret_keys or key in self.secrets

    def copy_with(self, configs: dict[str, Any], secrets: dict[str, Any]) -> Connection:
        """The same connection with other values."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.__dict__.update(configs=configs, secrets=secrets)
        return twin

    @classmethod
    def from_values(cls, values: dict[str, Any], *, name: str | None = None, module: str | None = None) -> Connection:
        """A connection of this kind from its settings; unknown keys are dropped, None means unset."""
        connection = cls.__new__(cls)
        Connection.__init__(connection, name=name, module=module)
        cls._set_defaults(connection)
        for key, value in values.items():
            if value is not None and key in (*cls.config_keys, *cls.secret_keys, *cls.optional_keys):
                setattr(connection, key, value)

        return connection

    @classmethod
    def _set_defaults(cls, connection: Connection) -> None:
        """Fill in the kind's default values."""
        for key, value in cls.defaults().items():
            setattr(connection, key, value)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Settings that the kind has when nobody sets them."""
        return {}


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


class CustomConnection(Connection):
    """Free-form configs and secrets."""

    yaml_type = "custom"
    type = "Custom"

    def __init__(
        self,
        secrets: dict[str, Any] | None = None,
        configs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__(name=name, module=module, configs=configs, secrets=secrets)

    @property
    def custom_type(self) -> str | None:
        """Class name of the strong type that this connection stands for, if any."""
        return self.configs.get(CUSTOM_TYPE)

    def to_strong_type(
        self, strong_type: builtins.type[CustomStrongTypeConnection] | None = None
    ) -> CustomStrongTypeConnection:
        """This connection as an object of a custom strong type; by default of the class that its own configs name.

        Raises:
            ValidationException: they name none, or the class cannot be imported.
        """
        if strong_type is None:
            strong_type = load_strong_type(self.configs.get(CUSTOM_MODULE), self.custom_type)

        configs = {key: value for key, value in self.configs.items() if key not in META_KEYS}
        return strong_type(secrets=dict(self.secrets), configs=configs, name=self.name)


class CustomStrongTypeConnection(Connection):
    """Base of users' own kinds: annotated attributes, `Secret` ones are secrets.

    Reads give stored values; a default in the class body does not hide them.
    """

    yaml_type = "custom"
    type = "Custom"

    def __init__(
        self,
        secrets: dict[str, Any] | None = None,
        configs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__(name=name, module=module, configs=configs, secrets=secrets)

    def __getattribute__(self, key: str) -> Any:
        if not key.startswith("_") and key not in ("secrets", "configs"):
            own = object.__getattribute__(self, "__dict__")
            for values in (own.get("secrets", {}), own.get("configs", {})):
                if key in values:
                    return values[key]

        return object.__getattribute__(self, key)

    @classmethod
    def declared_keys(cls) -> dict[str, bool]:
        """Annotated key -> whether it is secret."""
        keys: dict[str, bool] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, CustomStrongTypeConnection) and base is not CustomStrongTypeConnection:
                for key, annotation in inspect.get_annotations(base).items():
                    keys[key] = getattr(annotation, "__name__", str(annotation)).split(".")[-1] == "Secret"

        return keys


def load_strong_type(module: str | None, class_name: str | None) -> type[CustomStrongTypeConnection]:
    """Import a user's connection class.

    Raises:
        ValidationException: the names are missing, or there is no such class.
    """
    try:
        found = getattr(importlib.import_module(module or ""), class_name or "", None)
    except (ImportError, ValueError) as error:
        raise ValidationException(
            f"The module {module!r} of custom connection type {class_name!r} cannot be imported: {error}",
            hint="Install the package that defines this connection type.",
            module=module,
            custom_type=class_name,
        ) from error

    if not (isinstance(found, type) and issubclass(found, CustomStrongTypeConnection)):
        raise ValidationException(
            f"Module {module!r} has no custom connection type {class_name!r}.",
            hint="The class must derive from CustomStrongTypeConnection.",
        )

    return found


CONNECTION_TYPES: tuple[type[Connection], ...] = (
    AzureOpenAIConnection,
    OpenAIConnection,
    ServerlessConnection,
    SerpConnection,
    CognitiveSearchConnection,
    AzureAIServicesConnection,
    AzureContentSafetyConnection,
    FormRecognizerConnection,
    QdrantConnection,
    WeaviateConnection,
    CustomConnection,
)
"""Every kind that can be stored."""

TYPE_BY_YAML: dict[str, type[Connection]] = {cls.yaml_type: cls for cls in CONNECTION_TYPES}
CONNECTION_CLASS_NAMES = frozenset(
    [*(cls.__name__ for cls in CONNECTION_TYPES), "BingConnection", "CustomStrongTypeConnection"]
)
"""Names that declare a tool input as a connection."""


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
