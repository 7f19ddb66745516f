"""What flow code prints and raises is recorded without the secrets of its connections."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.connections import CustomConnection, DictConnectionSource, without_secrets
from promptflow_lite.flow import load_flow
from promptflow_lite.records import Status
from promptflow_lite.runtime import captured_prints, create_executor
from promptflow_lite.sdk.flow_copy import flow_files

SECRET = "sk-the-secret-of-this-test-'\"\\"

DAG = """\
inputs: {q: {type: string}}
outputs: {o: {type: string, reference: "${py.output}"}}
nodes:
- {name: py, type: python, source: {type: code, path: py.py}, inputs: {c: mine, q: "${inputs.q}"}}
"""
FLEX = "entry: py:py\n"
CODE = """\
import sys
from promptflow.core import tool
from promptflow.connections import CustomConnection

@tool
def py(c: CustomConnection, q: str) -> str:
    print("my key", c.token)
    print("my key", c.token, file=sys.stderr)
    if q == "raise":
        raise ValueError("bad key " + c.token)
    return q
"""


@pytest.mark.parametrize("q", ["fine", "raise"])
def test_prints_and_errors_are_recorded_without_secrets(
    q: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flow.dag.yaml").write_text(DAG)
    (tmp_path / "py.py").write_text(CODE)
    connections = DictConnectionSource({"mine": CustomConnection(secrets={"token": SECRET}, configs={}, name="mine")})

    with captured_prints(echo=True):
        line = create_executor(load_flow(tmp_path), connections).run_line({"q": q})

    node = line.nodes[0]
    assert node.stdout.endswith("my key ******\n")
    assert node.stderr.endswith("my key ******\n")
    assert "my key ******" in capsys.readouterr().out
    assert line.status is (Status.FAILED if q == "raise" else Status.COMPLETED)
    for text in (str(line.error), str(node.error), str(line.exception)):
        assert "sk-the-secret" not in text
        assert ("bad key ******" in text) is (q == "raise")


def test_texts_inside_records_lose_their_secrets_and_keep_the_rest() -> None:
    connection = CustomConnection(
        secrets={"a": "abcdef-secret", "b": "short"}, configs={"c": "abcdef-config"}, name="x"
    )
    DictConnectionSource({"x": connection}).get("x")

    value = {"m": ["abcdef-secret!", 1, None, {"n": "short abcdef-config"}]}

    assert without_secrets(value) == {"m": ["******!", 1, None, {"n": "short abcdef-config"}]}


def test_copies_of_a_flow_carry_no_keys_and_nothing_said_in_tests(tmp_path: Path) -> None:
    kept = ["flow.dag.yaml", ".env.example", ".promptflow/flow.tools.json", "sub/notes.log"]
    private = [".env", ".env.local", "sub/.env", ".promptflow/flow.log", ".promptflow/flow.detail.json"]
    for name in (*kept, *private):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")

    assert sorted(path.as_posix() for path in flow_files(tmp_path)) == sorted(kept)
