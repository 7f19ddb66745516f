"""The frame of the command line: groups, exit codes, and how errors are shown."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from promptflow_lite import __version__
from promptflow_lite.cli import main as cli
from promptflow_lite.cli import render
from promptflow_lite.errors import DataError, Location


def with_handler(monkeypatch: pytest.MonkeyPatch, handler: Any) -> None:
    """Make `pfl version` run a handler of the test's."""

    def register(groups: Any) -> None:
        groups.add_parser("version").set_defaults(handler=handler)

    monkeypatch.setitem(cli._OWN_GROUPS, "version", register)


def raising(error: BaseException) -> Any:
    def handler(_: argparse.Namespace) -> int:
        raise error

    return handler


@pytest.mark.parametrize("arguments", [["--version"], ["-v"], ["version"]])
def test_version_is_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {"promptflow-lite": __version__}


def test_no_arguments_show_help_with_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0

    shown = capsys.readouterr().out
    assert "start here:" in shown
    for group in cli.GROUPS:
        assert not cli._exists(group) or f"    {group} " in shown


def test_every_group_can_show_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for group in filter(cli._exists, cli.GROUPS):
        assert cli.main([group, "--help"]) == 0, group
        assert f"usage: pfl {group}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["config"], ["config", "set"], ["connection", "show"], ["config", "show", "--nonsense"]]
)
def test_wrong_usage_exits_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_long_options_may_be_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["connection", "list", "--max", "1"]) == 0


def test_error_says_what_where_hint_and_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = DataError("The row is not an object.", hint="Write one.", where=Location("a.jsonl", 3))
    with_handler(monkeypatch, raising(error))

    code = cli.main(["version"])

    assert code == 1
    assert capsys.readouterr().err.splitlines() == [
        "pfl.version failed with DataError: The row is not an object.",
        "  at:   a.jsonl:3",
        "  hint: Write one.",
        "  code: data.unreadable",
    ]


def test_unforeseen_error_is_a_clean_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_handler(monkeypatch, raising(KeyError("x")))

    code = cli.main(["version"])

    shown = capsys.readouterr().err
    assert code == 1
    assert "failed with KeyError: 'x'" in shown
    assert "code: system.unexpected" in shown
    assert "Traceback" not in shown


def test_debug_adds_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with_handler(monkeypatch, raising(KeyError("x")))

    cli.main(["version", "--debug"])

    assert "Traceback" in capsys.readouterr().err


def test_structured_error_is_written_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROMPTFLOW_STRUCTURE_EXCEPTION_OUTPUT", "true")
    with_handler(monkeypatch, raising(DataError("bad")))

    cli.main(["version"])

    shown = capsys.readouterr().err
    record = json.loads(shown[shown.index("{") :])
    assert record["message"] == "bad"
    assert record["code"] == "UserError"


def test_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with_handler(monkeypatch, raising(KeyboardInterrupt()))

    assert cli.main(["version"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_reader_that_leaves_early_causes_no_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)

    ended = subprocess.run(
        [sys.executable, "-m", "promptflow_lite.cli.main", "version"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)

    assert ended.returncode == 141
    assert ended.stderr == ""


def test_version_loads_no_heavy_module() -> None:
    program = "import sys; from promptflow_lite.cli.main import main; main(['--version']); print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    heavy = {"sqlalchemy", "openai", "pydantic", "jinja2", "rich", "numpy", "pandas", "asyncio", "yaml"}
    assert heavy.isdisjoint(modules)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_verbs_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "max-results" in capsys.readouterr().out


def test_json_keeps_other_scripts_and_survives_odd_values(capsys: pytest.CaptureFixture[str]) -> None:
    render.json({"text": "日本 é", "nan": float("nan"), "obj": object})

    shown = capsys.readouterr().out
    assert '    "text": "日本 é"' in shown
    assert json.loads(shown)["nan"] is None


def test_records_become_a_table_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    render.records([{"name": "[bold]a"}], {"name": lambda item: item["name"]}, output="table")

    assert "[bold]a" in capsys.readouterr().out


def test_progress_without_a_terminal_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with render.progress(10) as report:
        for finished in range(10):
            report(finished, 0)

    assert capsys.readouterr().err == ""


def test_progress_bar_shows_failures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    with render.progress(10) as report:
        report(10, 3)

    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "3 failed" in shown
