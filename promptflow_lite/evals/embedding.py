"""Embedding similarity: how near two texts lie in the space of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptflow_lite.connections import Connection
from promptflow_lite.errors import EvaluatorError
from promptflow_lite.providers import client_for, default_model


def embedding_similarity(
    answer: str, ground_truth: str, *, model: str | None = None, connection: Connection | None = None
) -> float:
    """Cosine similarity of the embeddings of two texts.

    Args:
        answer: One text.
        ground_truth: The other.
        model: Name of the embedding model.
        connection: Where to ask; None for the default model.
    Raises:
        EvaluatorError: the model gave no usable vectors.
    """
    found = default_model(model=model) if connection is None else None
    client = found.client if found is not None else client_for(connection)  # type: ignore[arg-type]
    name = model or (found.model if found is not None else "")
    body = {"input": [answer, ground_truth], **({"model": name} if name else {})}
    vectors = [item["embedding"] for item in sorted(client.embed(body)["data"], key=lambda item: item["index"])]
    if len(vectors) != 2 or len(vectors[0]) != len(vectors[1]):
        raise EvaluatorError("The model gave no pair of embeddings of the same length.")

    return cosine(vectors[0], vectors[1])


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """Cosine of the angle between two vectors.

    Raises:
        EvaluatorError: a vector is zero.
    """
    lengths = math.sqrt(sum(x * x for x in first)) * math.sqrt(sum(y * y for y in second))
    if lengths == 0:
        raise EvaluatorError("An embedding of length zero has no direction.")

    return sum(x * y for x, y in zip(first, second, strict=True)) / lengths
