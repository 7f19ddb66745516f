"""Connections: kinds, files, secrets and where they come from."""

from promptflow_lite.connections.cipher import Cipher
from promptflow_lite.connections.custom import CustomConnection, CustomStrongTypeConnection, load_strong_type
from promptflow_lite.connections.files import connection_from_data, load_connection_file
from promptflow_lite.connections.kinds import CONNECTION_CLASS_NAMES, CONNECTION_TYPES
from promptflow_lite.connections.memory import DictConnectionSource, connection_not_found
from promptflow_lite.connections.model import SCRUBBED, Connection, Secret
from promptflow_lite.connections.records import (
    from_parts,
    from_record,
    is_placeholder,
    merge_placeholders,
    public_from_record,
    reencrypt_record,
    secrets_to_ask,
    to_public,
    to_record,
)
from promptflow_lite.connections.resolve import override_variable, resolve_connection
from promptflow_lite.connections.secrets import secret_values, without_secrets
from promptflow_lite.connections.services import (
    AzureAIServicesConnection,
    AzureContentSafetyConnection,
    AzureOpenAIConnection,
    BingConnection,
    CognitiveSearchConnection,
    FormRecognizerConnection,
    OpenAIConnection,
    QdrantConnection,
    SerpConnection,
    ServerlessConnection,
    WeaviateConnection,
)
from promptflow_lite.connections.source import ConnectionSource

__all__ = [
    "CONNECTION_CLASS_NAMES",
    "CONNECTION_TYPES",
    "SCRUBBED",
    "AzureAIServicesConnection",
    "AzureContentSafetyConnection",
    "AzureOpenAIConnection",
    "BingConnection",
    "Cipher",
    "CognitiveSearchConnection",
    "Connection",
    "ConnectionSource",
    "CustomConnection",
    "CustomStrongTypeConnection",
    "DictConnectionSource",
    "FormRecognizerConnection",
    "OpenAIConnection",
    "QdrantConnection",
    "Secret",
    "SerpConnection",
    "ServerlessConnection",
    "WeaviateConnection",
    "connection_from_data",
    "connection_not_found",
    "from_parts",
    "from_record",
    "is_placeholder",
    "load_connection_file",
    "load_strong_type",
    "merge_placeholders",
    "override_variable",
    "public_from_record",
    "reencrypt_record",
    "resolve_connection",
    "secret_values",
    "secrets_to_ask",
    "to_public",
    "to_record",
    "without_secrets",
]
