"""Records calls that user code makes with the `openai` package itself, once `start_trace` was called.

Model calls of flows do not come this way: their providers record themselves.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from promptflow_lite.records import Span, Usage
from promptflow_lite.tracing.api import is_recording
from promptflow_lite.tracing.scope import add_usage, close_span, detach_span, open_span

_TARGETS = (
    ("openai.resources.chat.completions", "Completions", "openai_chat", "LLM"),
    ("openai.resources.chat.completions", "AsyncCompletions", "openai_chat_async", "LLM"),
    ("openai.resources.completions", "Completions", "openai_completion", "LLM"),
    ("openai.resources.completions", "AsyncCompletions", "openai_completion_async", "LLM"),
    ("openai.resources.embeddings", "Embeddings", "openai_embeddings", "Embedding"),
    ("openai.resources.embeddings", "AsyncEmbeddings", "openai_embeddings_async", "Embedding"),
)
_UNRECORDED = ("extra_headers", "extra_query", "extra_body", "timeout")


def trace_openai() -> None:
    """Let the package's clients record themselves; further calls do nothing, as does a missing package."""
    for module_name, class_name, span_name, kind in _TARGETS:
        try:
            cls = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError):
            continue

        original = cls.create
        if not hasattr(original, "_pfl_original"):
            wrap = _recorded_async if class_name.startswith("Async") else _recorded
            cls.create = wrap(original, span_name, kind)


def untrace_openai() -> None:
    """Put the package's own methods back."""
    for module_name, class_name, _, _ in _TARGETS:
        cls = getattr(importlib.import_module(module_name), class_name)
        cls.create = getattr(cls.create, "_pfl_original", cls.create)


def _recorded(original: Any, name: str, kind: str) -> Any:
    @functools.wraps(original)
    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_recording():
            return original(self, *args, **kwargs)

        span, token = open_span(name, kind, _inputs(kwargs))
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            close_span(span, token, error={"type": type(error).__name__, "message": str(error)})
            raise

        if kwargs.get("stream"):
            detach_span(token)
            return _RecordedStream(result, span)

        _finish(span, result)
        close_span(span, token, output=span.output)
        return result

    create._pfl_original = original  # type: ignore[attr-defined]
    return create


def _recorded_async(original: Any, name: str, kind: str) -> Any:
    @functools.wraps(original)
    async def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_recording():
            return await original(self, *args, **kwargs)

        span, token = open_span(name, kind, _inputs(kwargs))
        try:
            result = await original(self, *args, **kwargs)
        except BaseException as error:
            close_span(span, token, error={"type": type(error).__name__, "message": str(error)})
            raise

        if kwargs.get("stream"):
            detach_span(token)
            return _RecordedStream(result, span)

        _finish(span, result)
        close_span(span, token, output=span.output)
        return result

    create._pfl_original = original  # type: ignore[attr-defined]
    return create


def _inputs(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key not in _UNRECORDED}


def _finish(span: Span, result: Any) -> None:
    """Model, tokens and answer of a finished call; of embeddings only how long they are."""
    span.attributes["model"] = (span.inputs or {}).get("model")
    span.attributes["llm.response.model"] = getattr(result, "model", None)
    usage = getattr(result, "usage", None)
    if usage is not None:
        prompt, completion = getattr(usage, "prompt_tokens", 0), getattr(usage, "completion_tokens", 0)
        add_usage(Usage(prompt or 0, completion or 0, 1), span)

    if span.kind == "Embedding":
        span.output = [f"<{len(item.embedding)} dimensional vector>" for item in getattr(result, "data", ())]
    elif hasattr(result, "model_dump"):
        span.output = result.model_dump(exclude_none=True)


class _RecordedStream:
    """Stands in for a stream of the package: hands every chunk on and closes the span after the last."""

    def __init__(self, stream: Any, span: Span) -> None:
        self._stream = stream
        self._span = span
        self._texts: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _RecordedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._close()

    async def __aenter__(self) -> _RecordedStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.close()
        self._close()

    def __iter__(self) -> Iterator[Any]:
        try:
            for chunk in self._stream:
                self._take(chunk)
                yield chunk
        finally:
            self._close()

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for chunk in self._stream:
                self._take(chunk)
                yield chunk
        finally:
            self._close()

    def _take(self, chunk: Any) -> None:
        for choice in getattr(chunk, "choices", None) or ():
            text = getattr(getattr(choice, "delta", None), "content", None) or getattr(choice, "text", None)
            if text:
                self._texts.append(text)
        if getattr(chunk, "usage", None) is not None:
            _finish(self._span, chunk)

    def _close(self) -> None:
        if self._span.end_time is None:
            self._span.attributes.setdefault("model", (self._span.inputs or {}).get("model"))
            close_span(self._span, None, output="".join(self._texts))
