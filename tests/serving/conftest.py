"""Small flows and a client that speaks ASGI straight to the application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptflow_lite.connections import DictConnectionSource
from promptflow_lite.serving.app import EndpointApp
from promptflow_lite.serving.create import AppSources, create_app
from promptflow_lite.serving.endpoint import ServingSettings
from promptflow_lite.store import Store

PLAIN = {
    "flow.dag.yaml": """\
inputs:
  text: {type: string}
  times: {type: int, default: 1}
outputs:
  answer:
    type: string
    reference: ${shout.output}
  length:
    type: int
    reference: ${measure.output}
    evaluation_only: true
nodes:
- name: shout
  type: python
  source: {type: code, path: shout.py}
  inputs:
    text: ${inputs.text}
    times: ${inputs.times}
- name: measure
  type: python
  source: {type: code, path: measure.py}
  inputs:
    text: ${shout.output}
""",
    "shout.py": """\
import time

from promptflow_lite.tools import tool


@tool
def shout(text: str, times: int) -> str:
    if text == "explode":
        raise ValueError("boom")
    if text.startswith("sleep "):
        time.sleep(float(text.split()[1]))
    times = min(times, 10)  # made-up requests ask for more than memory holds
    return text.upper() * times
""",
    "measure.py": """\
from promptflow_lite.tools import tool


@tool
def measure(text: str) -> int:
    return len(text)
""",
}

CHAT = {
    "flow.dag.yaml": """\
inputs:
  question: {type: string, is_chat_input: true}
  chat_history: {type: list, is_chat_history: true, default: []}
  system: {type: string, default: none}
outputs:
  answer:
    type: string
    reference: ${talk.output}
    is_chat_output: true
nodes:
- name: talk
  type: python
  source: {type: code, path: talk.py}
  inputs:
    question: ${inputs.question}
    history: ${inputs.chat_history}
    system: ${inputs.system}
""",
    "talk.py": """\
import time

from promptflow_lite.tools import tool


@tool
def talk(question: str, history: list, system: str):
    for word in [system, str(len(history)), *question.split()]:
        if word == "explode":
            raise ValueError("boom")
        if word == "wait":
            time.sleep(0.2)
        yield word + " "
""",
}


def write_flow(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def json(self) -> Any:
        return orjson.loads(self.body)

    def events(self) -> list[tuple[str, Any]]:
        """Server-sent events as (name, value)."""
        found = []
        for block in self.body.decode().split("\n\n"):
            lines = [line for line in block.split("\n") if line]
            if lines:
                name = next((line[7:] for line in lines if line.startswith("event: ")), "message")
                text = next(line[6:] for line in lines if line.startswith("data: "))
                found.append((name, text if text == "[DONE]" else orjson.loads(text)))
        return found


class AsgiClient:
    """Sends requests to an ASGI application on an event loop of its own."""

    def __init__(self, app: EndpointApp, key: str | None = None) -> None:
        self.app = app
        self.key = key
        self.loop = asyncio.new_event_loop()
        app.start()

    def close(self) -> None:
        self.app.stop()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def get(self, path: str, **kwargs: Any) -> Reply:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> Reply:
        body = kwargs.pop("body", None)
        return self.request("POST", path, body=orjson.dumps(json) if body is None else body, **kwargs)

    def request(self, method: str, path: str, **kwargs: Any) -> Reply:
        return self.loop.run_until_complete(self.asend(method, path, **kwargs))

    async def asend(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        leave_after_s: float | None = None,
        leave_after_parts: int | None = None,
    ) -> Reply:
        """One request; the client may leave after a time or after some parts of the answer."""
        reply = Reply()
        left = asyncio.Event()
        sent = {"content-length": str(len(body))} | (headers or {})
        if self.key is not None:
            sent.setdefault("authorization", f"Bearer {self.key}")
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
            elif message.get("body"):
                reply.parts.append(message["body"])
                if leave_after_parts is not None and len(reply.parts) >= leave_after_parts:
                    left.set()

        if leave_after_s is not None:
            asyncio.get_running_loop().call_later(leave_after_s, left.set)
        await self.app(scope, receive, send)
        return reply


MakeClient = Callable[..., AsgiClient]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "pfl.sqlite") as opened:
        yield opened


@pytest.fixture
def plain_flow(tmp_path: Path) -> Path:
    return write_flow(tmp_path / "plain", PLAIN)


@pytest.fixture
def chat_flow(tmp_path: Path) -> Path:
    return write_flow(tmp_path / "talker", CHAT)


@pytest.fixture
def serve(store: Store) -> Iterator[MakeClient]:
    """Make clients of served flows; everything is closed afterwards."""
    clients: list[AsgiClient] = []

    def make(
        flow: Any, *, settings: ServingSettings | None = None, key: str | None = None, **sources: Any
    ) -> AsgiClient:
        sources.setdefault("connections", DictConnectionSource())
        app = create_app(flow, AppSources(store=store, **sources), settings)
        clients.append(AsgiClient(app, key))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
