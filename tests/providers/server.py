"""A local HTTP server with scripted answers, for wire tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What to send back."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[Any] | None = None
    """Server-sent events; a str is sent as it is, None ends the connection at once."""
    delay_s: float = 0.0


def chat_answer(content: str | None = "hi", **message: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "served-model",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, **message}}
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


def chat_chunks(*texts: str, usage: bool = False) -> list[Any]:
    head = {"id": "1", "object": "chat.completion.chunk", "model": "served-model"}
    chunks: list[Any] = [{**head, "choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    if usage:
        chunks.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}})
    return [*chunks, "[DONE]"]


class Server:
    """Answers in order; the last answer is repeated."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.received: list[Received] = []
        self.answers: list[Answer | Callable[[Received], Answer]] = [Answer(chat_answer())]
        self.released = threading.Event()

    def next_answer(self, request: Received) -> Answer:
        self.received.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request) if callable(answer) else answer


@contextmanager
def serve() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self._answer("POST")

        def do_GET(self) -> None:
            self._answer("GET")

        def _answer(self, method: str) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(raw) if raw else None
            headers = {key.lower(): value for key, value in self.headers.items()}
            answer = server.next_answer(Received(method, self.path, headers, body))
            if answer.delay_s:
                server.released.wait(answer.delay_s)
            try:
                self._send_stream(answer) if answer.chunks is not None else self._send_body(answer)
            except OSError:
                self.close_connection = True

        def _send_body(self, answer: Answer) -> None:
            data = answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for key, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(key, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _send_stream(self, answer: Answer) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for chunk in answer.chunks or []:
                if chunk is None:
                    self.close_connection = True
                    return
                text = f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n".encode()
                self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server = Server(f"http://127.0.0.1:{httpd.server_port}")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()
