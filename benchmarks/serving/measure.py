"""Requests a second, latency and CPU time a request of a trivial two-node flow, everything recorded.

Usage: python benchmarks/serving/measure.py [--seconds 6] [--connections 8] [-- MORE OPTIONS OF pfl serve]
Uses `wrk` when it is installed, else a small asyncio client (which itself costs more than the server).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLOW = """\
inputs:
  text: {type: string}
outputs:
  answer:
    type: string
    reference: ${shout.output}
nodes:
- name: ask
  type: prompt
  source: {type: code, path: ask.jinja2}
  inputs:
    text: ${inputs.text}
- name: shout
  type: python
  source: {type: code, path: shout.py}
  inputs:
    prompt: ${ask.output}
"""
TOOL = """\
from promptflow_lite.tools import tool


@tool
def shout(prompt: str) -> str:
    return prompt.upper()
"""
BODY = '{"text": "hello world"}'
LUA = f"""\
wrk.method = "POST"
wrk.body = '{BODY}'
wrk.headers["Content-Type"] = "application/json"
"""


def write_flow(folder: Path) -> Path:
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(FLOW)
    (folder / "ask.jinja2").write_text("Say {{text}} loudly\n")
    (folder / "shout.py").write_text(TOOL)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load_with_wrk(port: int, seconds: float, connections: int, folder: Path) -> dict[str, float]:
    script = folder / "post.lua"
    script.write_text(LUA)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script)]
    out = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/score"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, float] = {"requests_per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])}  # type: ignore[index]
    for quantile in ("50%", "99%"):
        value, unit = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s)", out).groups()  # type: ignore[union-attr]
        found[f"p{quantile[:-1]}_ms"] = float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]
    found["requests"] = float(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    found["failed"] = float((re.search(r"Non-2xx or 3xx responses: (\d+)", out) or [0, 0])[1])
    return found


async def load_with_asyncio(port: int, seconds: float, connections: int) -> dict[str, float]:
    latencies: list[float] = []
    end = time.monotonic() + seconds
    fields = ["POST /score HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(BODY)}"]
    head = "\r\n".join([*fields, "", BODY])

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < end:
            started = time.monotonic()
            writer.write(head.encode())
            header = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", header)[1])  # type: ignore[index]
            await reader.readexactly(length)
            latencies.append(time.monotonic() - started)
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    latencies.sort()
    n = len(latencies)
    return {
        "requests_per_s": n / seconds,
        "p50_ms": latencies[n // 2] * 1e3,
        "p99_ms": latencies[int(n * 0.99)] * 1e3,
        "requests": float(n),
        "failed": 0.0,
    }


def wait_until_up(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the server did not start")


def recorded(home: Path) -> int:
    import sqlite3

    with sqlite3.connect(home / "pfl.sqlite") as database:
        return int(database.execute("SELECT count(*) FROM requests").fetchone()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        flow, port = write_flow(folder / "flow"), free_port()
        environment = {**os.environ, "PFL_HOME": str(folder / "home")}
        command = [sys.executable, "-m", "promptflow_lite.cli.main", "serve", str(flow), "--port", str(port)]
        server = subprocess.Popen([*command, *args.options], env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_until_up(port)

            def load(seconds: float) -> dict[str, float]:
                if shutil.which("wrk"):
                    return load_with_wrk(port, seconds, args.connections, folder)
                return asyncio.run(load_with_asyncio(port, seconds, args.connections))

            warm = load(1.0)
            before = cpu_seconds(server.pid)
            result = load(args.seconds)
            result["server_cpu_us_per_request"] = (cpu_seconds(server.pid) - before) / result["requests"] * 1e6
        finally:
            server.send_signal(signal.SIGTERM)
            result_code = server.wait(30)
        result["exit_code"] = result_code
        if "--no-record" not in args.options:
            # Requests that wrk itself abandoned when its time was over are recorded, too.
            result["recorded_share"] = recorded(folder / "home") / (warm["requests"] + result["requests"])
        print(json.dumps({key: round(value, 3) for key, value in result.items()}, indent=2))


if __name__ == "__main__":
    main()
