"""The seam to models: OpenAI-shaped request bodies in, OpenAI-shaped response bodies out, as plain dicts.

Every provider (an OpenAI-compatible server, the local engine, the scripted fake) implements `ModelClient`.
Bodies follow the OpenAI REST reference; a provider that cannot honour a field says so with an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

Body = dict[str, Any]


class ModelClient(Protocol):
    """A model that answers requests.

    Thread: every method may be called from several threads at once and blocks until the answer is there.
    Raises: `ProviderError`, `EngineError` or one of their subclasses.
    """

    def chat(self, body: Body, *, timeout_s: float | None = None) -> Body:
        """`POST /chat/completions`; `body` has no `stream`."""
        ...

    def stream_chat(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]:
        """Chunks of a streamed chat completion; the last one carries `usage`."""
        ...

    def complete(self, body: Body, *, timeout_s: float | None = None) -> Body:
        """`POST /completions`."""
        ...

    def stream_complete(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]: ...

    def embed(self, body: Body, *, timeout_s: float | None = None) -> Body:
        """`POST /embeddings`."""
        ...
