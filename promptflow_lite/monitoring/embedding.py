"""Embeddings of texts for drift, from any model of a provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from promptflow_lite.connections import Connection
from promptflow_lite.providers import ModelClient, client_for, default_model

Embed = Callable[[Sequence[str]], list[list[float]]]

_AT_ONCE = 32


def embedder(*, model: str | None = None, connection: Connection | None = None) -> Embed:
    """A function from texts to vectors.

    Args:
        model: Name of the embedding model.
        connection: Where to ask; None for the default model.
    """
    client, name = _client(model, connection)

    def embed(texts: Sequence[str]) -> list[list[float]]:
        vectors: list[list[float]] = []
        for start in range(0, len(texts), _AT_ONCE):
            body = {"input": list(texts[start : start + _AT_ONCE]), **({"model": name} if name else {})}
            answer = client.embed(body)
            vectors += [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]
        return vectors

    return embed


def _client(model: str | None, connection: Connection | None) -> tuple[ModelClient, str]:
    if connection is not None:
        return client_for(connection), model or ""

    found = default_model(model=model)
    return found.client, model or found.model
