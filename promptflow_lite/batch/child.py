"""The child side of process isolation: makes an executor from what the parent sends, then answers line by line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from promptflow_lite._utils.jsonable import dumps_bytes, loads
from promptflow_lite.connections import DictConnectionSource, from_parts
from promptflow_lite.errors import error_to_dict
from promptflow_lite.flow import load_flow
from promptflow_lite.records import Status
from promptflow_lite.records.data import line_to_data, node_to_data
from promptflow_lite.runtime import LineExecutor, LineValues, captured_prints, create_executor, flow_process


def main() -> None:
    """Serve the parent until it closes the pipe; what user code prints never reaches the pipe."""
    requests, replies = _private_pipes()
    stream = _messages(requests)
    spec = next(stream)
    try:
        flow = load_flow(spec["flow"], variant=spec["variant"], code=spec["code"])
        connections = DictConnectionSource([from_parts(**record) for record in spec["connections"]])
        with flow_process(flow.root, spec["environment"]), captured_prints(echo=False):
            executor = create_executor(
                flow, connections, connection_overrides=spec["connection_overrides"], init=spec["init"]
            )
            _reply(replies, {"ready": True})
            for request in stream:
                _reply(replies, _answer(executor, request))
    except Exception as error:  # whatever went wrong, the parent shall say it
        _reply(replies, {"error": error_to_dict(error)})


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the parent under descriptors of their own; stdin and stdout lead nowhere for user code."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return requests, replies


def _messages(requests: BinaryIO) -> Iterator[dict[str, Any]]:
    for line in requests:
        yield loads(line)


def _reply(replies: BinaryIO, message: dict[str, Any]) -> None:
    replies.write(dumps_bytes(message) + b"\n")
    replies.flush()


def _answer(executor: LineExecutor, request: dict[str, Any]) -> dict[str, Any]:
    if "aggregate" in request:
        lines = [LineValues(item["line_number"], item["values"]) for item in request["aggregate"]]
        result = executor.run_aggregation(lines)
        return {
            "nodes": [node_to_data(node) for node in result.nodes],
            "metrics": result.metrics,
            "outputs": result.outputs,
        }

    line = executor.run_line(request["inputs"], line_number=request["line_number"])
    values = None
    if executor.has_aggregation and line.status is Status.COMPLETED:
        values = executor.aggregation_values(line).values

    return {"line": line_to_data(line), "values": values}


if __name__ == "__main__":
    main()
