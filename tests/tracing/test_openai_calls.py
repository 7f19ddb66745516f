"""Calls with the `openai` package are recorded as model calls."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest

from promptflow_lite.tracing import Scope
from promptflow_lite.tracing.openai_calls import trace_openai, untrace_openai

CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
EMBEDDINGS = {
    "object": "list",
    "model": "e",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5, 0.0]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
CHUNKS = [
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "tiny-1", "choices": choices, "usage": usage}
    for choices, usage in (
        ([{"index": 0, "delta": {"content": "he"}}], None),
        ([{"index": 0, "delta": {"content": "llo"}}], None),
        ([], {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}),
    )
]


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if asked.get("stream"):
                body = "".join(f"data: {json.dumps(c)}\n\n" for c in CHUNKS) + "data: [DONE]\n\n"
                kind = "text/event-stream"
            else:
                body, kind = json.dumps(EMBEDDINGS if "input" in asked else CHAT), "application/json"
            self.send_response(400 if asked["model"] == "broken" else 200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        trace_openai()
        trace_openai()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        untrace_openai()
        server.shutdown()


MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]


def test_a_chat_call_is_a_span_with_its_tokens(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="k") as client, Scope("n") as scope:
        client.chat.completions.create(model="tiny", messages=MESSAGES, extra_headers={"x-secret": "s"})

    (span,) = scope.spans
    assert (span.name, span.kind, span.inputs) == ("openai_chat", "LLM", {"model": "tiny", "messages": MESSAGES})
    assert span.output["choices"][0]["message"]["content"] == "hello"
    assert (scope.usage.prompt_tokens, scope.usage.completion_tokens, scope.usage.calls) == (5, 2, 1)
    assert span.attributes == {"model": "tiny", "llm.response.model": "tiny-1"}


def test_a_stream_is_one_span_that_ends_with_it(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="k") as client, Scope("n") as scope:
        with client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True) as stream:
            texts = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]

    (span,) = scope.spans
    assert (texts, span.output, scope.usage.completion_tokens) == (["he", "llo"], "hello", 2)
    assert span.end_time is not None


def test_vectors_are_not_kept(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="k") as client, Scope("n") as scope:
        client.embeddings.create(model="e", input="text", encoding_format="float")

    assert (scope.spans[0].kind, scope.spans[0].output) == ("Embedding", ["<3 dimensional vector>"])


def test_async_calls_and_errors_are_recorded(url: str) -> None:
    async def call() -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
            await client.chat.completions.create(model="tiny", messages=MESSAGES)
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model="broken", messages=MESSAGES)

    with Scope("n") as scope:
        asyncio.run(call())

    fine, broken = scope.spans
    assert (fine.name, fine.error) == ("openai_chat_async", None)
    assert broken.error is not None
    assert broken.error["type"] == "BadRequestError"


def test_without_a_listener_nothing_is_recorded(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="k") as client:
        assert client.chat.completions.create(model="tiny", messages=MESSAGES).choices[0].message.content == "hello"
