"""Lines of a run as a file: JSONL, CSV or Parquet, streamed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from promptflow_lite._utils.files import replacing
from promptflow_lite._utils.imports import require
from promptflow_lite._utils.jsonable import dumps, dumps_bytes
from promptflow_lite._utils.text import spreadsheet_cell
from promptflow_lite.errors import UserErrorException
from promptflow_lite.records import LineResult

_CHUNK = 1000


def export_lines(lines: Iterable[LineResult], path: str | Path) -> int:
    """Write lines with their inputs, outputs, status, time and tokens; returns how many.

    Columns are `line_number`, `status`, `inputs.*`, `outputs.*`, `error`, `duration_s` and the token counts.

    Raises:
        UserErrorException: the file's ending is not one of .jsonl, .csv, .parquet, or it cannot be written.
        MissingExtraError: Parquet needs the `data` extra.
    """
    target = Path(path)
    writers: dict[str, Callable[[Iterator[LineResult], Path], int]] = {
        ".jsonl": _write_jsonl,
        ".csv": _write_csv,
        ".parquet": _write_parquet,
    }
    if target.suffix.lower() not in writers:
        raise UserErrorException(
            f"Cannot export to {target.name!r}.", hint="Name a file that ends in .jsonl, .csv or .parquet."
        )

    try:
        with replacing(target) as draft:
            return writers[target.suffix.lower()](iter(lines), draft)
    except OSError as error:
        raise UserErrorException(
            f"{target} cannot be written: {error.strerror}.", hint="Choose another path."
        ) from error


def flat_row(line: LineResult) -> dict[str, Any]:
    """A line as one flat row."""
    return {
        "line_number": line.line_number,
        "status": line.status.value,
        **{f"inputs.{key}": value for key, value in (line.inputs or {}).items() if key != "line_number"},
        **{f"outputs.{key}": value for key, value in (line.output or {}).items()},
        "error": line.error["message"] if line.error else None,
        "duration_s": line.duration_s,
        "prompt_tokens": line.usage.prompt_tokens,
        "completion_tokens": line.usage.completion_tokens,
    }


def _write_jsonl(lines: Iterator[LineResult], path: Path) -> int:
    count = 0
    with path.open("wb") as file:
        for line in lines:
            file.write(dumps_bytes(flat_row(line)) + b"\n")
            count += 1
    return count


def _write_csv(lines: Iterator[LineResult], path: Path) -> int:
    """Columns are those of the first lines; a later line's further keys would have no place and are left out."""
    head = [flat_row(line) for line in islice(lines, _CHUNK)]
    columns = list(dict.fromkeys(key for row in head for key in row))
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writerow({column: spreadsheet_cell(column) for column in columns})
        for row in head:
            writer.writerow(_csv_cells(row))
            count += 1
        for line in lines:
            writer.writerow(_csv_cells(flat_row(line)))
            count += 1
    return count


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    return {key: dumps(value) if isinstance(value, dict | list) else value for key, value in row.items()}


def _csv_cells(row: dict[str, Any]) -> dict[str, Any]:
    return {key: spreadsheet_cell(value) for key, value in _cells(row).items()}


def _write_parquet(lines: Iterator[LineResult], path: Path) -> int:
    arrow = require("pyarrow", extra="data", feature="Writing Parquet files")
    parquet = require("pyarrow.parquet", extra="data", feature="Writing Parquet files")
    writer: Any = None
    schema: Any = None
    count = 0
    try:
        while chunk := [_cells(flat_row(line)) for line in islice(lines, _CHUNK)]:
            if writer is None:
                schema = _schema(arrow, chunk)
                writer = parquet.ParquetWriter(path, schema)

            writer.write_table(arrow.Table.from_pylist([_fitting(row, schema) for row in chunk], schema=schema))
            count += len(chunk)
    finally:
        if writer is not None:
            writer.close()
    return count


def _schema(arrow: Any, rows: list[dict[str, Any]]) -> Any:
    """Column types of the first rows; mixed or empty columns become text."""
    kinds = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}
    fields = []
    for name in dict.fromkeys(key for row in rows for key in row):
        types = {type(row[name]) for row in rows if row.get(name) is not None}
        fields.append((name, kinds.get(types.pop(), arrow.string()) if len(types) == 1 else arrow.string()))
    return arrow.schema(fields)


def _fitting(row: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Text where the column is text."""
    return {
        field.name: str(value) if str(field.type) == "string" and value is not None else value
        for field in schema
        for value in [row.get(field.name)]
    }
