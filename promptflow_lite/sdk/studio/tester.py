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

MAX_AT_ONCE = 8
"""Requests of one group that run together."""


@dataclass(slots=True)
class TestJob:
    """One request on its way; read its fields at any time: they are replaced, never changed."""

    flow: str
    nodes: list[str] | None
    """The nodes that will run; None for all."""
    group: str | None = None
    """Requests of one group run at the same time."""
    started: float = field(default_factory=time.time)
    text: dict[str, str] = field(default_factory=dict)
    """Streamed text so far, by output."""
    n_characters: int = 0
    """Length of all streamed text."""
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Node name -> its record so far; nodes that have not started are not in it."""
    n_events: int = 0
    """Grows whenever a node starts or ends."""
    result: dict[str, Any] | None = None
    """The outcome: keys `status`, `output`, `error`, `nodes`, `metrics`."""
    _done: threading.Event = field(default_factory=threading.Event)

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the outcome; False when it did not come in time."""
        return self._done.wait(timeout_s)

    def take(self, message: Mapping[str, Any]) -> None:
        """Take over what the process says about this request."""
        if message["event"] == "delta":
            self.text = {**self.text, message["output"]: self.text.get(message["output"], "") + message["text"]}
            self.n_characters += len(message["text"])
        elif message["event"] == "node":
            record = message["record"]
            self.progress = {**self.progress, record["node"]: record}
            self.n_events += 1
        else:
            self.finish({"status": "Failed", "output": None, "nodes": [], "metrics": {}, **message})

    def finish(self, result: dict[str, Any]) -> None:
        """Set the outcome once."""
        if not self.is_done:
            self.result = result
            self._done.set()


class FlowTester:
    """Runs requests in a child process; it starts with the first one and is kept, so that a local model stays loaded.

    Requests run in the order they were made, one at a time; those of one group run together.

    Thread: safe.
    """

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="pfl-tester")
        self._numbers = itertools.count(1)
        self._waiting: list[TestJob] = []
        self._is_closed = False
        self._changed = threading.Condition()
        """Held to read or change any of the above; notified when a request ends."""

    def __del__(self) -> None:
        """A tester that nobody closed leaves neither a process nor a file behind."""
        with contextlib.suppress(AttributeError, OSError):
            self.close()

    @property
    def is_busy(self) -> bool:
        return self._child is not None and bool(self._child.jobs)

    def run(
        self,
        flow: str | os.PathLike[str],
        inputs: Mapping[str, Any],
        *,
        variant: str | None = None,
        only: list[str] | None = None,
        stream: bool = False,
        group: str | None = None,
    ) -> TestJob:
        """Run a flow, or the nodes named in `only`."""
        request = {"action": "flow", "inputs": dict(inputs), "variant": variant, "only": only, "stream": stream}
        return self._submit(TestJob(os.fspath(flow), only, group), request)

    def run_node(
        self, flow: str | os.PathLike[str], node: str, inputs: Mapping[str, Any], *, variant: str | None = None
    ) -> TestJob:
        """Run one node with the flow inputs and node outputs given as `inputs`."""
        request = {"action": "node", "node": node, "inputs": dict(inputs), "variant": variant}
        return self._submit(TestJob(os.fspath(flow), [node]), request)

    def cancel(self) -> None:
        """Stop what runs, and what waits in its group, by ending the process; the next request starts a new one."""
        with self._changed:
            running = list(self._child.jobs.values()) if self._child is not None else []
            groups = {job.group for job in running} - {None}
            for job in [*running, *(job for job in self._waiting if job.group in groups)]:
                job.finish(_failure("Canceled", "The run was cancelled.", ""))

            if self._child is not None:
                self._child.kill()

    def close(self) -> None:
        """End the process; requests that wait are dropped."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._queue.shutdown(wait=False, cancel_futures=True)
        self.cancel()
        if self._child is not None:
            self._child.join()

    def _submit(self, job: TestJob, request: dict[str, Any]) -> TestJob:
        request = {"id": next(self._numbers), "flow": job.flow, **request}
        with self._changed:
            self._waiting.append(job)
        self._queue.submit(self._send, job, request)
        return job

    def _send(self, job: TestJob, request: dict[str, Any]) -> None:
        """Hand a request to the process as soon as it may run."""
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._may_start(job))
                self._waiting.remove(job)
                if self._is_closed:
                    raise OSError("it was closed")

                if job.is_done:
                    return

                if self._child is None or not self._child.is_alive:
                    self._child = _Child(self._changed)
                child = self._child
                child.jobs[request["id"]] = job
            child.write(request)
        except (OSError, ValueError) as error:
            job.finish(_failure("Failed", f"The test process could not be used: {error}", "Run it again."))

    def _may_start(self, job: TestJob) -> bool:
        running = list(self._child.jobs.values()) if self._child is not None else []
        if not running or job.is_done:
            return True

        return job.group is not None and job.group == running[0].group and len(running) < MAX_AT_ONCE


class _Child:
    """The process, and the thread that hears its answers; both end together.

    Args:
        changed: Held while `jobs` changes, and notified then.
    """

    def __init__(self, changed: threading.Condition) -> None:
        self.jobs: dict[int, TestJob] = {}
        """What it works on, by number of the request."""
        self._changed = changed
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
        self._listener = threading.Thread(target=self._listen, name="pfl-tester-answers", daemon=True)
        self._listener.start()

    @property
    def is_alive(self) -> bool:
        return self._listener.is_alive() and self._process.poll() is None

    def write(self, request: Mapping[str, Any]) -> None:
        """Send a request. Raises OSError or ValueError when the process is gone."""
        print(dumps(request), file=self._process.stdin, flush=True)

    def kill(self) -> None:
        """End the process with everything it started."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def join(self) -> None:
        """Wait until everything is closed."""
        self._listener.join()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            message = loads(line)
            job = self.jobs.get(message["id"])
            if job is not None:
                job.take(message)
                if job.is_done:
                    self._drop(message["id"])

        self._bury(self._process.wait())

    def _drop(self, *numbers: int) -> None:
        with self._changed:
            for number in numbers:
                self.jobs.pop(number, None)
            self._changed.notify_all()

    def _bury(self, code: int) -> None:
        """Tell those who still wait, and close what belonged to the process."""
        self._errors.seek(0)
        last_words = str(self._errors.read()[-2000:].strip())
        for job in list(self.jobs.values()):
            job.finish(_failure("Failed", f"The test process ended with code {code}. {last_words}", _CRASH_HINT))

        for file in (self._process.stdin, self._process.stdout, self._errors):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()

        self._drop(*self.jobs)


_CRASH_HINT = "A node ended the whole process, or it ran out of memory; the studio goes on."


def _failure(status: str, message: str, hint: str) -> dict[str, Any]:
    return {
        "status": status,
        "output": None,
        "nodes": [],
        "metrics": {},
        "error": {"message": message.strip(), "hint": hint},
    }
