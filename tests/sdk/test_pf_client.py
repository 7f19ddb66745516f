"""`PFClient`: tests, runs over rows, callables, details as a table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.connections import CustomConnection, OpenAIConnection
from promptflow_lite.errors import (
    ConnectionNotFoundError,
    InvalidRunStatusError,
    NotSupported,
    RunExistsError,
    RunNotFoundError,
    UserErrorException,
)
from promptflow_lite.sdk.pf_client import PFClient, load_run
from promptflow_lite.sdk.run_entity import Run

FLOW = """
inputs:
  a: {type: string}
  n: {type: int, default: 2}
outputs:
  o: {type: string, reference: "${repeat.output}"}
nodes:
- name: repeat
  type: python
  source: {type: code, path: repeat.py}
  inputs:
    a: ${inputs.a}
    n: ${inputs.n}
- name: count
  type: python
  aggregation: true
  source: {type: code, path: count.py}
  inputs:
    xs: ${repeat.output}
"""
REPEAT = """
from promptflow.core import tool
@tool
def repeat(a: str, n: int):
    if a == "bad":
        raise ValueError("a bad row")
    return a * n
"""
COUNT = """
from promptflow.core import log_metric, tool
@tool
def count(xs: list):
    log_metric("n", len(xs))
"""
FLEX = """
class Greeter:
    def __init__(self, greeting: str = "hi"):
        self.greeting = greeting
    def __call__(self, name: str, times: int = 1) -> str:
        return " ".join([self.greeting] * times + [name])
    def __aggregate__(self, results):
        return {"n": len(results)}

def shout(name: str):
    return {"loud": name.upper()}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PFL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    folder = tmp_path / "my_flow"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(FLOW)
    (folder / "repeat.py").write_text(REPEAT)
    (folder / "count.py").write_text(COUNT)
    return folder


@pytest.fixture
def flex(tmp_path: Path) -> Path:
    folder = tmp_path / "my_flex"
    folder.mkdir()
    (folder / "greetings.py").write_text(FLEX)
    (folder / "flow.flex.yaml").write_text("entry: greetings:Greeter\n")
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "x", "name": "Ann"}\n{"a": "bad", "name": "Bob"}\n{"a": "z", "name": "Cid"}\n')
    return path


def test_testing_a_flow_returns_its_outputs(flow: Path) -> None:
    assert PFClient().test(flow, inputs={"a": "x", "n": "3"}) == {"o": "xxx"}


def test_testing_a_node_returns_its_output(flow: Path) -> None:
    assert PFClient().test(flow, node="repeat", inputs={"a": "y"}) == "yy"


@pytest.mark.parametrize(("name", "text"), [("in.json", '{"a": "q"}'), ("in.jsonl", '{"a": "q"}\n{"a": "r"}\n')])
def test_inputs_may_be_a_file(flow: Path, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    assert PFClient().test(flow, inputs=tmp_path / name) == {"o": "qq"}


@pytest.mark.parametrize(("source", "message"), [("in.csv", "jsonl or json"), ("none.json", "Cannot find")])
def test_other_input_files_are_refused(flow: Path, tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "in.csv").write_text("a\n1\n")
    with pytest.raises(UserErrorException, match=message):
        PFClient().test(flow, inputs=tmp_path / source)


def test_a_failing_flow_raises_with_the_name_of_its_error(flow: Path) -> None:
    with pytest.raises(UserErrorException, match=r"ToolExecutionError: .*a bad row"):
        PFClient().test(flow, inputs={"a": "bad"})


def test_a_run_records_lines_metrics_and_details(flow: Path, rows: Path) -> None:
    client = PFClient()
    run = client.run(flow, data=rows, name="base", column_mapping={"a": "${data.a}"}, tags={"k": "v"})

    assert (run.name, run.status, run.tags) == ("base", "Completed", {"k": "v"})
    assert run.properties["system_metrics"]["total_tokens"] == 0
    assert client.get_metrics(run) == {"n": 2}
    details = client.get_details("base")
    assert list(details.columns) == ["inputs.a", "inputs.line_number", "inputs.n", "outputs.o"]
    assert list(details["outputs.o"]) == ["xx", "(Failed)", "zz"]
    assert list(details["inputs.line_number"]) == [0, 1, 2]
    assert len(client.get_details("base", max_results=1)) == 1
    assert "name: base" in str(run)


def test_a_run_can_evaluate_another(flow: Path, rows: Path) -> None:
    client = PFClient()
    base = client.run(flow, data=rows)
    again = client.run(flow, run=base, data=rows, column_mapping={"a": "${run.outputs.o}"})

    assert again.run == base.name
    assert list(client.get_details(again)["outputs.o"]) == ["xxxx", "zzzz"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ValueError),
        ({"flow": "my_flow"}, ValueError),
        ({"flow": "my_flow", "data": "nothing.jsonl"}, FileNotFoundError),
        ({"flow": "no such flow", "data": "rows.jsonl"}, UserErrorException),
        ({"flow": "my_flow", "resume_from": "x"}, ValueError),
        ({"flow": "my_flow", "run": "missing"}, RunNotFoundError),
    ],
)
def test_wrong_requests_are_refused(flow: Path, rows: Path, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        PFClient().run(**arguments)


def test_a_name_can_be_taken_once(flow: Path, rows: Path) -> None:
    client = PFClient()
    client.run(flow, data=rows, name="once")
    with pytest.raises(RunExistsError):
        client.run(flow, data=rows, name="once")


def test_a_flex_class_runs_with_init_and_its_aggregate_gives_metrics(flex: Path, rows: Path) -> None:
    client = PFClient()
    run = client.run(flex, data=rows, init={"greeting": "hello"}, column_mapping={"name": "${data.name}"})

    assert list(client.get_details(run)["outputs.output"]) == ["hello Ann", "hello Bob", "hello Cid"]
    assert client.get_metrics(run) == {"n": 3}
    assert run.properties["init_kwargs"] == {"greeting": "hello"}


def test_an_entry_runs_with_its_code_folder(flex: Path, rows: Path) -> None:
    client = PFClient()
    run = client.run("greetings:shout", code=flex, data=rows)

    assert list(client.get_details(run)["outputs.loud"]) == ["ANN", "BOB", "CID"]


def test_a_function_a_class_and_an_instance_run_as_they_are(rows: Path) -> None:
    class Adder:
        def __init__(self, extra: str = "!") -> None:
            self.extra = extra

        def __call__(self, name: str) -> str:
            return name + self.extra

    def double(name: str) -> dict[str, str]:
        return {"twice": name * 2}

    client = PFClient()
    for target, column, expected in [
        (double, "outputs.twice", "AnnAnn"),
        (Adder, "outputs.output", "Ann!"),
        (Adder("?"), "outputs.output", "Ann?"),
    ]:
        assert client.get_details(client.run(target, data=rows))[column][0] == expected
    assert client.test(Adder("+"), inputs={"name": "x"}) == "x+"


def test_runs_are_listed_archived_updated_and_deleted(flow: Path, rows: Path) -> None:
    client = PFClient()
    client.run(flow, data=rows, name="one")
    client.runs.archive("one")

    assert client.runs.list() == []
    assert [run.name for run in client.runs.list(list_view_type="ArchivedOnly")] == ["one"]
    client.runs.restore("one")
    assert client.runs.update("one", display_name="shown").display_name == "shown"
    client.runs.delete("one")
    with pytest.raises(RunNotFoundError):
        client.runs.get("one")


def test_streaming_prints_the_summary_and_raises_for_a_failed_run(
    flow: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = PFClient()
    client.stream(client.run(flow, data=rows, name="good"))
    assert 'Run status: "Completed"' in capsys.readouterr().out

    failed = client.run(flow, data=rows, name="wrong", column_mapping={"a": "${data.nothing}"})
    assert failed.status == "Failed"
    with pytest.raises(InvalidRunStatusError):
        client.stream(failed)
    assert client.stream(failed, raise_on_error=False).name == "wrong"


def test_a_run_file_becomes_a_run(flow: Path, rows: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("flow: my_flow\ndata: rows.jsonl\ncolumn_mapping:\n  a: ${data.name}\n")
    loaded = load_run(tmp_path / "run.yaml", params_override=[{"name": "from_file"}])

    assert isinstance(loaded, Run)
    done = PFClient().runs.create_or_update(loaded)
    assert (done.name, done.status) == ("from_file", "Completed")


@pytest.mark.parametrize(("level", "logged"), [("INFO", "IEI"), ("error", "E"), ("CRITICAL", "")])
def test_the_log_of_a_run_keeps_to_the_level_that_is_set(
    level: str, logged: str, flow: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PF_LOGGING_LEVEL", level)
    run = PFClient().run(flow, data=rows, name="logged")
    assert run._output_path is not None

    text = (run._output_path / "logs.txt").read_text()
    assert "".join(re.findall(r"execution\.bulk +([A-Z])", text)) == logged


def test_a_run_leaves_the_files_of_the_original(flow: Path, rows: Path) -> None:
    (flow / ".gitignore").write_text("*.secret\nlogs/\n!keep.secret\n")
    for name in ("a.secret", "keep.secret"):
        (flow / name).write_text("s")
    run = PFClient().run(flow, data=rows, name="files")
    assert run._output_path is not None
    folder = run._output_path
    assert run._to_dict()["output"] == str(folder / "flow_outputs")

    outputs = [json.loads(line) for line in (folder / "flow_outputs" / "output.jsonl").read_text().splitlines()]
    assert outputs == [{"line_number": 0, "o": "xx"}, {"line_number": 2, "o": "zz"}]
    assert [json.loads(line)["a"] for line in (folder / "inputs.jsonl").read_text().splitlines()] == ["x", "bad", "z"]
    assert (folder / "outputs.jsonl").read_text().splitlines()[0] == '{"o":"xx","line_number":0}'
    assert json.loads((folder / "metrics.json").read_text()) == {"n": 2}
    error = json.loads((folder / "error.json").read_text())
    assert error["additionalInfo"][0]["info"]["errors"][0]["line_number"] == 1
    assert "a bad row" in (folder / "logs.txt").read_text()
    snapshot = {path.name for path in (folder / "snapshot").iterdir()}
    assert snapshot == {"flow.dag.yaml", "repeat.py", "count.py", "keep.secret", ".gitignore"}
    line = json.loads((folder / "flow_artifacts" / "000000000_000000000.jsonl").read_text())
    assert (line["run_info"]["run_id"], line["run_info"]["output"], line["status"]) == (
        "files_0",
        {"o": "xx"},
        "Completed",
    )
    node = json.loads((folder / "node_artifacts" / "repeat" / "000000002.jsonl").read_text())
    assert (node["NodeName"], node["run_info"]["run_id"], node["run_info"]["inputs"]) == (
        "repeat",
        "files_repeat_2",
        {"a": "z", "n": 2},
    )
    reduced = json.loads((folder / "node_artifacts" / "count" / "000000000.jsonl").read_text())
    assert (reduced["line_number"], reduced["run_info"]["run_id"]) == (None, "files_count_reduce")


def test_connections_keep_their_secrets_unless_asked_for(flow: Path) -> None:
    client = PFClient()
    created = client.connections.create_or_update(OpenAIConnection("secret-key", base_url="http://x", name="oc"))

    assert created.api_key == "******"
    assert client.connections.get("oc").api_key == "secret-key"
    assert client.connections.get("oc", with_secrets=False).api_key == "******"
    client.connections.create_or_update(OpenAIConnection("***", base_url="http://y", name="oc"))
    assert client.connections.get("oc").api_key == "secret-key"
    client.connections.create_or_update(CustomConnection({"s": "1"}, {"c": "2"}, name="cc"))
    assert [connection.name for connection in client.connections.list()] == ["cc", "oc"]
    client.connections.delete("oc")
    with pytest.raises(ConnectionNotFoundError):
        client.connections.get("oc")


def test_a_remote_connection_provider_is_refused() -> None:
    with pytest.raises(NotSupported):
        PFClient(connection_provider="azureml://subscriptions/x")


def test_validating_says_what_is_wrong(flow: Path) -> None:
    client = PFClient()
    assert client.flows.validate(flow) == {"result": "Succeeded"}

    (flow / "flow.dag.yaml").write_text(FLOW.replace("${repeat.output}", "${nothing.output}"))
    assert client.flows.validate(flow)["result"] == "Failed"
    with pytest.raises(UserErrorException):
        client.flows.validate(flow, raise_error=True)


def test_a_signature_is_inferred_and_saved(flex: Path, tmp_path: Path) -> None:
    client = PFClient()
    target = tmp_path / "saved"
    file = client.flows.save("greetings:Greeter", code=flex, path=target, sample={"inputs": {"name": "Ann"}})

    text = file.read_text()
    assert "entry: greetings:Greeter" in text
    assert client.flows.infer_signature(len.__class__) is not None
    assert client.test(target) == "hi Ann"
    with pytest.raises(UserErrorException, match="not empty"):
        client.flows.save("greetings:Greeter", code=flex, path=target)


def test_building_inlines_variants_and_merges_includes(flow: Path, tmp_path: Path) -> None:
    (tmp_path / "shared.txt").write_text("shared")
    text = FLOW + "additional_includes:\n- ../shared.txt\n"
    (flow / "flow.dag.yaml").write_text(text)
    PFClient().flows.build(flow, output=tmp_path / "built")

    assert (tmp_path / "built" / "shared.txt").read_text() == "shared"
    assert "additional_includes" not in (tmp_path / "built" / "flow.dag.yaml").read_text()
    assert PFClient().test(tmp_path / "built", inputs={"a": "x"}) == {"o": "xx"}


def test_tools_of_a_flow_are_described(flow: Path) -> None:
    tools = PFClient().tools.list(flow)["code"]

    assert tools["repeat.py"]["function"] == "repeat"
    assert tools["repeat.py"]["inputs"]["n"] == {"type": ["int"]}
    assert PFClient().tools.validate(flow / "repeat.py") == {"result": "Succeeded"}
