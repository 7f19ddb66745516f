"""Text of models and of other people's files does no harm in terminals, spreadsheets and pasted commands."""

import csv
import json

import pytest

from promptflow_lite._utils.text import spreadsheet_cell, visible
from promptflow_lite.cli import render
from promptflow_lite.errors import UserErrorException
from promptflow_lite.records import LineResult, Status
from promptflow_lite.sdk.export import export_lines

EVIL = "a\x1b]0;title\x07b\x9b2Jc\rd\x7f"
HARMLESS = "a\\x1b]0;title\\x07b\\x9b2Jc\\x0dd\\x7f"


@pytest.mark.parametrize(
    ("text", "shown"), [(EVIL, HARMLESS), ("plain\n\tünïcode 漢 🙂", "plain\n\tünïcode 漢 🙂"), ("", "")]
)
def test_control_characters_are_written_out(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(("is_terminal", "shown"), [(True, HARMLESS), (False, EVIL)])
def test_text_reaches_a_pipe_as_it_is_and_a_terminal_without_controls(is_terminal, shown, monkeypatch, capsys):
    monkeypatch.setattr(render, "is_terminal", lambda: is_terminal)

    render.text(EVIL, end="")

    assert capsys.readouterr().out == shown


def test_tables_notes_and_errors_show_control_characters(capsys):
    render.table([[EVIL, {"x": EVIL}]], ["a", "b"])
    render.note(EVIL)
    render.error("pfl.x", UserErrorException(EVIL, hint=EVIL), debug=True)

    printed = capsys.readouterr()
    assert not set("\x1b\x07\x9b\r\x7f") & set(printed.out + printed.err)
    assert "\\x1b]0;title" in printed.out
    assert "\\x1b]0;title" in printed.err


def test_json_output_escapes_what_terminals_obey_and_keeps_its_value(capsys):
    render.json({"x": EVIL})

    printed = capsys.readouterr().out
    assert json.loads(printed) == {"x": EVIL}
    assert "\x9b" not in printed


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=cmd|'/C calc'!A0", "'=cmd|'/C calc'!A0"),
        ("+1+cmd", "'+1+cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        (" =1", "' =1"),
        ("-2.5", "-2.5"),
        ("+1e-9", "+1e-9"),
        (-3, -3),
        ("a=b", "a=b"),
        (None, None),
    ],
)
def test_a_spreadsheet_runs_no_cell_as_a_formula(value, cell):
    assert spreadsheet_cell(value) == cell


def test_exported_csv_has_no_formulas_and_jsonl_the_exact_text(tmp_path):
    line = LineResult(0, Status.COMPLETED, inputs={"=q": "=1+1"}, output={"answer": "=1+1"})

    export_lines([line], tmp_path / "x.csv")
    export_lines([line], tmp_path / "x.jsonl")

    row = next(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert (row["outputs.answer"], row["inputs.=q"]) == ("'=1+1", "'=1+1")
    assert json.loads((tmp_path / "x.jsonl").read_text())["outputs.answer"] == "=1+1"
