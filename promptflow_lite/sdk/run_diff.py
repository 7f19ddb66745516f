"""What differs between two runs: request, flow files, data, models and how they were asked."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptflow_lite._utils.hashing import file_digest
from promptflow_lite.records import RunRecord

_FIELDS = ("flow", "variant", "data", "run", "column_mapping", "connections", "init")
_MAX_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same in two runs."""

    what: str
    """Dotted name: `variant`, `models.0.sha256`, `flow/answer.jinja2` …"""
    first: Any
    second: Any
    patch: str = ""
    """Unified diff, for text files of the flow."""


def diff_runs(first: RunRecord, second: RunRecord) -> list[Difference]:
    """Everything that was recorded of two runs and is not the same, results left aside."""
    return [
        *_different("", _request(first), _request(second)),
        *_different("", _facts(first), _facts(second)),
        *_different_files(first, second),
    ]


def _request(record: RunRecord) -> dict[str, Any]:
    """What was asked for; of environment variables the names only, since values may be secrets."""
    return {
        **{name: getattr(record, name) for name in _FIELDS},
        "environment_variables": sorted(record.environment_variables or {}),
        "data_sha256": _digest(record.data),
    }


def _digest(path: str | None) -> str | None:
    """Of the file as it is now; None for folders and files that are gone."""
    return file_digest(Path(path)) if path and Path(path).is_file() else None


def _facts(record: RunRecord) -> dict[str, Any]:
    return {key: value for key, value in record.properties.items() if key in ("models", "engine", "python", "version")}


def _different(prefix: str, first: Any, second: Any) -> Iterator[Difference]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in sorted({*first, *second}, key=str):
            yield from _different(f"{prefix}{key}.", first.get(key), second.get(key))
    elif isinstance(first, list) and isinstance(second, list) and first and second:
        for index in range(max(len(first), len(second))):
            yield from _different(f"{prefix}{index}.", _at(first, index), _at(second, index))
    elif first != second:
        yield Difference(prefix.rstrip("."), first, second)


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


def _different_files(first: RunRecord, second: RunRecord) -> Iterator[Difference]:
    """Files of the flow as each run executed them, read from the runs' snapshots."""
    folders = [Path(record.output_path or "") / "snapshot" for record in (first, second)]
    if not all(folder.is_dir() for folder in folders):
        return

    names = [{str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} for folder in folders]
    for name in sorted(names[0] | names[1]):
        texts = [_text(folder / name) for folder in folders]
        if texts[0] != texts[1]:
            patch = "".join(
                difflib.unified_diff(
                    (texts[0] or "").splitlines(keepends=True),
                    (texts[1] or "").splitlines(keepends=True),
                    f"{first.name}/{name}",
                    f"{second.name}/{name}",
                )
            )
            yield Difference(f"flow/{name}", _state(texts[0]), _state(texts[1]), patch)


def _text(path: Path) -> str | None:
    """The file's text; a digest stands for what is large or no text; None when there is no such file."""
    if not path.is_file():
        return None

    if path.stat().st_size <= _MAX_TEXT_BYTES:
        try:
            return path.read_text("utf-8")
        except UnicodeDecodeError:
            pass  # compared by its digest instead

    return f"sha256 {file_digest(path)}\n"


def _state(text: str | None) -> str:
    return "absent" if text is None else "present"
