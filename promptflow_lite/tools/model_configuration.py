"""Which model to ask and with which credentials, as an object that flex flows and prompties take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from promptflow_lite.connections import AzureOpenAIConnection, Connection, ConnectionSource, OpenAIConnection
from promptflow_lite.errors import (
    InvalidConnectionError,
    InvalidModelConfigValueType,
    UnknownConnectionType,
)
from promptflow_lite.settings import environ

_ENV_REFERENCE = re.compile(r"\$\{env:(.*?)\}")


@dataclass
class ModelConfiguration:
    """Base of the two kinds of model configurations."""

    kind: ClassVar[str] = ""
    model_key: ClassVar[str] = "model"
    """The field that names the model."""
    credential_keys: ClassVar[tuple[str, ...]] = ()

    def _refuse_both(self) -> None:
        given = [key for key in self.credential_keys if getattr(self, key)]
        if getattr(self, "connection", None) and given:
            raise InvalidConnectionError(
                "Cannot configure model config and connection at the same time.",
                hint=f"Remove either `connection` or {', '.join(given)}.",
            )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as a prompty's front matter writes it; empty fields are left out."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"type": self.kind, **{key: value for key, value in values.items() if value is not None}}

    def __jsonable__(self) -> dict[str, Any]:
        data = self.to_dict()
        connection = data.get("connection")
        if isinstance(connection, Connection):
            data["connection"] = connection.name

        return {key: "******" if key == "api_key" else value for key, value in data.items()}


@dataclass
class AzureOpenAIModelConfiguration(ModelConfiguration):
    """A deployment of Azure OpenAI: by credentials, or by the name of a connection."""

    kind: ClassVar[str] = "azure_openai"
    model_key: ClassVar[str] = "azure_deployment"
    credential_keys: ClassVar[tuple[str, ...]] = ("azure_endpoint", "api_version", "api_key")

    azure_deployment: str
    azure_endpoint: str | None = None
    api_version: str | None = None
    api_key: str | None = field(default=None, repr=False)
    connection: Any = None

    def __post_init__(self) -> None:
        self._refuse_both()

    @classmethod
    def from_connection(cls, connection: Any, azure_deployment: str) -> AzureOpenAIModelConfiguration:
        """The configuration with a connection's credentials.

        Raises:
            InvalidModelConfigValueType: the connection is of another kind.
        """
        _check_kind(connection, AzureOpenAIConnection)
        return cls(
            azure_deployment=azure_deployment,
            azure_endpoint=connection.api_base,
            api_version=connection.api_version,
            api_key=connection.api_key,
        )


@dataclass
class OpenAIModelConfiguration(ModelConfiguration):
    """A model of OpenAI or of a server that speaks its protocol."""

    kind: ClassVar[str] = "openai"
    model_key: ClassVar[str] = "model"
    credential_keys: ClassVar[tuple[str, ...]] = ("base_url", "api_key", "organization")

    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    organization: str | None = None
    connection: Any = None

    def __post_init__(self) -> None:
        self._refuse_both()

    @classmethod
    def from_connection(cls, connection: Any, model: str) -> OpenAIModelConfiguration:
        """The configuration with a connection's credentials.

        Raises:
            InvalidModelConfigValueType: the connection is of another kind.
        """
        _check_kind(connection, OpenAIConnection)
        return cls(
            model=model,
            base_url=connection.base_url,
            api_key=connection.api_key,
            organization=connection.organization,
        )


CLASS_BY_NAME: dict[str, type[ModelConfiguration]] = {
    cls.__name__: cls for cls in (AzureOpenAIModelConfiguration, OpenAIModelConfiguration)
}
"""Names that declare an `init` parameter as a model configuration."""


def configuration_from_dict(
    data: Mapping[str, Any], accepted: tuple[type[ModelConfiguration], ...], connections: ConnectionSource
) -> ModelConfiguration:
    """A configuration object from a mapping; a named connection is looked up and its fields are filled in.

    Args:
        accepted: The classes that the receiving parameter allows; the first that fits is taken.

    Raises:
        InvalidModelConfigValueType: the mapping or its connection does not fit any accepted class.
    """
    values = {key: value for key, value in data.items() if key != "type"}
    connection = values.get("connection")
    if isinstance(connection, str):
        connection = values["connection"] = connections.get(connection)

    for cls in accepted:
        if cls.model_key not in values or not _accepts_connection(cls, connection):
            continue

        known = {item.name for item in fields(cls)}
        configuration = cls(**{key: value for key, value in values.items() if key in known})
        return _filled(configuration)

    names = " or ".join(cls.__name__ for cls in accepted)
    raise InvalidModelConfigValueType(
        f"The value with keys {sorted(data)} cannot be a {names}.",
        hint="Give `azure_deployment` for Azure OpenAI or `model` for OpenAI, and a connection of the same kind.",
    )


def _filled(configuration: ModelConfiguration) -> ModelConfiguration:
    connection = getattr(configuration, "connection", None)
    if connection is None:
        return configuration

    if isinstance(configuration, AzureOpenAIModelConfiguration):
        return AzureOpenAIModelConfiguration.from_connection(connection, configuration.azure_deployment)

    if isinstance(configuration, OpenAIModelConfiguration):
        return OpenAIModelConfiguration.from_connection(connection, configuration.model)

    return configuration


def connection_of(configuration: Mapping[str, Any], connections: ConnectionSource) -> tuple[Connection, str]:
    """The connection and the model name that a prompty's `configuration` stands for (contract 5.1).

    Raises:
        InvalidConnectionError: both a connection and other credentials are given.
        RequiredEnvironmentVariablesNotSetError: nothing but a model is given and the environment has no credentials.
        UnknownConnectionType: the type is not known.
    """
    values = {key: _env_value(value) for key, value in configuration.items()}
    kind = str(values.pop("type", "")).lower()
    model = str(values.pop("azure_deployment", None) or values.pop("model", None) or "")
    connection = values.pop("connection", None)
    values.pop("model", None)
    credentials = {key: value for key, value in values.items() if value}
    if connection:
        if credentials:
            raise InvalidConnectionError(
                "Cannot configure model config and connection in configuration at the same time.",
                hint=f"Remove either `connection` or {', '.join(credentials)}.",
            )

        return (connections.get(connection) if isinstance(connection, str) else connection), model

    if kind in ("azure_openai", "azureopenai"):
        return _azure_connection(credentials), model

    if kind == "openai":
        return _openai_connection(credentials), model

    raise UnknownConnectionType(
        f"Model configuration of type {kind or None!r} is not known.",
        hint="Use `type: openai` or `type: azure_openai`, or name a `connection`.",
    )


def _azure_connection(credentials: Mapping[str, Any]) -> Connection:
    if not credentials:
        return AzureOpenAIConnection.from_env()

    api_key = credentials.get("api_key")
    version = {"api_version": credentials["api_version"]} if "api_version" in credentials else {}
    return AzureOpenAIConnection(
        api_base=credentials.get("azure_endpoint", ""),
        api_key=api_key,
        auth_mode="key" if api_key else "meid_token",
        **version,
    )


def _openai_connection(credentials: Mapping[str, Any]) -> Connection:
    if not credentials:
        return OpenAIConnection.from_env()

    return OpenAIConnection(
        api_key=credentials.get("api_key", ""),
        organization=credentials.get("organization"),
        base_url=credentials.get("base_url"),
    )


def _env_value(value: Any) -> Any:
    """`${env:NAME}` resolved; an unset variable leaves the text as it is."""
    match = _ENV_REFERENCE.match(value) if isinstance(value, str) else None
    return environ().get(match.group(1), value) if match else value


def _accepts_connection(cls: type[ModelConfiguration], connection: Any) -> bool:
    wanted = AzureOpenAIConnection if cls is AzureOpenAIModelConfiguration else OpenAIConnection
    return connection is None or isinstance(connection, wanted)


def _check_kind(connection: Any, wanted: type[Connection]) -> None:
    if not isinstance(connection, wanted):
        raise InvalidModelConfigValueType(
            f"A connection of type {type(connection).__name__!r} cannot configure this model.",
            hint=f"Give a {wanted.__name__}.",
        )
