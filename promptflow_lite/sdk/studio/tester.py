"""Runs flows for the studio in a process of its own, so that user code can neither block nor harm the studio."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from promptflow_lite._utils.jsonable import dumps, loads


@dataclass(slots=True)
class TestJob:
    """One request on its way; read its fields at any time."""

    flow: str
    nodes: list[str] | None
    """The nodes that will run; None for all."""
    started: float = field(default_factory=time.time)
    text: dict[str, str] = field(default_factory=dict)
    """Streamed text so far, by output."""
    result: dict[str, Any] | None = None
    """The outcome: keys `status`, `output`, `error`, `nodes`, `metrics`."""
    _done: threading.Event = field(default_factory=threading.Event)

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the outcome; False when it did not come in time."""
        return self._done.wait(timeout_s)

    def finish(self, result: dict[str, Any]) -> None:
        """Set the outcome once."""
        if not self.is_done:
            self.result = result
            self._done.set()


class FlowTester:
    """One child process that runs one request at a time; it starts with the first request.

    Thread: safe; requests are answered in the order they were made.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="pfl-tester")
        self._numbers = itertools.count(1)
        self._current: TestJob | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        """Held while a process starts, so that none starts after `close`."""

    def __del__(self) -> None:
        """A tester that nobody closed leaves neither a process nor a file behind."""
        with contextlib.suppress(AttributeError, OSError):
            self.cancel()
            self._release()

    @property
    def is_busy(self) -> bool:
        return self._current is not None

    def run(
        self,
        flow: str | os.PathLike[str],
        inputs: Mapping[str, Any],
        *,
        variant: str | None = None,
        only: list[str] | None = None,
        stream: bool = False,
    ) -> TestJob:
        """Run a flow, or the nodes named in `only`."""
        request = {"action": "flow", "inputs": dict(inputs), "variant": variant, "only": only, "stream": stream}
        return self._submit(TestJob(os.fspath(flow), only), request)

    def run_node(
        self, flow: str | os.PathLike[str], node: str, inputs: Mapping[str, Any], *, variant: str | None = None
    ) -> TestJob:
        """Run one node with the flow inputs and node outputs given as `inputs`."""
        request = {"action": "node", "node": node, "inputs": dict(inputs), "variant": variant}
        return self._submit(TestJob(os.fspath(flow), [node]), request)

    def cancel(self) -> None:
        """Stop what runs by ending the process; the next request starts a new one."""
        process, job = self._process, self._current
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        if job is not None:
            job.finish(_failure("Canceled", "The run was cancelled.", ""))

    def close(self) -> None:
        """End the process; requests that wait are dropped."""
        with self._lock:
            self._is_closed = True
        self._queue.shutdown(wait=False, cancel_futures=True)
        self.cancel()
        self._release()

    def _release(self) -> None:
        """Wait for an ended process and close what belonged to it."""
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

            self._process = None

        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _submit(self, job: TestJob, request: dict[str, Any]) -> TestJob:
        request = {"id": next(self._numbers), "flow": job.flow, **request}
        self._queue.submit(self._work, job, request)
        return job

    def _work(self, job: TestJob, request: dict[str, Any]) -> None:
        self._current = job
        try:
            self._exchange(job, request)
        except (OSError, ValueError) as error:
            job.finish(_failure("Failed", f"The test process could not be used: {error}", "Run it again."))
        finally:
            self._current = None

    def _exchange(self, job: TestJob, request: dict[str, Any]) -> None:
        process = self._ensure_process()
        if process.stdin is None or process.stdout is None:
            raise OSError("its pipes are closed")

        process.stdin.write(dumps(request) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            message = loads(line)
            if message["id"] != request["id"]:
                continue

            if message["event"] == "delta":
                job.text[message["output"]] = job.text.get(message["output"], "") + message["text"]
                continue

            job.finish({"status": "Failed", "output": None, "nodes": [], "metrics": {}, **message})
            return

        code = process.wait()
        job.finish(_failure("Failed", f"The test process ended with code {code}. {self._last_words()}", _CRASH_HINT))

    def _ensure_process(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._is_closed:
                raise OSError("it was closed")

            return self._running_process()

    def _running_process(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._release()
            self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "promptflow_lite.sdk.studio.tester_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        return self._process

    def _last_words(self) -> str:
        self._errors.seek(0)
        return str(self._errors.read()[-2000:].strip())


_CRASH_HINT = "A node ended the whole process, or it ran out of memory; the studio goes on."


def _failure(status: str, message: str, hint: str) -> dict[str, Any]:
    return {
        "status": status,
        "output": None,
        "nodes": [],
        "metrics": {},
        "error": {"message": message.strip(), "hint": hint},
    }
