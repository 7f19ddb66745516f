"""Model calls as the running node sees them: one span a call, tokens counted for the node."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from promptflow_lite.errors import error_to_dict
from promptflow_lite.providers.base import Body, ModelClient
from promptflow_lite.providers.usage import usage_of
from promptflow_lite.records import Span
from promptflow_lite.tracing.scope import Scope, add_usage, close_span, current_scope, detach_span, open_span

_DATA_URI = re.compile(r"(data:[\w.+/-]+;base64,)[A-Za-z0-9+/=\s]{64,}")
_UNRECORDED_KEYS = ("extra_headers", "extra_query")


class TracedClient:
    """A `ModelClient` that records what passes through another one."""

    def __init__(self, client: ModelClient) -> None:
        self.client = client

    def __repr__(self) -> str:
        return f"TracedClient({self.client!r})"

    def close(self) -> None:
        """Let go of what the client holds open, if it holds anything."""
        close = getattr(self.client, "close", None)
        if close is not None:
            close()

    def chat(self, body: Body, *, timeout_s: float | None = None) -> Body:
        return _traced("openai_chat", "LLM", body, lambda: self.client.chat(body, timeout_s=timeout_s))

    def stream_chat(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]:
        return _traced_stream("openai_chat", body, lambda: self.client.stream_chat(body, timeout_s=timeout_s))

    def complete(self, body: Body, *, timeout_s: float | None = None) -> Body:
        return _traced("openai_completion", "LLM", body, lambda: self.client.complete(body, timeout_s=timeout_s))

    def stream_complete(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]:
        return _traced_stream("openai_completion", body, lambda: self.client.stream_complete(body, timeout_s=timeout_s))

    def embed(self, body: Body, *, timeout_s: float | None = None) -> Body:
        return _traced("openai_embeddings", "Embedding", body, lambda: self.client.embed(body, timeout_s=timeout_s))


def _traced(name: str, kind: str, body: Body, call: Callable[[], Body]) -> Body:
    span, token = open_span(name, kind, _recordable(body))
    try:
        answer = call()
    except BaseException as error:
        close_span(span, token, error=error_to_dict(error, include_debug_info=False))
        raise

    add_usage(usage_of(answer), span)
    span.attributes = _attributes(answer)
    close_span(span, token, output=_without_vectors(answer) if kind == "Embedding" else answer)
    return answer


def _traced_stream(name: str, body: Body, call: Callable[[], Iterator[Body]]) -> Iterator[Body]:
    """The request starts now; the span ends, and tokens count, when the stream does."""
    span, token = open_span(name, "LLM", _recordable(body))
    try:
        chunks = call()
    except BaseException as error:
        close_span(span, token, error=error_to_dict(error, include_debug_info=False))
        raise

    detach_span(token)
    return _follow(chunks, span, current_scope())


def _follow(chunks: Iterator[Body], span: Span, scope: Scope | None) -> Iterator[Body]:
    texts: list[str] = []
    last: Body = {}
    failure: dict[str, Any] | None = None
    try:
        for chunk in chunks:
            choice = (chunk.get("choices") or [{}])[0]
            texts.append((choice.get("delta") or {}).get("content") or choice.get("text") or "")
            last = {**last, **{key: value for key, value in chunk.items() if value and key != "choices"}}
            yield chunk
    except BaseException as error:
        failure = error_to_dict(error, include_debug_info=False) if not isinstance(error, GeneratorExit) else None
        raise
    finally:
        span.usage = usage_of(last)
        if scope is not None:
            scope.usage.add(span.usage)

        span.attributes = {**_attributes(last), "llm.generated_message": "".join(texts), "output_type": "iterated"}
        close_span(span, None, output="".join(texts), error=failure)


def _attributes(answer: Body) -> dict[str, Any]:
    usage = usage_of(answer)
    attributes: dict[str, Any] = {
        "llm.response.model": answer.get("model"),
        "llm.usage.prompt_tokens": usage.prompt_tokens,
        "llm.usage.completion_tokens": usage.completion_tokens,
        "llm.usage.total_tokens": usage.total_tokens,
    }
    if (answer.get("usage") or {}).get("estimated"):
        attributes["llm.usage.estimated"] = True

    choices = answer.get("choices")
    if choices:
        attributes["llm.generated_message"] = choices[0].get("message", choices[0].get("text"))

    return attributes


def _recordable(body: Body) -> Any:
    """The request without headers, and with pictures shortened to their kind and size."""
    return _shorten({key: value for key, value in body.items() if key not in _UNRECORDED_KEYS})


def _shorten(value: Any) -> Any:
    if isinstance(value, str):
        if "base64," not in value:
            return value

        return _DATA_URI.sub(lambda match: f"{match.group(1)}<{len(match.group(0))} characters>", value)

    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}

    return [_shorten(item) for item in value] if isinstance(value, list) else value


def _without_vectors(answer: Body) -> Body:
    """Vectors are long and say nothing to a reader; records hold their size."""
    data = [
        {**item, "embedding": f"<{len(item.get('embedding') or ())} dimensional vector>"}
        for item in answer.get("data") or []
    ]
    return {**answer, "data": data}
