"""Lines in processes of their own: a node that crashes or never returns costs its line, not the run.

Each worker thread owns one child process and talks to it in lines of JSON. Nothing that the child sends is executed
here, and this process never imports the flow's code.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from promptflow_lite._utils.jsonable import dumps_bytes, loads
from promptflow_lite.batch.workers import FinishedLine
from promptflow_lite.errors import ProcessCrashError, PromptflowException, SystemErrorException, error_to_dict
from promptflow_lite.records import LineResult, NodeResult, Status
from promptflow_lite.records.data import line_from_data, node_from_data
from promptflow_lite.runtime import AggregationResult, LineValues, timed_out_line

_STARTUP_TIMEOUT_S = 120.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """What a child process needs to make the same executor; travels as JSON over a private pipe."""

    flow: str
    code: str | None = None
    """Folder of the code behind a `module:attr` entry."""
    variant: str | None = None
    connections: list[dict[str, Any]] = field(default_factory=list)
    """Connections with their secrets, as plain records."""
    connection_overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    init: dict[str, Any] | None = None


class ProcessRunner:
    """A `LineRunner` whose lines run in a child process; the child is replaced when it dies.

    Raises:
        PromptflowException: the child could not prepare the flow.
    """

    def __init__(self, spec: FlowSpec, *, line_timeout_s: float | None = None) -> None:
        self._spec = spec
        self._line_timeout_s = line_timeout_s
        self._child: _Child | None = _Child(spec)

    def run(self, line_number: int, inputs: dict[str, Any], cancel: threading.Event) -> FinishedLine:
        start_time = time.time()
        if self._child is None:
            self._child = _Child(self._spec)

        try:
            reply = self._child.ask({"line_number": line_number, "inputs": inputs}, self._line_timeout_s, cancel)
        except TimeoutError:
            self._discard()
            limit = self._line_timeout_s or 0.0
            return FinishedLine(timed_out_line(inputs, line_number, None, start_time, limit))
        except InterruptedError:
            self._discard()
            return FinishedLine(LineResult(line_number, Status.CANCELED, start_time=start_time, end_time=time.time()))
        except EOFError:
            exit_code = self._discard()
            return FinishedLine(_crashed(line_number, inputs, start_time, exit_code))

        values = reply.get("values")
        return FinishedLine(line_from_data(reply["line"]), None if values is None else LineValues(line_number, values))

    def aggregate(self, lines: list[LineValues]) -> AggregationResult:
        """Run the aggregation nodes in the child.

        Raises:
            ProcessCrashError: the child died.
        """
        if self._child is None:
            self._child = _Child(self._spec)

        payload = [{"line_number": line.line_number, "values": dict(line.values)} for line in lines]
        try:
            reply = self._child.ask({"aggregate": payload}, None, threading.Event())
        except EOFError as error:
            raise ProcessCrashError("The process crashed while executing aggregation nodes.") from error

        nodes: list[NodeResult] = [node_from_data(node) for node in reply["nodes"]]
        return AggregationResult(nodes=nodes, metrics=reply["metrics"], outputs=reply["outputs"])

    def close(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _discard(self) -> int | None:
        child, self._child = self._child, None
        return child.stop(kill=True) if child else None


def _crashed(line_number: int, inputs: dict[str, Any], start_time: float, exit_code: int | None) -> LineResult:
    error = ProcessCrashError(
        f"Process crashed while executing line {line_number}, exit code {exit_code}.",
        hint="A node ended its process (os._exit, a crash in native code, or out of memory).",
        line_number=line_number,
        exit_code=exit_code,
    )
    return LineResult(
        line_number,
        Status.FAILED,
        inputs=inputs,
        error=error_to_dict(error),
        start_time=start_time,
        end_time=time.time(),
        exception=error,
    )


class _Child:
    """A running child process: JSON requests in, JSON replies out, each on a line."""

    def __init__(self, spec: FlowSpec) -> None:
        self._process = subprocess.Popen(  # our own interpreter and module
            [sys.executable, "-m", "promptflow_lite.batch.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._buffer = bytearray()
        try:
            reply = self.ask(asdict(spec), _STARTUP_TIMEOUT_S, threading.Event())
        except EOFError as error:
            self.stop(kill=True)
            raise ProcessCrashError("The worker process ended before it could prepare the flow.") from error

        if "error" in reply:
            self.stop(kill=True)
            raise _rebuilt(reply["error"])

    def ask(self, request: dict[str, Any], timeout_s: float | None, cancel: threading.Event) -> dict[str, Any]:
        """Send a request and wait for its reply.

        Raises:
            TimeoutError, EOFError, InterruptedError: no reply in time, the child died, or the run was cancelled.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if self._process.stdin is None:
            raise EOFError

        try:
            self._process.stdin.write(dumps_bytes(request) + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise EOFError from error

        reply: dict[str, Any] = loads(self._read_line(deadline, cancel))
        return reply

    def _read_line(self, deadline: float | None, cancel: threading.Event) -> bytes:
        if self._process.stdout is None:
            raise EOFError

        handle = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            while (end := self._buffer.find(b"\n")) < 0:
                if cancel.is_set():
                    raise InterruptedError

                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError

                if selector.select(_POLL_S):
                    data = os.read(handle, 1 << 16)
                    if not data:
                        raise EOFError

                    self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def stop(self, *, kill: bool = False) -> int | None:
        """End the child; closing its input lets it end by itself, `kill` does not ask."""
        process = self._process
        if kill:
            process.kill()

        if process.stdin is not None:
            try:
                process.stdin.close()
            except OSError:
                pass  # the child is gone, which is what is wanted

        try:
            code: int | None = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()

        return code


def _rebuilt(record: dict[str, Any]) -> PromptflowException:
    """An error that happened in the child, with its class when it is one of ours."""
    import promptflow_lite.errors as tree

    innermost, code = record, record["code"]
    while innermost.get("innerError"):
        innermost = innermost["innerError"]
        code = innermost["code"]
    cls = getattr(tree, code, SystemErrorException)
    if not (isinstance(cls, type) and issubclass(cls, PromptflowException)):
        cls = SystemErrorException

    error = cls.__new__(cls)
    PromptflowException.__init__(
        error, record["message"], record.get("messageFormat", ""), record.get("referenceCode"), hint=record.get("hint")
    )
    return error
