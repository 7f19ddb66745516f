"""From the command line: run, evaluate with an evaluator that crashes on some rows, compare, gate."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from promptflow_lite.cli.main import main

TOOL = "from promptflow.core import tool\n\n\n@tool\ndef run({arguments}):\n    {body}\n"
FLOW = """\
inputs:
  text: {type: string}
outputs:
  label: {type: string, reference: "${answer.output}"}
nodes:
- name: answer
  type: python
  source: {type: code, path: answer.py}
  inputs: {text: "${inputs.text}"}
"""
EVALUATOR = """\
type: evaluation
inputs:
  answer: {type: string}
  truth: {type: string}
outputs:
  correct: {type: bool, reference: "${grade.output}"}
nodes:
- name: grade
  type: python
  source: {type: code, path: grade.py}
  inputs: {answer: "${inputs.answer}", truth: "${inputs.truth}"}
"""


def make(folder: Path, yaml: str, name: str, arguments: str, body: str) -> Path:
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(yaml)
    (folder / f"{name}.py").write_text(TOOL.format(arguments=arguments, body=body))
    return folder


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    """`base` answers a third of 60 rows right; `new` fails on 6, and the evaluator crashes on 2 of its rows."""
    data = tmp_path / "rows.jsonl"
    rows = [{"text": f"t{i}", "truth": f"t{i}", "kind": "even" if i % 2 == 0 else "odd"} for i in range(60)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = make(tmp_path / "base", FLOW, "answer", "text: str", "return text if int(text[1:]) % 3 == 0 else 'x'")
    new = make(tmp_path / "new", FLOW, "answer", "text: str", "return text if int(text[1:]) > 5 else 1 / 0")
    body = "return answer == truth if answer not in ('t10', 't11') else 1 / 0"
    evaluator = make(tmp_path / "judge", EVALUATOR, "grade", "answer: str, truth: str", body)
    for name, flow in (("base", base), ("new", new)):
        main(["run", "create", "--flow", str(flow), "--data", str(data), "--name", name])
        mapping = ["answer=${run.outputs.label}", "truth=${data.truth}"]
        evaluate = ["run", "create", "--flow", str(evaluator), "--data", str(data), "--run", name]
        main([*evaluate, "--name", f"{name}_eval", "--column-mapping", *mapping])

    return tmp_path


def test_a_crashing_evaluator_and_failed_rows_are_counted_in_every_report(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["run", "compare", "base", "new", "--slice-by", "kind", "--html", str(compared / "r.html")]) == 0
    table = capsys.readouterr().out
    for suffix in ("md", "json", "csv"):
        assert main(["run", "compare", "base", "new", "--rows", "-o", str(compared / f"r.{suffix}")]) == 0

    data = json.loads((compared / "r.json").read_text())
    summary = data["metrics"][0]["summaries"][1]
    assert (summary["failed"], summary["unscored"]) == (6, 2)
    assert summary["mean"] == pytest.approx(52 / 58)
    assert data["metrics"][0]["pairs"][0]["verdict"] == "better"
    for text in (table, (compared / "r.md").read_text(), (compared / "r.html").read_text()):
        assert "6 failed" in text
        assert "2 unscored" in text

    rows = list(csv.DictReader((compared / "r.csv").read_text().splitlines()))
    assert [row["new.state"] for row in rows].count("failed") == 6
    assert sum(float(row["new.correct"]) for row in rows if row["new.correct"]) == 52


def test_the_gate_answers_with_its_exit_code(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = ["gate", "--metric", "correct"]

    assert main([*gate, "--run", "new", "--baseline", "base", "--junit", str(compared / "g.xml")]) == 0
    assert main([*gate, "--run", "base", "--baseline", "new", "--markdown", str(compared / "g.md")]) == 1
    assert main([*gate, "--run", "new", "--min-score", "0.88"]) == 3
    assert main(["gate", "--run", "new", "--baseline", "base"]) == 2
    assert "gate: fail" in capsys.readouterr().out
    assert "<testsuite" in (compared / "g.xml").read_text()
    assert "❌" in (compared / "g.md").read_text()


def test_time_and_tokens_can_be_metrics(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    code = main(["run", "compare", "base", "new", "--metric", "correct", "--metric", "latency_s", "--format", "json"])

    names = [metric["name"] for metric in json.loads(capsys.readouterr().out)["metrics"]]
    assert (code, names) == (0, ["correct", "latency_s"])


def test_wrong_usage_is_told_from_failure(compared: Path) -> None:
    assert main(["run", "compare", "base", "new", "-o", "report.docx"]) == 2
    assert main(["run", "compare", "base", "absent"]) == 1
    assert main(["run", "compare", "base", "new", "--level", "95"]) == 2
