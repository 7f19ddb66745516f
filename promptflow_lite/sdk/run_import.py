"""Runs of the original from their folders on disk into the store (contract 11.1), line by line."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptflow_lite._utils.jsonable import loads
from promptflow_lite.errors import DataError, InvalidRunError, Location
from promptflow_lite.flow import absolute_media_paths
from promptflow_lite.records import LineResult, NodeResult, RunRecord, Status, Usage
from promptflow_lite.store import Store

_LINES_AT_ONCE = 200


def register_run_folder(store: Store, folder: Path, *, name: str | None = None, **fields: Any) -> RunRecord:
    """Record a run that was exported to a folder with a `run_metadata.json`.

    Args:
        store: Where the run is recorded.
        folder: The exported folder.
        name: Another name for the run.
        fields: Fields of the record that replace those of the folder, such as `display_name`.

    Raises:
        InvalidRunError: the folder is no exported run.
        RunExistsError: the name is taken.
    """
    metadata = _read_json(folder / "run_metadata.json")
    if not isinstance(metadata, dict):
        raise InvalidRunError(
            f"{str(folder)!r} is no exported run: it has no run_metadata.json.",
            hint="Name the folder that holds run_metadata.json.",
            where=Location(str(folder)),
        )
    record = run_of(metadata, folder, fallback_name=folder.name)
    given = {key: value for key, value in fields.items() if value is not None}
    return import_run(store, replace(record, name=name or record.name, **given), folder)


def run_of(row: Mapping[str, Any], folder: Path, *, fallback_name: str) -> RunRecord:
    """The record of a run from the original's index row or metadata."""
    properties = _mapping(row.get("properties"))
    status = _status(row.get("status"))
    created = _seconds(row.get("created_on")) or _seconds(row.get("start_time")) or time.time()
    name = str(row.get("name") or fallback_name)
    return RunRecord(
        name=name,
        flow=str(properties.get("flow_path") or row.get("flow") or ""),
        status=status,
        created_on=created,
        start_time=_seconds(row.get("start_time")),
        end_time=_seconds(row.get("end_time")),
        display_name=row.get("display_name") or name,
        description=row.get("description"),
        tags={str(key): str(value) for key, value in _mapping(row.get("tags")).items()},
        data=_text(row.get("data")),
        run=_text(properties.get("run")),
        variant=_text(properties.get("node_variant")),
        column_mapping=_mapping(properties.get("column_mapping")) or None,
        init=_mapping(properties.get("init_kwargs")) or None,
        resume_from=_text(properties.get("resume_from")),
        output_path=None,  # deleting the run must leave the files of the original alone
        is_archived=bool(row.get("archived")),
        properties={"imported_from": str(folder)},
    )


def import_run(store: Store, record: RunRecord, folder: Path) -> RunRecord:
    """Record a run and everything its folder holds; nothing stays behind when the folder cannot be read.

    Raises:
        RunExistsError: the name is taken.
        DataError: a record file is not JSON.
        InvalidRunError: a record has another form than expected.
    """
    final = record.status if record.status.is_final else Status.FAILED
    error = _read_json(folder / "error.json")
    store.runs.create(replace(record, status=final, error=error if isinstance(error, dict) else None))
    try:
        _import_lines(store, record.name, folder)
        store.runs.add_node_results(record.name, list(_aggregations(folder)))
        metrics = _read_json(folder / "metrics.json")
        if isinstance(metrics, dict) and metrics:
            store.runs.set_metrics(record.name, metrics)
    except (ValueError, TypeError, AttributeError) as error:
        store.runs.delete(record.name)
        raise InvalidRunError(
            f"A record of the run in {str(folder)!r} has another form than expected: {error}",
            hint="Export the run again.",
            where=Location(str(folder)),
        ) from error
    except BaseException:
        store.runs.delete(record.name)
        raise

    total = sum(store.runs.count_lines(record.name).values())
    store.runs.update(record.name, total_lines=total)
    return store.runs.get(record.name)


def _import_lines(store: Store, name: str, folder: Path) -> None:
    batch: list[LineResult] = []
    for line in _lines(folder):
        batch.append(line)
        if len(batch) >= _LINES_AT_ONCE:
            store.runs.add_lines(name, batch)
            batch = []

    store.runs.add_lines(name, batch)


def _lines(folder: Path) -> Iterator[LineResult]:
    """Lines from the first of these that is there: artifact files, a legacy `detail.json`, the tables."""
    artifacts = sorted((folder / "flow_artifacts").glob("*.jsonl"))
    if artifacts:
        for path in artifacts:
            for record in _json_lines(path):
                yield _line(record.get("run_info") or {}, record.get("line_number"), folder, path.parent)

        return

    detail = _read_json(folder / "detail.json")
    if isinstance(detail, dict):
        yield from _detailed_lines(detail, folder)
    else:
        yield from _tabled_lines(folder)


def _line(info: Mapping[str, Any], number: Any, folder: Path, base: Path) -> LineResult:
    number = int(number if number is not None else info.get("index") or 0)
    nodes: list[NodeResult] = []
    for path in sorted((folder / "node_artifacts").glob(f"*/{number:09d}.jsonl")):
        records = [record for record in _json_lines(path) if record.get("line_number") == number]
        nodes.extend(_node(record.get("run_info") or {}, path.parent) for record in records)

    nodes.sort(key=lambda node: node.start_time or 0.0)
    return _line_result(info, number, base, nodes)


def _line_result(info: Mapping[str, Any], number: int, base: Path, nodes: list[NodeResult]) -> LineResult:
    return LineResult(
        line_number=number,
        status=_status(info.get("status")),
        inputs=_without_number(info.get("inputs"), base),
        output=_without_number(info.get("output"), base),
        error=info.get("error"),
        start_time=_seconds(info.get("start_time")) or 0.0,
        end_time=_seconds(info.get("end_time")),
        usage=_usage(info.get("system_metrics")) or Usage(),
        nodes=nodes,
        run_id=_text(info.get("run_id")),
    )


def _node(info: Mapping[str, Any], base: Path) -> NodeResult:
    logs = _mapping(info.get("logs"))
    inputs = info.get("inputs")
    return NodeResult(
        node=str(info.get("node") or ""),
        status=_status(info.get("status")),
        inputs=absolute_media_paths(inputs, base) if isinstance(inputs, dict) else None,
        output=absolute_media_paths(info.get("output"), base),
        error=info.get("error"),
        start_time=_seconds(info.get("start_time")),
        end_time=_seconds(info.get("end_time")),
        usage=_usage(info.get("system_metrics")),
        stdout=str(logs.get("stdout") or ""),
        stderr=str(logs.get("stderr") or ""),
    )


def _aggregations(folder: Path) -> Iterator[NodeResult]:
    for path in sorted((folder / "node_artifacts").glob(f"*/{0:09d}.jsonl")):
        for record in _json_lines(path):
            if record.get("line_number") is None:
                yield _node(record.get("run_info") or {}, path.parent)


def _detailed_lines(detail: Mapping[str, Any], folder: Path) -> Iterator[LineResult]:
    nodes_of: dict[Any, list[NodeResult]] = {}
    for info in detail.get("node_runs") or []:
        nodes_of.setdefault(info.get("index"), []).append(_node(info, folder))

    for position, info in enumerate(detail.get("flow_runs") or []):
        index = info.get("index")
        number = position if index is None else int(index)
        yield _line_result(info, number, folder, nodes_of.get(index, []))


def _tabled_lines(folder: Path) -> Iterator[LineResult]:
    """Lines of which only the tables are left: what has an output was completed."""
    outputs = _by_number(folder / "outputs.jsonl") or _by_number(folder / "flow_outputs" / "output.jsonl")
    inputs = _by_number(folder / "inputs.jsonl")
    for number in sorted({*inputs, *outputs}):
        yield LineResult(
            line_number=number,
            status=Status.COMPLETED if number in outputs else Status.FAILED,
            inputs=_without_number(inputs.get(number), folder),
            output=_without_number(outputs.get(number), folder / "flow_outputs"),
        )


def _by_number(path: Path) -> dict[int, dict[str, Any]]:
    return {int(row["line_number"]): row for row in _json_lines(path) if row.get("line_number") is not None}


# --- values --------------------------------------------------------------------------------------------------------


def _without_number(values: Any, base: Path) -> dict[str, Any] | None:
    if not isinstance(values, dict):
        return None

    kept = {key: value for key, value in values.items() if key != "line_number"}
    absolute: dict[str, Any] = absolute_media_paths(kept, base)
    return absolute


def _usage(metrics: Any) -> Usage | None:
    numbers = _mapping(metrics)
    prompt, completion = int(numbers.get("prompt_tokens") or 0), int(numbers.get("completion_tokens") or 0)
    return Usage(prompt_tokens=prompt, completion_tokens=completion) if prompt or completion else None


def _status(value: Any) -> Status:
    try:
        return Status(str(value))
    except ValueError:
        return Status.FAILED


def _seconds(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)

    if not isinstance(value, str):
        return None

    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        return None

    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _mapping(value: Any) -> dict[str, Any]:
    """A mapping, also when it is given as JSON text."""
    if isinstance(value, str):
        try:
            value = loads(value)
        except ValueError:
            return {}

    return value if isinstance(value, dict) else {}


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return None

    try:
        return loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path.name!r} is not JSON: {error}.", where=Location(str(path))) from error


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return

    with path.open("rb") as handle:
        for number, raw in enumerate(handle, start=1):
            if not raw.strip():
                continue

            try:
                record = loads(raw)
            except ValueError as error:
                raise DataError(
                    f"Line {number} of {path.name!r} is not JSON.", where=Location(str(path), number)
                ) from error

            if isinstance(record, dict):
                yield record
