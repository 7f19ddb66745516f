"""Files that a test of a flow leaves in its `.promptflow` folder (contract 8.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.clock import iso_utc
from promptflow_lite._utils.jsonable import dumps_bytes, loads
from promptflow_lite.flow import Flow, PromptyFlow, contains_media, persist_media
from promptflow_lite.records import LineResult, NodeResult
from promptflow_lite.sdk.run_info import detail_of_test, node_run_info

if TYPE_CHECKING:
    from promptflow_lite.sdk.flows import TestResult


def detail_folder(flow: Flow, detail: str | Path | None = None) -> Path:
    """Where a flow's test files go: `detail`, else `.promptflow` beside the flow; prompties have a folder each."""
    if detail is not None:
        return Path(detail).absolute()

    if isinstance(flow, PromptyFlow):
        return flow.path.parent / ".promptflow" / flow.path.stem

    return (flow.path.parent if flow.path else flow.root) / ".promptflow"


def write_flow_test(flow: Flow, result: TestResult, folder: Path, *, variant: str | None = None) -> Any:
    """Write `flow.detail.json`, `flow.output.json`, `flow.metrics.json` and `flow.log`; returns the output to print.

    Images in the output become files in `output/`, named by their absolute paths in what is returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = _stem(variant)
    line = result.line
    aggregation = result.aggregation.nodes if result.aggregation else []
    detail = detail_of_test(
        line,
        aggregation,
        metrics=result.metrics or None,
        flow_id=str(getattr(flow, "id", "default_flow_id")),
        message_format=flow.message_format,
    )
    _write(folder / f"{stem}.detail.json", detail)
    (folder / f"{stem}.log").write_text(_log(flow, line, aggregation), encoding="utf-8")
    if line.exception is not None:
        return None

    _write(folder / f"{stem}.metrics.json", result.metrics)
    return _write_output(flow, result.plain_output, folder, stem)


def write_node_test(flow: Flow, node: NodeResult, folder: Path) -> Any:
    """Write `flow-<node>.node.detail.json`, its output and its log; returns the output to print."""
    folder.mkdir(parents=True, exist_ok=True)
    line = LineResult(0, node.status, run_id=node.node)
    stem = f"flow-{node.node}.node"
    _write(folder / f"{stem}.detail.json", {"flow_runs": [], "node_runs": [node_run_info(node, line)]})
    (folder / f"{node.node}.node.log").write_text(node.stdout + node.stderr, encoding="utf-8")
    return _write_output(flow, node.output, folder, stem)


def _write_output(flow: Flow, output: Any, folder: Path, stem: str) -> Any:
    """Write the output, with images by paths that are valid inputs of the flow; returns it with absolute paths."""
    path = folder / f"{stem}.output.json"
    if not contains_media(output):
        _write(path, output)
        return output

    images = folder / "output"
    origin = flow.root if flow.root in images.parents else None
    _write(path, persist_media(output, images, relative_to=origin, message_format=flow.message_format))
    return persist_media(output, images, relative_to=None, message_format=flow.message_format)


def _stem(variant: str | None) -> str:
    if variant is None:
        return "flow"

    node, _, name = variant.strip("${}").partition(".")
    return f"flow-{node}-{name}"


def _log(flow: Flow, line: LineResult, aggregation: list[NodeResult]) -> str:
    parts = [f"{iso_utc(line.start_time)} execution.flow INFO Start executing {flow.name}.\n"]
    for node in [*line.nodes, *aggregation]:
        parts.append(f"{iso_utc(node.end_time)} execution.flow INFO Node {node.node}: {node.status.value}.\n")
        parts += [text for text in (node.stdout, node.stderr) if text]
        if node.error is not None:
            parts.append(f"{iso_utc(node.end_time)} execution.flow ERROR {node.error.get('message', '')}\n")
    if line.error is not None:
        parts.append(f"{iso_utc(line.end_time)} execution ERROR {line.error.get('message', '')}\n")

    return "".join(parts)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(loads(dumps_bytes(value)), indent=2, ensure_ascii=False), encoding="utf-8")
