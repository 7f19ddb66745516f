"""Data files as rows, streamed, so that memory does not grow with the data.

Formats: JSONL, CSV and TSV (every cell a string, an empty one `""`), JSON arrays, Parquet, and folders of these. Text
is UTF-8, with or without a byte order mark, or UTF-16 with one.
"""

from __future__ import annotations

import codecs
import csv
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from promptflow_lite._utils.imports import require
from promptflow_lite.errors import DataError, Location

Row = dict[str, Any]

_logger = logging.getLogger(__name__)
_CHUNK_CHARS = 1 << 16
_LONGEST_CELL = 2**31 - 1
_IMAGE_PATH_KEY = re.compile(r"data:image/[^;]+;path")
_NOT_UTF8 = "Save the file as UTF-8."


class DataFile:
    """The rows of a file or folder; can be iterated again and again.

    Args:
        path: A data file, or a folder whose files are read one after the other, recursively and in order of name.

    Raises:
        DataError: there is no such file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise DataError("The data file does not exist.", where=Location(str(self.path)))

    def __iter__(self) -> Iterator[Row]:
        for path in self._files():
            yield from _reader(path)(path)

    def count(self) -> int:
        """Number of rows; reads text files once without keeping anything."""
        return sum(_count(path) for path in self._files())

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]

        found = (p for p in self.path.rglob("*") if p.is_file() and not p.name.startswith("."))
        return [path for path in sorted(found) if _is_data(path)]


def _is_data(path: Path) -> bool:
    """Whether a file in a folder holds rows: files of other types count if their first line is a JSON object."""
    if path.suffix.lower() in _READERS:
        return True

    try:
        next(_read_jsonl(path), None)
    except DataError:
        _logger.warning("Skipped %s: it holds no rows that can be read.", path)
        return False
    return True


def _read_jsonl(path: Path) -> Iterator[Row]:
    folder = path.absolute().parent
    for number, line in enumerate(_byte_lines(path), 1):
        if line.isspace() or not line:
            continue

        row = _parse_object(line, path, number)
        has_images = b";path" in line or b"image_file" in line
        yield _with_absolute_images(row, folder) if has_images else row


def _parse_object(line: bytes, path: Path, number: int) -> Row:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        row = _parse_leniently(line, path, number, error)
    if not isinstance(row, dict):
        raise DataError(
            f"Every row must be a JSON object, this one is {_json_type(row)}.", where=Location(str(path), number)
        )

    return row


def _parse_leniently(line: bytes, path: Path, number: int, error: orjson.JSONDecodeError) -> Any:
    """Accept what Python's `json` writes beyond the standard: `NaN`, `Infinity` and huge numbers."""
    try:
        return json.loads(line)
    except UnicodeDecodeError:
        raise DataError(
            f"The line is not UTF-8 text: {error}.", hint=_NOT_UTF8, where=Location(str(path), number)
        ) from error
    except (ValueError, RecursionError):
        where = Location(str(path), number, error.colno)
        raise DataError(
            f"The line is not valid JSON: {error.msg}.", hint="Write one object on each line.", where=where
        ) from error


def _byte_lines(path: Path) -> Iterator[bytes]:
    """Lines as UTF-8 bytes without a byte order mark."""
    encoding = _encoding(path)
    if encoding == "utf-16":
        with _opened(path, "rb") as raw:
            reader = codecs.getreader("utf-16")(raw)
            try:
                for text in reader:
                    yield text.encode("utf-8", "surrogatepass")
            except UnicodeError as error:
                raise DataError("The file is not UTF-16 text.", hint=_NOT_UTF8, where=Location(str(path))) from error
        return

    with _opened(path, "rb") as stream:
        if encoding == "utf-8-sig":
            stream.seek(len(codecs.BOM_UTF8))
        yield from stream


def _read_csv(path: Path) -> Iterator[Row]:
    return _read_table(path, ",")


def _read_tsv(path: Path) -> Iterator[Row]:
    return _read_table(path, "\t")


def _read_table(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    with _opened(path, "r", _encoding(path), newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        cells = _table_cells(reader, path)
        header = next(cells, None)
        if header is None:
            return

        _check_header(header, path)
        width = len(header)
        for row in cells:
            if len(row) > width:
                raise DataError(
                    f"The row has {len(row)} cells, the header has {width}.",
                    hint="Put cells that contain the separator in double quotes.",
                    where=Location(str(path), reader.line_num),
                )

            yield dict(zip(header, row + [""] * (width - len(row)), strict=True))


def _table_cells(reader: Any, path: Path) -> Iterator[list[str]]:
    """Rows that are not blank, with errors that name the line."""
    try:
        for row in reader:
            if row:
                yield row
    except csv.Error as error:
        raise DataError(f"The table cannot be read: {error}.", where=Location(str(path), reader.line_num)) from error
    except UnicodeError as error:
        raise DataError("The line is not UTF-8 text.", hint=_NOT_UTF8, where=_first_undecodable(path)) from error


def _check_header(header: list[str], path: Path) -> None:
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(
            f"The header names {', '.join(map(repr, repeated))} more than once.",
            hint="Give every column a name of its own.",
            where=Location(str(path), 1),
        )


def _first_undecodable(path: Path) -> Location:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return Location(str(path), number)
    return Location(str(path))


def _read_json(path: Path) -> Iterator[Row]:
    """Objects of a JSON array, decoded one at a time."""
    folder = path.absolute().parent
    with _opened(path, "r", _encoding(path)) as stream:
        scanner = _ArrayScanner(stream.read, path)
        try:
            for row in scanner:
                yield _with_absolute_images(row, folder)
        except UnicodeError as error:
            raise DataError("The file is not UTF-8 text.", hint=_NOT_UTF8, where=_first_undecodable(path)) from error


class _ArrayScanner:
    """Cuts `[{…}, {…}]` into objects while holding little more than one of them."""

    def __init__(self, read: Callable[[int], str], path: Path) -> None:
        self._read = read
        self._path = path
        self._decode = json.JSONDecoder().raw_decode
        self._buffer = ""
        self._position = 0
        self._lines_before = 0
        self._n_chars = _CHUNK_CHARS

    def __iter__(self) -> Iterator[Row]:
        if self._next_char() != "[":
            raise self._error("A .json data file must hold a list of objects", "Save one object per line as .jsonl.")

        self._position += 1
        if self._next_char() == "]":
            return

        while True:
            yield self._object()
            separator = self._next_char()
            if separator not in (",", "]"):
                raise self._error("Expected `,` or `]` after an object")

            self._position += 1
            if separator == "]":
                return

    def _object(self) -> Row:
        if self._next_char() != "{":
            raise self._error("Every element of the list must be an object")

        while True:
            try:
                value, self._position = self._decode(self._buffer, self._position)
            except RecursionError:
                raise self._error("The object is nested too deeply") from None
            except json.JSONDecodeError as error:
                if not self._more():
                    self._position = error.pos
                    raise self._error(f"The file is not valid JSON: {error.msg}") from None
            else:
                self._n_chars = _CHUNK_CHARS
                return dict(value)

    def _next_char(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            while self._position < len(self._buffer):
                char = self._buffer[self._position]
                if char not in " \t\r\n":
                    return char

                self._position += 1
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Drop what is consumed and read on, twice as much each time while one object does not fit."""
        text = self._read(self._n_chars)
        self._n_chars *= 2
        self._lines_before += self._buffer.count("\n", 0, self._position)
        self._buffer = self._buffer[self._position :] + text
        self._position = 0
        return bool(text)

    def _error(self, message: str, hint: str | None = None) -> DataError:
        line = self._lines_before + self._buffer.count("\n", 0, self._position) + 1
        return DataError(f"{message}.", hint=hint, where=Location(str(self._path), line))


def _read_parquet(path: Path) -> Iterator[Row]:
    folder = path.absolute().parent
    with _parquet(path) as file:
        for batch in file.iter_batches(batch_size=500):
            for row in batch.to_pylist():
                yield _with_absolute_images(row, folder)


def _parquet(path: Path) -> Any:
    parquet = require("pyarrow.parquet", extra="data", feature="Reading Parquet files")
    arrow = require("pyarrow", extra="data", feature="Reading Parquet files")
    try:
        return parquet.ParquetFile(path)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"The Parquet file cannot be read: {error}", where=Location(str(path))) from error


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


def _reader(path: Path) -> Callable[[Path], Iterator[Row]]:
    return _READERS.get(path.suffix.lower(), _read_jsonl)


def _count(path: Path) -> int:
    if path.suffix.lower() == ".parquet":
        with _parquet(path) as file:
            return int(file.metadata.num_rows)

    if _reader(path) is _read_jsonl:
        return sum(1 for line in _byte_lines(path) if line and not line.isspace())

    return sum(1 for _ in _reader(path)(path))


def _encoding(path: Path) -> str:
    with _opened(path, "rb") as stream:
        start = stream.read(3)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"

    return "utf-8-sig" if start == codecs.BOM_UTF8 else "utf-8"


def _opened(path: Path, mode: str, encoding: str | None = None, newline: str | None = None) -> Any:
    try:
        return path.open(mode, encoding=encoding, newline=newline)
    except OSError as error:
        raise DataError(f"The data file cannot be opened: {error.strerror}.", where=Location(str(path))) from error


def _json_type(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _with_absolute_images(value: Any, folder: Path) -> Any:
    """Make paths of images in a row absolute: they are relative to the data file's folder."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and _IMAGE_PATH_KEY.fullmatch(str(key)):
                value[key] = str(folder / item)
            elif key == "image_file" and isinstance(item, dict) and isinstance(item.get("path"), str):
                item["path"] = str(folder / item["path"])
            else:
                value[key] = _with_absolute_images(item, folder)
    elif isinstance(value, list):
        value[:] = [_with_absolute_images(item, folder) for item in value]
    return value
