"""Every kind of connection that can be stored, and the names that tools know them by."""

from __future__ import annotations

from promptflow_lite.connections.custom import CustomConnection
from promptflow_lite.connections.model import Connection
from promptflow_lite.connections.services import (
    AzureAIServicesConnection,
    AzureContentSafetyConnection,
    AzureOpenAIConnection,
    CognitiveSearchConnection,
    FormRecognizerConnection,
    OpenAIConnection,
    QdrantConnection,
    SerpConnection,
    ServerlessConnection,
    WeaviateConnection,
)

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
