"""`pfl flow test --interactive`: a chat in the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptflow_lite.cli import render
from promptflow_lite.cli.main import main
from tests.support.flow_files import tool_source, write_files

FLOW = """
inputs:
  question: {type: string, is_chat_input: true}
  chat_history: {type: list, is_chat_history: true}
outputs:
  answer: {type: string, reference: "${a.output}", is_chat_output: true}
nodes:
- name: a
  type: python
  source: {type: code, path: a.py}
  inputs: {question: "${inputs.question}", chat_history: "${inputs.chat_history}"}
"""
ANSWER = (
    'def a(question, chat_history):\n    return f\'{question} after {[t["inputs"]["question"] for t in chat_history]}\''
)
EARLIER = json.dumps([{"inputs": {"question": "zero"}, "outputs": {"answer": "."}}])


@pytest.mark.parametrize(
    ("given", "answers"),
    [
        ([], ["one after []", "two after ['one']"]),
        (["--inputs", f"chat_history={EARLIER}"], ["one after ['zero']", "two after ['zero', 'one']"]),
    ],
)
def test_a_chat_goes_on_from_the_history(
    given: list[str],
    answers: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flow = write_files(tmp_path, {"flow.dag.yaml": FLOW, "a.py": tool_source(ANSWER)})
    messages = iter(["one", " ", "two"])

    def ask(prompt: str) -> str:
        try:
            return next(messages)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(render, "ask", ask)

    assert main(["flow", "test", "--flow", str(flow), "--interactive", *given]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("Bot: ")] == [
        f"Bot: {answer}" for answer in answers
    ]
