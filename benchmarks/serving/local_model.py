"""A flow on the local engine: rows a second when called directly from 16 threads, and when served to 16 clients.

Usage: python benchmarks/serving/local_model.py [--rows 96] [--flow flows/sentiment]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import free_port, wait_until_up

CLIENTS = 16
WARM_UP = [f"A sentence that no round contains, number {i}." for i in range(CLIENTS)]


def rate(call: Callable[[str], None], texts: list[str]) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(call, texts))
    return len(texts) / (time.perf_counter() - started)


def direct(flow: str, rounds: list[list[str]]) -> list[float]:
    from promptflow_lite.flow import load_flow
    from promptflow_lite.runtime import create_executor
    from promptflow_lite.sdk.client import Client

    with Client() as client:
        executor = create_executor(load_flow(Path(flow)), client.connections)

        def call(text: str) -> None:
            line = executor.run_line({"text": text})
            assert line.error is None, line.error

        rate(call, WARM_UP)
        rates = [rate(call, texts) for texts in rounds]
        executor.close()
    return rates


def served(flow: str, rounds: list[list[str]], port: int) -> list[float]:
    local = threading.local()

    def call(text: str) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        local.connection.request("POST", "/score", json.dumps({"text": text}))
        response = local.connection.getresponse()
        body = response.read()
        assert response.status == 200, body

    command = [sys.executable, "-m", "promptflow_lite.cli.main", "serve", flow, "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until_up(port)
        rate(call, WARM_UP)
        return [rate(call, texts) for texts in rounds]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--flow", default="flows/sentiment")
    args = parser.parse_args()
    rounds = [[f"The film number {r}-{i} was a long and strange evening." for i in range(args.rows)] for r in range(2)]
    with tempfile.TemporaryDirectory() as home:
        os.environ["PFL_HOME"] = home
        alone = max(direct(args.flow, rounds))
        over_http = max(served(args.flow, rounds, free_port()))
    result = {"direct_rows_per_s": alone, "served_rows_per_s": over_http, "share": over_http / alone}
    print(json.dumps({key: round(value, 3) for key, value in result.items()}, indent=2))


if __name__ == "__main__":
    main()
