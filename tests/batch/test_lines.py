"""Joining sources line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.batch.data import DataFile
from promptflow_lite.batch.lines import Lines
from promptflow_lite.errors import DataError, EmptyInputsData, InputMappingError, PromptflowException


def numbered(*numbers: Any) -> list[dict[str, Any]]:
    return [{"line_number": number, "v": f"o{number}"} for number in numbers]


def plain(count: int) -> list[dict[str, Any]]:
    return [{"v": f"d{position}"} for position in range(count)]


def test_single_source_is_numbered_by_position(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"v": 1}\n{"v": 2}\n')

    lines = Lines({"data": DataFile(path)})

    assert lines.total == 2
    assert list(lines) == [(0, {"data": {"v": 1}}), (1, {"data": {"v": 2}})]


def test_line_numbers_of_the_data_are_honoured() -> None:
    assert [number for number, _ in Lines({"data": numbered(5, 9, 2)})] == [5, 9, 2]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        pytest.param({"data": plain(3), "run.outputs": numbered(0, 2)}, [0, 2], id="failed lines are left out"),
        pytest.param({"data": plain(3), "run.inputs": plain(3)}, [0, 1, 2], id="both by position"),
        pytest.param({"data": numbered(9, 5, 7), "run.outputs": numbered(5, 9)}, [5, 9], id="out of order"),
        pytest.param({"data": numbered(1, 2, 3), "run.outputs": numbered(0, 3, 4)}, [3], id="few in common"),
        pytest.param({"a": plain(4), "b": numbered(1, 3), "c": numbered(0, 1, 3)}, [1, 3], id="three sources"),
    ],
)
def test_sources_are_joined(sources: dict[str, Any], expected: list[int]) -> None:
    lines = Lines(sources)

    joined = dict(lines)

    assert list(joined) == expected
    assert lines.total == len(expected)
    for number, rows in joined.items():
        assert {row.get("line_number", number) for row in rows.values()} == {number}


@pytest.mark.parametrize(
    ("sources", "kind", "said"),
    [
        ({"data": []}, EmptyInputsData, "Couldn't find any inputs data"),
        ({"data": plain(2), "run.outputs": []}, InputMappingError, "'run.outputs' is an empty list"),
        ({"data": plain(2), "run.inputs": plain(3)}, InputMappingError, "not aligned: data has 2, run.inputs has 3"),
        ({"data": plain(2), "run.outputs": numbered(7)}, InputMappingError, "one complete line"),
        ({"data": numbered("x")}, DataError, "no whole number"),
        ({"data": numbered(1.5)}, DataError, "no whole number"),
        ({"data": numbered(True)}, DataError, "no whole number"),
        ({"data": numbered(None)}, DataError, "no whole number"),
        ({"data": numbered(3, 1, 3)}, DataError, "line_number 3 occurs more than once"),
    ],
)
def test_sources_that_do_not_fit_are_refused(
    sources: dict[str, Any], kind: type[PromptflowException], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        Lines(sources)

    assert caught.value.hint


def test_numbers_written_as_text_count(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("line_number,v\n5,a\n9,b\n")

    assert [number for number, _ in Lines({"data": DataFile(path)})] == [5, 9]
