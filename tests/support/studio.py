"""A running studio and a watched browser page, for tests and benchmarks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from promptflow_lite.records import LineResult, NodeResult, RunRecord, Status, Usage
from promptflow_lite.sdk.client import Client

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str | None:
    """The browser of this machine."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Studio:
    """A running `pfl ui`."""

    def __init__(self, folder: Path, *arguments: str, port: int | None = None, **environment: str) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "promptflow_lite.cli.main", "ui", str(folder), "--no-browser"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *arguments],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1).close()
            except urllib.error.HTTPError as refused:
                refused.close()
                return
            except OSError:
                assert self.process.poll() is None, "the studio ended at once"
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the studio did not start")

    def close(self) -> int:
        """Ask it to stop and wait."""
        self.process.terminate()
        return self.process.wait(20)


class Watched:
    """A page with what it asked for and complained about."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.foreign: list[str] = []
        self.complaints: list[str] = []
        self.n_runs = 0
        page.on("request", self._request)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("websocket", lambda socket: socket.on("framereceived", self._frame))

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.foreign.append(request.url)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _frame(self, payload: Any) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        message = ForwardMsg()
        if isinstance(payload, bytes):
            message.ParseFromString(payload)
            if message.WhichOneof("type") == "new_session":
                self.n_runs += 1

    def settle(self) -> None:
        """Wait until the server has nothing more to say."""
        self.page.wait_for_timeout(150)
        self.page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=30_000)
        self.page.wait_for_timeout(150)


def fill_store(
    client: Client,
    name: str,
    flow: Path,
    *,
    n_lines: int,
    base: str | None = None,
    status: Status = Status.COMPLETED,
    metrics: dict[str, float] | None = None,
) -> None:
    """Record a run of the ticket flow without running it."""
    now = time.time()
    is_good = status is Status.COMPLETED
    error = None if is_good else {"message": "The node broke.", "code": "UserError", "hint": "Mend it."}
    client.store.runs.create(
        RunRecord(
            name=name, flow=str(flow), flow_name=flow.name, status=Status.RUNNING, created_on=now, start_time=now,
            run=base, total_lines=n_lines, pid=os.getpid(), heartbeat=now,
        )
    )  # fmt: skip
    for start in range(0, n_lines, 5000):
        lines = [
            _line(number, status, error, now, is_judged=base is not None)
            for number in range(start, min(start + 5000, n_lines))
        ]
        client.store.runs.add_lines(name, lines)
    client.store.runs.update(name, status=status, end_time=now + 1, metrics=metrics or {}, error=error, pid=None)


def _line(number: int, status: Status, error: dict[str, Any] | None, now: float, *, is_judged: bool) -> LineResult:
    label = ("billing", "technical", "account")[number % 3]
    given: dict[str, Any] = {"correct": number % 2 == 0} if is_judged else {"label": label}
    output = given if error is None else None
    nodes = [
        NodeResult(
            "classify", status, inputs={"message": "m"}, output=label, error=error, start_time=now, end_time=now
        ),
        NodeResult("clean", status, inputs={"answer": label}, output=label, start_time=now, end_time=now),
    ]
    return LineResult(
        line_number=number,
        status=status,
        inputs={"message": f"Message number {number}"},
        output=output,
        error=error,
        start_time=now,
        end_time=now + 0.25,
        usage=Usage(prompt_tokens=30, completion_tokens=2, calls=1),
        nodes=nodes,
    )
