"""Thousands of requests with cancels, overlong prompts, bad schemas and clients that leave; then the books are checked.

python -m benchmarks.engine.soak --requests 5000
"""

from __future__ import annotations

import random
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.engine.common import parser, report
from promptflow_lite.catalog import resolve_model
from promptflow_lite.engine import EngineSettings
from promptflow_lite.errors import EngineError
from promptflow_lite.providers.local import LocalClient

SYSTEM = ("You answer in one word.", "You are a poet. Answer briefly.", "Translate to French, nothing else.")
BAD_SCHEMAS: tuple[Any, ...] = ({"type": "nonsense"}, [], {"type": "string", "maxLength": 10**9}, {"$ref": "#/nowhere"})


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

    def one(number: int) -> None:
        outcome = _request(client, random.Random(number))
        with lock:
            counts[outcome] = counts.get(outcome, 0) + 1
            if sum(counts.values()) % max(n_requests // 10, 1) == 0:
                memory_mib.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

    with ThreadPoolExecutor(n_clients) as pool:
        list(pool.map(one, range(n_requests)))
    while engine.stats.running_rows or engine.stats.waiting_rows:
        time.sleep(0.05)
    planner: Any = engine._worker._planner
    answer = client.chat({"messages": [{"role": "user", "content": "Say yes."}], "choices": ["yes", "no"]})
    return {
        "requests": n_requests,
        "outcomes": counts,
        "wrong": counts.get("wrong", 0),
        "rows_left": len(planner.running) + planner.n_waiting,
        "cells_leaked": planner.n_cells_used - planner.tree.n_cells,
        "cells_kept": planner.tree.n_cells,
        "memory_mib": memory_mib,
        "still_serving": bool(answer["label_probabilities"]),
        "seconds": round(time.monotonic() - started, 1),
    }


def _request(client: LocalClient, draw: random.Random) -> str:
    messages = [
        {"role": "system", "content": draw.choice(SYSTEM)},
        {"role": "user", "content": f"Word number {draw.randint(0, 400)}?"},
    ]
    body: dict[str, Any] = {"messages": messages, "max_tokens": draw.randint(1, 6), "seed": 1}
    kind = draw.choices(
        ("plain", "choices", "cancel", "overlong", "schema", "timeout", "json"), (40, 20, 15, 5, 8, 6, 6)
    )[0]
    try:
        return _KINDS[kind](client, body, draw)
    except EngineError as error:
        expected = {"overlong": "engine.context_full", "schema": "engine.grammar", "timeout": "engine.timeout"}
        return f"refused {kind}" if expected.get(kind) == error.code else "wrong"


def _plain(client: LocalClient, body: dict[str, Any], _draw: random.Random) -> str:
    answer = client.chat(body)
    is_right = answer["usage"]["completion_tokens"] <= body["max_tokens"] and answer["choices"][0]["finish_reason"]
    return "answered" if is_right else "wrong"


def _choices(client: LocalClient, body: dict[str, Any], draw: random.Random) -> str:
    labels = draw.choice((["yes", "no"], ["very good", "very bad", "good"]))
    probabilities = client.chat({"messages": body["messages"], "choices": labels})["label_probabilities"]
    return "scored" if abs(sum(probabilities.values()) - 1) < 1e-6 else "wrong"


def _cancel(client: LocalClient, body: dict[str, Any], draw: random.Random) -> str:
    stream = client.stream_chat({**body, "max_tokens": 50})
    for _ in range(draw.randint(0, 4)):
        next(stream, None)
    stream.close()  # type: ignore[attr-defined]
    return "cancelled"


def _overlong(client: LocalClient, body: dict[str, Any], _draw: random.Random) -> str:
    client.chat({**body, "messages": [{"role": "user", "content": "far " * 2200}]})
    return "wrong"


def _schema(client: LocalClient, body: dict[str, Any], draw: random.Random) -> str:
    wanted = {"type": "json_schema", "json_schema": {"schema": draw.choice(BAD_SCHEMAS)}}
    client.chat({**body, "response_format": wanted})
    return "wrong"


def _timeout(client: LocalClient, body: dict[str, Any], _draw: random.Random) -> str:
    client.chat({**body, "max_tokens": 200}, timeout_s=0.02)
    return "answered in time"


def _json(client: LocalClient, body: dict[str, Any], _draw: random.Random) -> str:
    schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    client.chat({**body, "max_tokens": 24, "response_format": wanted})
    return "answered as JSON"


_KINDS = {
    "plain": _plain,
    "choices": _choices,
    "cancel": _cancel,
    "overlong": _overlong,
    "schema": _schema,
    "timeout": _timeout,
    "json": _json,
}


if __name__ == "__main__":
    main()
