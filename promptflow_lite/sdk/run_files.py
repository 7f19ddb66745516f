"""A run as files with the original's names and keys, derived from the store (contract 11.1)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from promptflow_lite._utils.clock import iso_utc
from promptflow_lite._utils.jsonable import dumps_bytes, loads
from promptflow_lite.flow import Flow, load_media, persist_media
from promptflow_lite.records import LineResult, NodeResult, RunRecord, Status
from promptflow_lite.sdk.flow_copy import copy_flow
from promptflow_lite.sdk.run_info import flow_run_info, node_run_info
from promptflow_lite.settings import env, log_level
from promptflow_lite.store import Store

SNAPSHOT_MAX_FILES = 5_000
SNAPSHOT_MAX_FILE_BYTES = 32 << 20
ARTIFACTS_UP_TO = 1_000
"""Runs with more lines have no record file a line unless `PFL_RUN_ARTIFACTS=all`; the store has every record."""


def write_snapshot(flow: Flow, output_path: str | Path) -> Path:
    """Copy the flow as it executes into the run's `snapshot` folder; returns the copied flow file."""
    return copy_flow(
        flow,
        Path(output_path) / "snapshot",
        max_files=SNAPSHOT_MAX_FILES,
        max_file_bytes=SNAPSHOT_MAX_FILE_BYTES,
    )


def write_run_files(store: Store, record: RunRecord, *, flow: Flow | None = None) -> None:
    """Write everything about a finished run below its output path, line by line, so that memory stays small.

    Args:
        store: Where the run is recorded.
        record: The run; nothing is written when it has no output path.
        flow: The flow, for its id and message format.
    """
    if record.output_path is None:
        return

    folder = Path(record.output_path)
    (folder / "flow_outputs").mkdir(parents=True, exist_ok=True)
    writer = _LineWriter(folder, record, flow)
    with writer:
        for line in store.runs.iter_lines(record.name):
            writer.write(line)
    for node in store.runs.node_results(record.name):
        writer.write_aggregation(node)

    _write_json(folder / "metrics.json", record.metrics)
    _write_json(folder / "meta.json", {"batch_size": 1})
    if record.error is not None:
        _write_json(folder / "error.json", record.error)
    else:
        (folder / "error.json").unlink(missing_ok=True)


class _LineWriter:
    """Appends lines to the tables of a run and to its artifact files."""

    def __init__(self, folder: Path, record: RunRecord, flow: Flow | None) -> None:
        self._folder = folder
        self._run = record.name
        self._record = record
        self._flow_id = str(getattr(flow, "id", "default_flow_id"))
        self._message_format = getattr(flow, "message_format", "basic")
        self._has_artifacts = _wants_artifacts(record)
        self._folders: set[str] = set()
        self._log_level = log_level() or logging.INFO
        self._handles: dict[str, IO[bytes]] = {}

    def __enter__(self) -> _LineWriter:
        for name in ("flow_outputs/output.jsonl", "inputs.jsonl", "outputs.jsonl", "logs.txt"):
            self._handles[name] = (self._folder / name).open("wb")
        self._log(f"Run {self._run} of {self._record.flow_name or self._record.flow} starts.", self._record.start_time)
        return self

    def __exit__(self, *_: object) -> None:
        status = self._record.status.value
        self._log(f"Run {self._run} ends with status {status}.", self._record.end_time)
        for handle in self._handles.values():
            handle.close()

    def write(self, line: LineResult) -> None:
        number = line.line_number or 0
        if line.inputs is not None:
            self._append("inputs.jsonl", {**line.inputs, "line_number": number})

        if line.status is Status.COMPLETED and line.output is not None:
            output = self._with_image_files(line.output)
            self._append("flow_outputs/output.jsonl", {"line_number": number, **output})
            self._append("outputs.jsonl", {**output, "line_number": number})

        self._write_log(number, line)
        if self._has_artifacts:
            self._write_artifacts(number, line)

    def _write_artifacts(self, number: int, line: LineResult) -> None:
        info = flow_run_info(line, run=self._run, flow_id=self._flow_id, message_format=self._message_format)
        self._artifact(
            "flow_artifacts",
            number,
            {
                "line_number": number,
                "run_info": info,
                "start_time": _without_zone(info["start_time"]),
                "end_time": _without_zone(info["end_time"]),
                "name": "",
                "description": "",
                "status": info["status"],
                "tags": None,
            },
        )
        for node in line.nodes:
            info = node_run_info(node, line, run=self._run, message_format=self._message_format)
            self._artifact(f"node_artifacts/{node.node}", number, _node_record(info, number))

    def write_aggregation(self, node: NodeResult) -> None:
        """One aggregation node's record."""
        info = node_run_info(node, None, run=self._run, message_format=self._message_format)
        path = self._folder / "node_artifacts" / node.node / f"{0:09d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dumps_bytes(_node_record(info, None)) + b"\n")

    def _artifact(self, folder: str, number: int, record: dict[str, Any]) -> None:
        if folder not in self._folders:
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)

        name = f"{number:09d}_{number:09d}.jsonl" if folder == "flow_artifacts" else f"{number:09d}.jsonl"
        (self._folder / folder / name).write_bytes(dumps_bytes(record) + b"\n")

    def _with_image_files(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        """Outputs with their images in files beside `output.jsonl`."""
        if b"image" not in dumps_bytes(output):
            return output

        folder = self._folder / "flow_outputs"
        loaded = load_media(dict(output), root=folder, message_format=self._message_format, fetch_urls=False)
        persisted = persist_media(loaded, folder, relative_to=folder, message_format=self._message_format)
        return persisted if isinstance(persisted, Mapping) else output

    def _write_log(self, number: int, line: LineResult) -> None:
        printed = [text for node in line.nodes for text in (node.stdout, node.stderr) if text]
        for text in printed:
            self._handles["logs.txt"].write(text.encode() + (b"" if text.endswith("\n") else b"\n"))
        if line.error is not None:
            self._log(f"Line {number} failed: {line.error.get('message', '')}", line.end_time, logging.ERROR)

        if self._has_artifacts or line.error is not None:
            path = self._folder / "flow_logs" / f"{number:09d}.log"
            path.parent.mkdir(exist_ok=True)
            message = "" if line.error is None else str(line.error.get("message", ""))
            path.write_text("".join(printed) + message, encoding="utf-8")

    def _log(self, message: str, time: float | None, level: int = logging.INFO) -> None:
        if level < self._log_level:
            return

        stamp = (iso_utc(time) or "")[:19].replace("T", " ")
        self._handles["logs.txt"].write(
            f"{stamp} +0000 execution.bulk     {logging.getLevelName(level):<8} {message}\n".encode()
        )

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        self._handles[name].write(dumps_bytes(row) + b"\n")


def _wants_artifacts(record: RunRecord) -> bool:
    wish = env("PFL_RUN_ARTIFACTS", "auto")
    return wish == "all" or (wish == "auto" and (record.total_lines or 0) <= ARTIFACTS_UP_TO)


def _node_record(info: dict[str, Any], number: int | None) -> dict[str, Any]:
    return {
        "NodeName": info["node"],
        "line_number": number,
        "run_info": info,
        "start_time": _without_zone(info["start_time"]),
        "end_time": _without_zone(info["end_time"]),
        "status": info["status"],
    }


def _without_zone(time: str | None) -> str | None:
    return time.removesuffix("Z") if time else time


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(loads(dumps_bytes(value)), indent=4, ensure_ascii=False), encoding="utf-8")


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON lines file."""
    with path.open("rb") as handle:
        for line in handle:
            if line.strip():
                yield loads(line)
