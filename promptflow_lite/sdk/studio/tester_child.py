"""The process that runs a flow's code for the studio: requests come in as lines of JSON, answers go out the same way.

Requests that come while others run are answered beside them. It lives as long as the studio, so a local model stays
loaded; a flow that crashes takes only this process down.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.errors import UserErrorException, error_to_dict
from promptflow_lite.flow import DagFlow, Flow, OutputSpec, Reference, load_flow
from promptflow_lite.records import LineResult, NodeResult, Status
from promptflow_lite.runtime import RecordingIterator, finish_streams, observed_nodes, streamed_outputs
from promptflow_lite.sdk.client import Client

Send = Callable[[dict[str, Any]], None]


def main() -> None:
    """Answer requests until standard input ends; those that arrive while others run belong to the same flow."""
    answers = _Answers(_claim_stdout())
    client = Client()
    for line in sys.stdin:
        request = loads(line)
        if answers.expect() == 1:
            _enter(Path(request["flow"]))
        threading.Thread(target=_serve, args=(client, request, answers), daemon=True).start()


class _Answers:
    """The way back to the studio, one message a line.

    Thread: safe.
    """

    def __init__(self, pipe: TextIO) -> None:
        self._n_open = 0
        self._pipe = pipe
        self._lock = threading.Lock()

    def expect(self) -> int:
        """Count a request; returns how many have no last message yet."""
        with self._lock:
            self._n_open += 1
            return self._n_open

    def send(self, number: int, message: Mapping[str, Any]) -> None:
        with self._lock:
            self._n_open -= message["event"] in ("done", "failed")
            self._pipe.write(dumps({"id": number, **message}) + "\n")
            self._pipe.flush()


def _claim_stdout() -> TextIO:
    """Keep the pipe for answers; what user code prints goes to standard error instead."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def _enter(flow: Path) -> None:
    """Make the flow's folder the working directory, and see edits of its helper files."""
    root = flow if flow.is_dir() else flow.parent
    if root.is_dir():
        os.chdir(root)
    _forget_modules(root)


def _serve(client: Client, request: Mapping[str, Any], answers: _Answers) -> None:
    def send(message: dict[str, Any]) -> None:
        answers.send(request["id"], message)

    try:
        with observed_nodes(lambda node: send({"event": "node", "record": node_to_dict(node)})):
            last = _answer(client, request, send)
    except (Exception, SystemExit) as error:  # whatever a flow does becomes an answer
        last = {"event": "failed", "error": error_to_dict(error)}
    send(last)


def _answer(client: Client, request: Mapping[str, Any], send: Send) -> dict[str, Any]:
    flow = load_flow(request["flow"], variant=request.get("variant"))
    if request["action"] == "node":
        return _answer_node(client, flow, request)

    with client.flows.open(_reduced(flow, request.get("only")), show_prints=False) as opened:
        tested = opened.test(request["inputs"], allow_stream=bool(request.get("stream")))
        for name, stream in streamed_outputs(tested.line):
            for piece in stream:
                send({"event": "delta", "output": name, "text": str(piece)})

        finish_streams(tested.line)
        nodes = [*tested.line.nodes, *(tested.aggregation.nodes if tested.aggregation else [])]
        return {"event": "done", **line_to_dict(tested.line, nodes), "metrics": tested.metrics}


def _answer_node(client: Client, flow: Flow, request: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(flow, DagFlow):
        raise UserErrorException("Only flows with nodes can have a node tested.")

    node = client.flows.test_node(flow, request["node"], inputs=request["inputs"], show_prints=False)
    nodes = [node_to_dict(node)]
    return {"event": "done", "status": node.status, "output": None, "error": node.error, "nodes": nodes}


def _reduced(flow: Flow, only: list[str] | None) -> Flow:
    """The flow without the nodes that are not asked for; its last node becomes the output."""
    if only is None or not isinstance(flow, DagFlow):
        return flow

    nodes = tuple(node for node in flow.nodes if node.name in only)
    last = Reference(kind="node", name=only[-1], section="output", text=f"${{{only[-1]}.output}}")
    is_plain = any(node.name == only[-1] and not node.aggregation for node in nodes)
    outputs = {only[-1]: OutputSpec(name=only[-1], reference=last)} if is_plain else {}
    return replace(flow, nodes=nodes, outputs=outputs)


def _forget_modules(root: Path) -> None:
    """Drop modules that came from the flow's folder."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and file.startswith(f"{root}{os.sep}"):
            del sys.modules[name]


def line_to_dict(line: LineResult, nodes: list[NodeResult]) -> dict[str, Any]:
    """What the studio shows of a line."""
    return {
        "status": line.status,
        "inputs": line.inputs,
        "output": line.output,
        "error": line.error,
        "duration_ms": line.duration_s * 1000,
        "start_time": line.start_time,
        "nodes": [node_to_dict(node) for node in nodes],
        "spans": [asdict(span) for span in line.spans],
    }


def node_to_dict(node: NodeResult) -> dict[str, Any]:
    """What the studio shows of a node."""
    start, end = node.start_time or 0.0, node.end_time or 0.0
    is_streaming = isinstance(node.output, RecordingIterator) and not node.output.is_exhausted
    return {
        "node": node.node,
        "status": Status.RUNNING if is_streaming else node.status,
        "inputs": node.inputs,
        "output": None if is_streaming else _joined(node.output),
        "error": node.error,
        "ms": max(end - start, 0.0) * 1000,
        "start_time": start,
        "end_time": end,
        "tokens": node.usage.total_tokens if node.usage else 0,
        "log": node.stdout + node.stderr,
        "is_cached": node.is_cached,
        "spans": [asdict(span) for span in node.spans],
    }


def _joined(output: Any) -> Any:
    """An output that streamed as the text it made."""
    if isinstance(output, RecordingIterator) and all(isinstance(item, str) for item in output.items):
        return "".join(output.items)

    return output


if __name__ == "__main__":
    main()
