"""Whatever is wrong, the command says what, where and what to do, ends with a failure code, and shows no traceback."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.sdk.client import Client
from tests.support.flow_files import tool_source, write_files

GOOD = """
inputs: {x: {type: string}}
outputs: {o: {type: string, reference: "${a.output}"}}
nodes:
- {name: a, type: python, source: {type: code, path: a.py}, inputs: {x: "${inputs.x}"}}
"""
LLM = """
inputs: {x: {type: string}}
outputs: {o: {type: string, reference: "${a.output}"}}
nodes:
- name: a
  type: llm
  source: {type: code, path: a.jinja2}
  inputs: {x: "${inputs.x}", max_tokens: 5}
  api: chat
"""
TOOL = tool_source("def a(x: str):\n    return x")


@dataclass(frozen=True)
class Case:
    id: str
    code: str
    """The stable code that must be named."""
    says: str
    """A pattern that the message, hint or place must contain."""
    files: dict[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ("flow", "test", "--flow", "flow", "--inputs", "x=1")


RUN = ("run", "create", "--flow", "flow", "--data", "rows.jsonl", "--name", "r")
CASES = [
    Case("broken yaml", "flow.syntax", r"flow\.dag\.yaml:\d+:\d+", {"flow/flow.dag.yaml": "nodes: [\n  - {name: a"}),
    Case("duplicate key", "flow.syntax", r"duplicate|twice|already", {"flow/flow.dag.yaml": GOOD + "inputs: {}\n"}),
    Case(
        "cycle",
        "flow.node_circular_dependency",
        r"a -> |'a'",
        {"flow/flow.dag.yaml": GOOD.replace('"${inputs.x}"', '"${a.output}"'), "flow/a.py": TOOL},
    ),
    Case(
        "unknown node",
        "flow.node_reference_not_found",
        r"Did you mean|nope",
        {"flow/flow.dag.yaml": GOOD.replace('"${inputs.x}"', '"${nope.output}"'), "flow/a.py": TOOL},
    ),
    Case(
        "unknown flow input",
        "flow.input_reference_not_found",
        r"xx",
        {"flow/flow.dag.yaml": GOOD.replace("${inputs.x}", "${inputs.xx}"), "flow/a.py": TOOL},
    ),
    Case(
        "wrong type of an input",
        "flow.input_type",
        r"'int'",
        {"flow/flow.dag.yaml": GOOD.replace("type: string}}\nout", "type: int}}\nout"), "flow/a.py": TOOL},
        ("flow", "test", "--flow", "flow", "--inputs", "x=abc"),
    ),
    Case("missing tool file", "tool.python_loader_not_found|tool", r"a\.py", {"flow/flow.dag.yaml": GOOD}),
    Case(
        "syntax error in a tool",
        "tool.",
        r"a\.py:\d+",
        {"flow/flow.dag.yaml": GOOD, "flow/a.py": "from promptflow.core import tool\n@tool\ndef a(x:\n"},
    ),
    Case(
        "a tool that raises",
        "run.tool_failed",
        r"a\.py:\d+",
        {"flow/flow.dag.yaml": GOOD, "flow/a.py": tool_source("def a(x):\n    return 1 / 0")},
    ),
    Case("missing flow", "user.error|flow", r"does not exist|no flow", {}, ("flow", "test", "--flow", "nowhere")),
    Case(
        "missing input",
        "user.error",
        r"--inputs x=",
        {"flow/flow.dag.yaml": GOOD, "flow/a.py": TOOL},
        ("flow", "test", "--flow", "flow"),
    ),
    Case(
        "template syntax error",
        "template|tool|flow",
        r"line \d+|:\d+",
        {"flow/flow.dag.yaml": LLM, "flow/a.jinja2": "user:\n{% if %}"},
    ),
    Case(
        "text before the first role",
        "provider",
        r"system|role",
        {"flow/flow.dag.yaml": LLM, "flow/a.jinja2": "hello {{x}}"},
    ),
    Case(
        "unknown connection",
        "connection|flow.get_connection",
        r"'nobody'",
        {"flow/flow.dag.yaml": LLM + "  connection: nobody\n", "flow/a.jinja2": "user:\n{{x}}"},
    ),
    Case(
        "unreadable data row",
        "data.unreadable",
        r"rows\.jsonl:2",
        {"flow/flow.dag.yaml": GOOD, "flow/a.py": TOOL, "rows.jsonl": '{"x": "1"}\n{"x": oops}\n'},
        RUN,
    ),
    Case(
        "missing data file",
        "user.error|data",
        r"rows\.jsonl",
        {"flow/flow.dag.yaml": GOOD, "flow/a.py": TOOL},
        RUN,
    ),
    Case(
        "a mapping of nothing",
        "flow.apply_input_mapping",
        r"\$\{data\.nope\}",
        {"flow/flow.dag.yaml": GOOD, "flow/a.py": TOOL, "rows.jsonl": '{"x": "1"}\n'},
        (*RUN, "--column-mapping", "x=${data.nope}"),
    ),
    Case("an unknown run", "run.not_found", r"nothing", {}, ("run", "show", "--name", "nothing")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write_files(tmp_path, case.files))
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:echo")

    code = main(list(case.argv))

    said = capsys.readouterr()
    text = said.err + said.out
    assert code == 1
    assert "Traceback" not in text
    assert "system." not in text, text
    assert re.search(case.says, text), text
    assert re.search(case.code, text), text
    assert "hint" in text or "at:" in text, text


class Endpoint(BaseHTTPRequestHandler):
    """Refuses every key."""

    def do_POST(self) -> None:
        body = json.dumps({"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}).encode()
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def refusing_endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def _with_connection(folder: Path, base_url: str) -> None:
    write_files(
        folder,
        {
            "flow/flow.dag.yaml": LLM + "  connection: remote\n",
            "flow/a.jinja2": "user:\n{{x}}\n",
            "remote.yaml": f"name: remote\ntype: open_ai\napi_key: sk-very-secret\nbase_url: {base_url}\n",
        },
    )
    assert main(["connection", "create", "--file", str(folder / "remote.yaml")]) == 0


def test_a_wrong_key_is_said_without_showing_it(
    tmp_path: Path, refusing_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _with_connection(tmp_path, refusing_endpoint)

    code = main(["flow", "test", "--flow", str(tmp_path / "flow"), "--inputs", "x=1"])

    said = capsys.readouterr()
    assert code == 1
    assert "provider.auth" in said.err
    assert "hint" in said.err
    assert "sk-very-secret" not in said.err + said.out


def test_a_dead_endpoint_is_said_at_once_and_finished_lines_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _with_connection(tmp_path, "http://127.0.0.1:9/v1")
    (tmp_path / "rows.jsonl").write_text('{"x": "1"}\n')

    code = main(
        ["run", "create", "--flow", str(tmp_path / "flow"), "--data", str(tmp_path / "rows.jsonl"), "--name", "r"]
    )

    line = Client().runs.line("r", 0)
    assert code == 1
    assert line is not None
    assert line.error is not None
    assert line.error["errorCode"].startswith("provider.")
    assert "127.0.0.1:9" in str(line.error) or "connect" in line.error["message"].lower()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.model
def test_a_prompt_longer_than_the_context_says_need_and_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {"flow/flow.dag.yaml": LLM, "flow/a.jinja2": "user:\n{{x}}\n"})
    (tmp_path / "inputs.json").write_text(json.dumps({"x": "word " * 60_000}))

    code = main(["flow", "test", "--flow", str(tmp_path / "flow"), "--inputs", str(tmp_path / "inputs.json")])

    said = capsys.readouterr().err
    assert code == 1
    assert "engine.context_full" in said or "provider.context_length" in said
    assert len(re.findall(r"\d{4,}", said)) >= 2
