"""Rows of every format, and what is said about files that are not right."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptflow_lite.batch.data import DataFile
from promptflow_lite.errors import DataError

_ROWS = [{"q": "Grüße 日本", "n": 1}, {"q": 'a "b", {c}\n[d]', "n": None}]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", _jsonl(_ROWS).encode()),
        ("blank_lines.jsonl", ("\n" + _jsonl(_ROWS).replace("\n", "\r\n\r\n")).encode()),
        ("no_last_newline.jsonl", _jsonl(_ROWS).rstrip().encode()),
        ("mark.jsonl", _jsonl(_ROWS).encode("utf-8-sig")),
        ("wide.jsonl", _jsonl(_ROWS).encode("utf-16")),
        ("rows.json", json.dumps(_ROWS).encode()),
        ("indented.json", json.dumps(_ROWS, indent=2).encode("utf-8-sig")),
        ("UPPER.JSON", json.dumps(_ROWS).encode()),
        ("rows.txt", _jsonl(_ROWS).encode()),
    ],
)
def test_json_rows_are_read_and_counted(tmp_path: Path, name: str, content: bytes) -> None:
    data = DataFile(written(tmp_path, name, content))

    assert list(data) == _ROWS
    assert list(data) == _ROWS
    assert data.count() == 2


def test_table_cells_are_strings_and_empty_ones_stay_empty(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", '\ufeffa,b,c\r\n1,"x, y\nz",\r\n\r\n007,NaN\r\n')

    data = DataFile(path)

    assert list(data) == [{"a": "1", "b": "x, y\nz", "c": ""}, {"a": "007", "b": "NaN", "c": ""}]
    assert data.count() == 2


def test_tabs_separate_tsv_cells(tmp_path: Path) -> None:
    assert list(DataFile(written(tmp_path, "a.tsv", "a\tb\n1,5\t2\n"))) == [{"a": "1,5", "b": "2"}]


def test_long_cells_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", f"a\n{'x' * 500_000}\n")

    assert [len(row["a"]) for row in DataFile(path)] == [500_000]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    rows = [{"q": "a", "n": 1, "tags": ["x"]}, {"q": "b", "n": None, "tags": []}]
    data = DataFile(_parquet(tmp_path / "a.parquet", rows))

    assert list(data) == rows
    assert data.count() == 2


def test_folder_is_read_recursively_and_skips_what_holds_no_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "below").mkdir()
    written(tmp_path, "b.jsonl", '{"n": 2}\n')
    written(tmp_path, "a.csv", "n\n1\n")
    written(tmp_path / "below", "rows.ndjson", '{"n": 3}\n')
    written(tmp_path, "picture.png", b"\x89PNG\r\n\x1a\n\x00")
    written(tmp_path, ".hidden", "nothing")

    data = DataFile(tmp_path)

    assert list(data) == [{"n": "1"}, {"n": 2}, {"n": 3}]
    assert data.count() == 3
    assert "picture.png" in caplog.text
    assert ".hidden" not in caplog.text


def test_numbers_that_standard_json_lacks_are_accepted(tmp_path: Path) -> None:
    row = next(iter(DataFile(written(tmp_path, "a.jsonl", '{"a": Infinity, "b": 123456789012345678901234567890}\n'))))

    assert row == {"a": float("inf"), "b": 123456789012345678901234567890}


@pytest.mark.parametrize(
    ("name", "content", "line", "said"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": \n', 2, "not valid JSON"),
        ("a.jsonl", '{"a": 1}\n\n[1]\n', 3, "a list"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', 2, "not UTF-8"),
        ("a.jsonl", '"text"\n', 1, "a string"),
        ("a.txt", "just text\n", 1, "not valid JSON"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", 3, "3 cells, the header has 2"),
        ("a.csv", "a,a\n1,2\n", 1, "'a' more than once"),
        ("a.csv", b"a\nx\n\xe9\n", 3, "not UTF-8"),
        ("a.json", '[{"a": 1},\n{"a": }]', 2, "not valid JSON"),
        ("a.json", '[{"a": 1}\n{"a": 2}]', 2, "Expected `,` or `]`"),
        ("a.json", '[{"a": 1},\n\n3]', 3, "must be an object"),
        ("a.json", '{"a": 1}', 1, "list of objects"),
        ("a.json", '[{"a": 1}', 1, "Expected"),
        ("a.json", b'[{"a": "\xe9"}]', 1, "not UTF-8"),
        ("a.json", "", 1, "list of objects"),
        ("a.parquet", "PAR1 not really", None, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, line: int | None, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        list(DataFile(written(tmp_path, name, content)))

    assert caught.value.where is not None
    assert caught.value.where.path.endswith(name)
    assert caught.value.where.line == line


def test_missing_file_is_named() -> None:
    with pytest.raises(DataError, match="does not exist"):
        DataFile("nowhere.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt"])
def test_empty_files_have_no_rows(tmp_path: Path, name: str) -> None:
    data = DataFile(written(tmp_path, name, "[]" if name == "a.json" else ""))

    assert list(data) == []
    assert data.count() == 0


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_image_paths_are_relative_to_the_data_file(tmp_path: Path, name: str) -> None:
    row = {
        "pic": {"data:image/png;path": "img/a.png"},
        "more": [{"type": "image_file", "image_file": {"path": "b.png"}}],
    }
    path = tmp_path / name
    if name == "a.parquet":
        _parquet(path, [row])
    else:
        written(tmp_path, name, json.dumps([row] if name == "a.json" else row))

    read = next(iter(DataFile(path)))

    assert read["pic"] == {"data:image/png;path": str(tmp_path / "img/a.png")}
    assert read["more"][0]["image_file"] == {"path": str(tmp_path / "b.png")}


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    rows = [{"text": "x" * 1000, "n": str(number)} for number in range(3000)]
    content = {"a.jsonl": _jsonl(rows), "a.json": json.dumps(rows)}.get(
        name, "text,n\n" + "".join(f"{row['text']},{row['n']}\n" for row in rows)
    )
    data = DataFile(written(tmp_path, name, content))
    tracemalloc.start()

    read = sum(1 for _ in data)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read == 3000
    assert peak < 600_000


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(), v, max_size=2),
    max_leaves=4,
)


@given(rows=st.lists(st.dictionaries(st.text(), _VALUES), max_size=5), indent=st.sampled_from([None, 1]))
def test_any_array_of_objects_is_scanned(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], indent: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(rows, indent=indent), "utf-8")

    assert list(DataFile(path)) == rows
