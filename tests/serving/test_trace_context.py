"""A caller's trace goes through a served flow into the model's server, and tokens come back into the record."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.connections import DictConnectionSource, OpenAIConnection
from promptflow_lite.store import Store

from .conftest import MakeClient, write_flow

FLOW = {
    "flow.dag.yaml": """\
inputs:
  question: {type: string}
outputs:
  answer:
    type: string
    reference: ${chat.output}
nodes:
- name: chat
  type: llm
  source: {type: code, path: chat.jinja2}
  inputs:
    model: tiny
    question: ${inputs.question}
  connection: service
  api: chat
""",
    "chat.jinja2": "user:\n{{question}}\n",
}
ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}


@pytest.fixture
def model_server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
        server.shutdown()


def test_the_callers_trace_reaches_the_models_server(
    serve: MakeClient, tmp_path: Path, store: Store, model_server: tuple[str, list[dict[str, str]]]
) -> None:
    url, seen = model_server
    connections = DictConnectionSource({"service": OpenAIConnection(api_key="a-long-key", base_url=url)})
    client = serve(write_flow(tmp_path / "asker", FLOW), connections=connections)

    headers = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "baggage": "tenant=x"}
    assert client.post("/score", {"question": "hi"}, headers=headers).json() == {"answer": "hello"}
    client.app.stop()

    assert seen[0]["traceparent"].startswith(f"00-{'ab' * 16}-")
    assert "cd" * 8 not in seen[0]["traceparent"]
    assert seen[0]["baggage"] == "tenant=x"
    (record,) = store.requests.list()
    assert (record.prompt_tokens, record.completion_tokens, record.model_calls) == (5, 2, 1)
    assert record.nodes[0]["spans"][0]["kind"] == "LLM"
    assert not client.app.endpoint.main.is_fast
