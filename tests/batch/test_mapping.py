"""Column mapping: which value goes into which flow input."""

from __future__ import annotations

from typing import Any

import pytest

from promptflow_lite.batch.mapping import ColumnMapping
from promptflow_lite.errors import ApplyInputMappingError, InputNotFound, ValidationException
from promptflow_lite.flow.model import InputSpec

_LINE = {
    "data": {"a": "1", "b": "B1", "a.b": "dotted"},
    "run.inputs": {"a": "raw"},
    "run.outputs": {"line_number": 0, "answer": "x"},
}


def inputs(**defaults: Any) -> dict[str, InputSpec]:
    return {name: InputSpec(name=name, default=default) for name, default in defaults.items()}


@pytest.mark.parametrize(
    ("mapping", "flow_inputs", "expected"),
    [
        pytest.param(None, inputs(a=None), {"a": "1"}, id="default mapping"),
        pytest.param(None, inputs(a=None, b="dflt"), {"a": "1"}, id="inputs with defaults are not mapped"),
        pytest.param({"b": "${data.b}"}, inputs(a=None, b="d"), {"a": "1", "b": "B1"}, id="laid over the default"),
        pytest.param({"a": "${data.a.b}"}, inputs(a=None), {"a": "dotted"}, id="the rest is one flat column"),
        pytest.param({"a": "${run.inputs.a}"}, inputs(a=None), {"a": "raw"}, id="inputs of the base run"),
        pytest.param({"a": "${run.outputs.answer}"}, inputs(a=None), {"a": "x"}, id="outputs of the base run"),
        pytest.param({"a": "${data.a}", "n": 3, "s": "x"}, inputs(a=None), {"a": "1", "n": 3, "s": "x"}, id="literals"),
        pytest.param(
            {"a": "${data.a}", "t": "see ${data.b}"}, inputs(a=None), {"a": "1", "t": "see ${data.b}"}, id="part"
        ),
        pytest.param({"a": "${data.a}", "line_number": "${data.b}"}, inputs(a=None), {"a": "1"}, id="line_number"),
        pytest.param(None, None, _LINE["data"], id="unknown inputs"),
    ],
)
def test_values_come_from_where_the_mapping_says(
    mapping: dict[str, Any] | None, flow_inputs: dict[str, InputSpec] | None, expected: dict[str, Any]
) -> None:
    compiled = ColumnMapping(mapping, flow_inputs, _LINE)

    assert compiled.apply(_LINE) == expected
    assert compiled.apply(_LINE, 7) == {**expected, "line_number": 7}


def test_shortest_source_name_wins_where_two_fit() -> None:
    line = {"run": {"outputs.x": "short"}, "run.outputs": {"x": "long", "y": "only here"}}
    mapping = ColumnMapping({"a": "${run.outputs.x}", "b": "${run.outputs.y}"}, inputs(a=None, b=None), line)

    assert mapping.apply(line) == {"a": "short", "b": "only here"}


def test_mutable_literals_are_not_shared_between_lines() -> None:
    mapping = ColumnMapping({"a": "${data.a}", "history": []}, inputs(a=None), _LINE)

    mapping.apply(_LINE)["history"].append("changed")

    assert mapping.apply(_LINE)["history"] == []


def test_all_missing_relations_are_named_with_the_known_columns() -> None:
    mapping = ColumnMapping({"a": "${data.nope}", "b": "${other.x}", "c": "${data}"}, inputs(a=None), ["data"])

    with pytest.raises(ApplyInputMappingError) as caught:
        mapping.apply({"data": {"q": 1}})

    assert "${data.nope}, ${other.x}, ${data}" in str(caught.value)
    assert caught.value.hint == "Data has the columns q."


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"a": 1, "b": 2}, {"x": 1, "y": 2, "z": 1}),
        ({"b": 2}, {"x": None, "y": 2, "z": None}),
        ({}, {"x": None, "y": None, "z": None}),
    ],
)
def test_a_column_that_only_other_rows_have_is_none(row: dict[str, Any], expected: dict[str, Any]) -> None:
    surveyed: list[str] = []

    def columns(source: str) -> list[str]:
        surveyed.append(source)
        return ["a", "b"]

    bindings = {"x": "${data.a}", "y": "${data.b}", "z": "${run.inputs.a}"}
    mapping = ColumnMapping(bindings, inputs(x=None), ["data", "run", "run.inputs"], columns)
    line = {"data": row, "run": {}, "run.inputs": row}

    assert (mapping.apply(line), mapping.apply(line)) == (expected, expected)
    assert len(surveyed) == len(set(surveyed))


def test_mapping_without_any_reference_is_refused() -> None:
    with pytest.raises(ValidationException, match="must contain at least one mapping binding"):
        ColumnMapping({"a": "x", "b": 3}, inputs(a=None), ["data"])


def test_flow_without_inputs_cannot_run_over_rows() -> None:
    with pytest.raises(InputNotFound, match="cannot be empty in batch mode"):
        ColumnMapping(None, {}, ["data"])


def test_missing_mapping_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    ColumnMapping(None, inputs(a=None), ["data"])

    assert "Starting run without column mapping" in caplog.text


def test_a_column_that_a_default_shadows_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    inputs = {"a": InputSpec(name="a"), "b": InputSpec(name="b", default="x")}
    mapping = ColumnMapping({"a": "${data.a}"}, inputs, ["data"])

    for number in range(3):
        assert mapping.apply({"data": {"a": 1, "b": 2}}, number) == {"a": 1, "line_number": number}

    assert [record.args for record in caplog.records] == [("b", "b", "b")]
