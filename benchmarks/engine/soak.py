"""Thousands of requests, in process and served, with cancels, bad requests and clients that leave; then the books.

python -m benchmarks.engine.soak --requests 5000
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from benchmarks.engine.common import parser, report
from promptflow_lite.catalog import resolve_model
from promptflow_lite.engine import EngineSettings
from promptflow_lite.errors import EngineError
from promptflow_lite.providers.local import LocalClient
from promptflow_lite.serving.models import ModelServerSettings
from promptflow_lite.serving.models.app import create_model_app

SYSTEM = ("You answer in one word.", "You are a poet. Answer briefly.", "Translate to French, nothing else.")
BAD_SCHEMAS: tuple[Any, ...] = ({"type": "nonsense"}, [], {"type": "string", "maxLength": 10**9}, {"$ref": "#/nowhere"})
LABELS = ["very good", "very bad", "good"]
N_KNOWN = 8
"""Questions whose label probabilities are measured on the idle engine first."""
MOST_OFF = 0.2
"""How far a probability may be from that: rounding, not another row's tokens."""


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--requests", type=int, default=5000)
    options.add_argument("--clients", type=int, default=24)
    args = options.parse_args()
    report("soak", **run_soak(args.requests, args.clients, args.model, args.threads))


def run_soak(n_requests: int, n_clients: int, model: str | None = None, threads: int = 0) -> dict[str, Any]:
    """Returns counts; `wrong` and the leaks must be zero."""
    client = LocalClient(resolve_model(model), EngineSettings(n_threads=threads, n_cells=2048))
    engine = client.engine()
    counts: dict[str, int] = {}
    lock = threading.Lock()
    memory_mib: list[int] = []
    started = time.monotonic()

    with _served(client, n_clients) as port, ThreadPoolExecutor(n_clients) as pool:
        soak = _Soak(client, port)

        def one(number: int) -> None:
            outcome = soak.request(random.Random(number))
            with lock:
                counts[outcome] = counts.get(outcome, 0) + 1
                if sum(counts.values()) % max(n_requests // 10, 1) == 0:
                    memory_mib.append(_resident_mib())

        list(pool.map(one, range(n_requests)))
        while engine.stats.running_rows or engine.stats.waiting_rows:
            time.sleep(0.05)
        planner: Any = engine._worker._planner
        return {
            "requests": n_requests,
            "outcomes": counts,
            "wrong": sum(count for outcome, count in counts.items() if outcome.startswith("wrong")),
            "rows_left": len(planner.running) + planner.n_waiting,
            "cells_leaked": planner.n_cells_used - planner.tree.n_cells,
            "cells_kept": planner.tree.n_cells,
            "memory_mib": memory_mib,
            "still_serving": soak.served({"choices": LABELS, "messages": _messages(0, 0)}, random.Random(0))
            == "served",
            "seconds": round(time.monotonic() - started, 1),
        }


@contextmanager
def _served(client: LocalClient, n_clients: int) -> Iterator[int]:
    """The model server over the same engine; yields its port."""
    app = create_model_app(client, ModelServerSettings(max_requests=4 * n_clients))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def _resident_mib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def _messages(system: int, number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": SYSTEM[system]},
        {"role": "user", "content": f"Word number {number}?"},
    ]


class _Soak:
    """Requests of many kinds; each method says how one ended."""

    def __init__(self, client: LocalClient, port: int) -> None:
        self._client = client
        self._port = port
        self._known = {
            (system, number): self._probabilities(system, number)
            for system in range(len(SYSTEM))
            for number in range(N_KNOWN)
        }
        self._kinds = {
            self.plain: 24,
            self.known_choices: 20,
            self.cancel: 12,
            self.overlong: 5,
            self.schema: 7,
            self.timeout: 5,
            self.json: 6,
            self.served: 7,
            self.leave: 7,
            self.leave_stream: 7,
        }
        self._refusals = {
            self.overlong: "engine.context_full",
            self.schema: "engine.grammar",
            self.timeout: "engine.timeout",
        }

    def request(self, draw: random.Random) -> str:
        kind = draw.choices(list(self._kinds), list(self._kinds.values()))[0]
        messages = _messages(draw.randrange(len(SYSTEM)), draw.randint(0, 400))
        body = {"messages": messages, "max_tokens": draw.randint(1, 6), "seed": 1}
        try:
            return kind(body, draw)
        except EngineError as error:
            is_expected = self._refusals.get(kind) == error.code
            return f"refused {kind.__name__}" if is_expected else f"wrong: {kind.__name__}, {error.code}"

    # --- in process ----------------------------------------------------------------------------------------------

    def plain(self, body: dict[str, Any], _draw: random.Random) -> str:
        return _judge(self._client.chat(body), body, "answered")

    def known_choices(self, _body: dict[str, Any], draw: random.Random) -> str:
        key = (draw.randrange(len(SYSTEM)), draw.randrange(N_KNOWN))
        found, expected = self._probabilities(*key), self._known[key]
        is_right = all(abs(found[label] - expected[label]) < MOST_OFF for label in LABELS)
        return "scored" if is_right else "wrong: scores"

    def _probabilities(self, system: int, number: int) -> dict[str, float]:
        answer = self._client.chat({"messages": _messages(system, number), "choices": LABELS})
        return dict(answer["label_probabilities"])

    def cancel(self, body: dict[str, Any], draw: random.Random) -> str:
        stream = self._client.stream_chat({**body, "max_tokens": 50})
        for _ in range(draw.randint(0, 4)):
            next(stream, None)
        stream.close()  # type: ignore[attr-defined]
        return "cancelled"

    def overlong(self, body: dict[str, Any], _draw: random.Random) -> str:
        self._client.chat({**body, "messages": [{"role": "user", "content": "far " * 2200}]})
        return "wrong: overlong"

    def schema(self, body: dict[str, Any], draw: random.Random) -> str:
        wanted = {"type": "json_schema", "json_schema": {"schema": draw.choice(BAD_SCHEMAS)}}
        self._client.chat({**body, "response_format": wanted})
        return "wrong: schema"

    def timeout(self, body: dict[str, Any], _draw: random.Random) -> str:
        self._client.chat({**body, "max_tokens": 200}, timeout_s=0.02)
        return "answered in time"

    def json(self, body: dict[str, Any], _draw: random.Random) -> str:
        schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
        wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
        answer = self._client.chat({**body, "max_tokens": 24, "response_format": wanted})
        word = json.loads(answer["choices"][0]["message"]["content"])["word"]
        return "answered as JSON" if isinstance(word, str) else "wrong: json"

    # --- through the server --------------------------------------------------------------------------------------

    def served(self, body: dict[str, Any], _draw: random.Random) -> str:
        connection = self._send(body)
        response = connection.getresponse()
        outcome = _judge(json.load(response), body, "served") if response.status == 200 else f"wrong: {response.status}"
        connection.close()
        return outcome

    def leave(self, body: dict[str, Any], draw: random.Random) -> str:
        """The client closes its connection while the answer is being made."""
        connection = self._send({**body, "max_tokens": 200})
        time.sleep(draw.uniform(0, 0.3))
        connection.close()
        return "left"

    def leave_stream(self, body: dict[str, Any], draw: random.Random) -> str:
        """The client closes its connection between two events."""
        connection = self._send({**body, "max_tokens": 200, "stream": True})
        response = connection.getresponse()
        for _ in range(draw.randint(0, 6)):
            response.readline()
        response.close()
        connection.close()
        return "left a stream"

    def _send(self, body: dict[str, Any]) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        return connection


def _judge(answer: dict[str, Any], body: dict[str, Any], outcome: str) -> str:
    is_short = answer["usage"]["completion_tokens"] <= body.get("max_tokens", 0)
    return outcome if is_short and answer["choices"][0]["finish_reason"] else "wrong: too long"


if __name__ == "__main__":
    main()
