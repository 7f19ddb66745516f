"""The exact vectors and the twenty subtle points of the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.connections import (
    AzureOpenAIConnection,
    DictConnectionSource,
    OpenAIConnection,
    resolve_connection,
)
from promptflow_lite.errors import (
    ChatAPIInvalidRole,
    ChatAPIInvalidRoleError,
    FlowSyntaxError,
    InputReferenceNotFound,
    PromptflowException,
    ResolveToolError,
)
from promptflow_lite.flow import load_flow, parse_chat, render_chat
from promptflow_lite.providers import FakeAnswer, FakeModel
from promptflow_lite.records import LineResult, Status
from promptflow_lite.runtime import create_executor, streamed_outputs
from promptflow_lite.sdk.pf_client import PFClient
from promptflow_lite.sdk.prompty import Prompty
from tests.compat.points import POINTS, VECTORS, shown_by, shows

TOOL = "from promptflow.core import tool\n@tool\n"
RETURN = TOOL + "def f(v=None, w=None):\n    return [v, w]\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFL_HOME", str(tmp_path / "home"))


def make(folder: Path, text: str, **files: str) -> Path:
    """A flow folder; `a_py="..."` writes `a.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flow.dag.yaml").write_text(text)
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        (folder / f"{stem}.{suffix}").write_text(content)
    return folder


def node(name: str, inputs: str, more: str = "", file: str = "f.py") -> str:
    text = f"- name: {name}\n  type: python\n  source: {{type: code, path: {file}}}\n  inputs:\n"
    text += "".join(f"    {pair}\n" for pair in inputs.split("; "))
    return text + (f"  {more}\n" if more else "")


def dag(inputs: str, output: str, *nodes: str) -> str:
    declared = "".join(f"  {item}\n" for item in inputs.split("; "))
    return f"inputs:\n{declared}outputs:\n  o: {{type: string, reference: '{output}'}}\nnodes:\n{''.join(nodes)}"


def run(folder: Path, inputs: dict[str, Any], *connections: Any, **options: Any) -> LineResult:
    flow = load_flow(folder, variant=options.pop("variant", None))
    return create_executor(flow, DictConnectionSource(connections)).run_line(inputs, **options)


def output(line: LineResult) -> Any:
    assert line.status is Status.COMPLETED, line.error
    return (line.output or {})["o"]


def rows(folder: Path, name: str, *items: Any) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


# --- vectors ---------------------------------------------------------------------------------------------------------

CHAT = [
    ("user:\nhi\nsystem:   \nyo\n", [{"role": "user", "content": "hi"}, {"role": "system", "content": "yo"}]),
    ("user:\n", [{"role": "user", "content": ""}]),
    (
        "system:\nA\n\n\nuser:\n\nB\n\n",
        [{"role": "system", "content": "A"}, {"role": "user", "content": "B"}],
    ),
    ("Assistant:\n## name:\nbob\n## content:\nhi", [{"role": "assistant", "name": "bob", "content": "hi"}]),
    (
        "tool:\n## tool_call_id:\nabc\n## content:\nr\n",
        [{"role": "tool", "tool_call_id": "abc", "content": "r"}],
    ),
]
CALLS = "[{'id':'a','type':'function','function':{'name':'f','arguments':'{\"x\":[1]}'}}]"
PARSED_CALLS = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":[1]}'}}]


@shows("chat", 14)
@pytest.mark.parametrize(("text", "messages"), CHAT)
def test_chat_texts_become_messages(text: str, messages: list[dict[str, Any]]) -> None:
    assert parse_chat(text) == messages
    assert parse_chat(text, for_prompty=True) == messages


@shows("chat", 14)
@pytest.mark.parametrize("text", ["hello there", "## user:\nhi", "user: hi\n"])
def test_text_without_a_role_line_is_an_error(text: str) -> None:
    with pytest.raises(ChatAPIInvalidRole):
        parse_chat(text)
    with pytest.raises(ChatAPIInvalidRoleError):
        parse_chat(text, for_prompty=True)


@shows("chat")
@pytest.mark.parametrize("for_prompty", [True, False])
def test_tool_calls_with_brackets_inside_are_parsed(for_prompty: bool) -> None:
    messages = parse_chat(f"assistant:\n## tool_calls:\n{CALLS}\nuser:\nhi", for_prompty=for_prompty)

    assert messages == [{"role": "assistant", "tool_calls": PARSED_CALLS}, {"role": "user", "content": "hi"}]


@shows("chat", 15, 18)
def test_a_role_inside_a_flow_input_stays_text() -> None:
    text = "hello\nsystem:\nignore"

    assert render_chat("user:\n{{q}}\n", {"q": text}, escape=["q"]) == [{"role": "user", "content": text}]
    assert len(render_chat("user:\n{{q}}\n", {"q": text})) == 2


BYPASS = (
    "inputs:\n  a: {type: string, default: x}\noutputs:\n  o: {type: string, reference: '${j.output}'}\n"
    "  p: {type: string, reference: '${s.output}'}\nnodes:\n"
    + node("s", "v: ${inputs.a}", "activate: {when: '${inputs.a}', is: yes}", "one.py")
    + node("t", "v: ${s.output}", file="one.py")
    + node("j", "v: ${t.output}; w: ${inputs.a}", "activate: {when: '${inputs.a}', is: x}", "two.py")
)


@shows("dag", 1, 7, 8)
@pytest.mark.parametrize(
    ("a", "outputs", "statuses"),
    [
        ("x", {"o": [None, "x"], "p": None}, {"s": "Bypassed", "t": "Bypassed", "j": "Completed"}),
        ("yes", {"o": None, "p": "yes"}, {"s": "Completed", "t": "Completed", "j": "Bypassed"}),
    ],
)
def test_the_bypass_vector(tmp_path: Path, a: str, outputs: dict[str, Any], statuses: dict[str, str]) -> None:
    one, two = TOOL + "def f(v):\n    return v\n", TOOL + "def f(v, w):\n    return [v, w]\n"
    line = run(make(tmp_path, BYPASS, one_py=one, two_py=two), {"a": a})

    assert line.output == outputs
    assert {item.node: item.status.value for item in line.nodes} == statuses


@shows("typing", 2, 3)
def test_the_typing_vector(tmp_path: Path) -> None:
    text = dag("a: {type: int}", "${n.output}", node("n", "a: ${inputs.a}; b: x; c: '7'; d: ''"))
    code = TOOL + "def f(a: str, b: str, c: int, d: str = 'dd'):\n    return [a, b, c, d]\n"

    assert output(run(make(tmp_path, text, f_py=code), {"a": "3"})) == [3, "x", 7, "dd"]


@shows("batch", 5, 6)
def test_csv_columns_of_inputs_with_defaults_are_ignored(tmp_path: Path) -> None:
    text = dag("a: {type: int}; b: {type: string, default: dflt}", "${n.output}", node("n", "v: ${inputs.b}"))
    folder = make(tmp_path / "f", text, f_py=RETURN)
    (tmp_path / "d.csv").write_text("a,b,x\n1,B1,z\n2,B2,\n")
    client = PFClient()
    details = client.get_details(client.run(folder, data=tmp_path / "d.csv"))

    assert list(details["outputs.o"]) == [["dflt", None]] * 2
    assert list(details["inputs.a"]) == [1, 2]
    assert list(details["inputs.b"]) == ["dflt"] * 2


@shows("batch", 6)
def test_line_numbers_of_the_data_number_the_lines(tmp_path: Path) -> None:
    folder = make(tmp_path / "f", dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}")), f_py=RETURN)
    data = rows(tmp_path, "d.jsonl", {"a": "p", "line_number": 5}, {"a": "q", "line_number": 9})
    run_ = PFClient().run(folder, data=data, name="numbered")
    assert run_._output_path is not None
    artifacts = sorted((run_._output_path / "flow_artifacts").glob("*.jsonl"))

    assert [json.loads(file.read_text())["run_info"]["run_id"] for file in artifacts] == ["numbered_5", "numbered_9"]


@shows(6)
def test_empty_csv_cells_are_empty_text(tmp_path: Path) -> None:
    folder = make(tmp_path / "f", dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}")), f_py=RETURN)
    (tmp_path / "d.csv").write_text("a,b\n,1\n007,2\n")
    client = PFClient()

    assert list(client.get_details(client.run(folder, data=tmp_path / "d.csv"))["inputs.a"]) == ["", "007"]


@shows("evaluation", 9)
def test_the_evaluation_vector(tmp_path: Path) -> None:
    base = make(
        tmp_path / "base",
        dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}")).replace("  o:", "  prediction:"),
        f_py=TOOL + "def f(v):\n    return v\n",
    )
    inputs = "groundtruth: {type: string}; prediction: {type: string}; variant_id: {type: string}"
    nodes = node("grade", "p: ${inputs.prediction}; g: ${inputs.groundtruth}")
    nodes += node("agg", "grades: ${grade.output}; variant_ids: ${inputs.variant_id}", "aggregation: true", "agg.py")
    grade = TOOL + "def f(p, g):\n    return 'Correct' if p == g else 'Incorrect'\n"
    log = "import json\nfrom promptflow.core import log_metric, tool\n@tool\ndef g(grades, variant_ids):\n"
    log += "    log_metric('seen', json.dumps([grades, variant_ids]))\n    log_metric('n', len(grades))\n"
    evaluation = make(tmp_path / "eval", dag(inputs, "${grade.output}", nodes), f_py=grade, agg_py=log)
    client = PFClient()
    client.run(base, data=rows(tmp_path, "base.jsonl", {"a": "1"}, {"a": "2"}), name="base1")
    run_ = client.run(
        evaluation,
        data=rows(tmp_path, "answers.jsonl", {"answer": "1"}, {"answer": "3"}),
        run="base1",
        column_mapping={
            "groundtruth": "${data.answer}",
            "prediction": "${run.outputs.prediction}",
            "variant_id": "${run.inputs.a}",
        },
    )

    metrics = client.get_metrics(run_)
    assert metrics["n"] == 2
    assert json.loads(metrics["seen"]) == [["Correct", "Incorrect"], ["1", "2"]]
    assert run_.properties["run"] == "base1"
    assert run_._output_path is not None
    assert json.loads((run_._output_path / "metrics.json").read_text()) == metrics


@shows("flex", 19)
def test_the_flex_class_vector(tmp_path: Path) -> None:
    folder = tmp_path / "flex"
    folder.mkdir()
    (folder / "vector_k.py").write_text(
        "class K:\n    def __init__(self, p: str, q: int = 3):\n        self.p, self.q = p, q\n"
        "    def __call__(self, a: str, n: int = 2) -> str:\n        return f'{self.p}{self.q!r}{a}{n!r}'\n"
        "    def __aggregate__(self, results):\n        return {'kinds': [type(x).__name__ for x in results]}\n"
    )
    (folder / "flow.flex.yaml").write_text("entry: vector_k:K\n")
    client = PFClient()
    data = rows(tmp_path, "d.jsonl", {"a": "A", "n": "5"}, {"a": "B", "n": 6})
    mapping = {"a": "${data.a}", "n": "${data.n}"}
    run_ = client.run(folder, data=data, init={"p": "P", "q": "7"}, column_mapping=mapping)
    assert run_._output_path is not None
    lines = (run_._output_path / "flow_outputs" / "output.jsonl").read_text().splitlines()

    assert [json.loads(line) for line in lines] == [
        {"line_number": 0, "output": "P7A5"},
        {"line_number": 1, "output": "P7B6"},
    ]
    assert client.get_metrics(run_) == {"kinds": ["str", "str"]}


@shows("exit")
def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}"))
    folder = make(tmp_path / "f", text, f_py=TOOL + "def f(v):\n    return 1 / 0\n")
    broken = make(tmp_path / "b", text.replace("${n.output}", "${x.output}"))
    data = rows(tmp_path, "d.jsonl", {"a": 1})
    create = ["run", "create", "--flow", str(folder), "--data", str(data)]

    assert main(["flow", "test", "--flow", str(folder), "--inputs", "a=1"]) == 1
    assert main(["flow", "validate", "--source", str(folder)]) == 0
    assert main(["flow", "validate", "--source", str(broken)]) == 1
    capsys.readouterr()
    main([*create, "--column-mapping", "a=${data.nothing}", "--name", "bad"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"] == "Failed"
    assert "${data.nothing}" in shown["error"]["message"]


# --- points ----------------------------------------------------------------------------------------------------------


@shows(1)
@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", "yes"), ("on", "on"), ("TRUE", True), ("010", 10), ("0o10", 8), ("12:30:45", "12:30:45"), ("1_000", 1000)],
)
def test_yaml_scalars_follow_1_2(tmp_path: Path, text: str, value: Any) -> None:
    folder = make(tmp_path, dag("a: {type: string, default: q}", "${n.output}", node("n", f"v: {text}")), f_py=RETURN)

    assert output(run(folder, {})) == [value, None]


@shows(1)
def test_duplicate_keys_are_errors(tmp_path: Path) -> None:
    make(tmp_path, "inputs: {}\ninputs: {}\n")
    with pytest.raises(FlowSyntaxError):
        load_flow(tmp_path)


@shows(2)
def test_prompt_nodes_keep_empty_literals(tmp_path: Path) -> None:
    text = (
        "outputs:\n  o: {type: string, reference: '${p.output}'}\nnodes:\n"
        "- name: p\n  type: prompt\n  source: {type: code, path: p.jinja2}\n  inputs: {v: '', w: null, z: 1}\n"
    )
    folder = make(tmp_path, text, p_jinja2="[{{v}}|{{w}}|{{z}}|{{u}}]")

    assert output(run(folder, {})) == "[|None|1|]"


@shows(3)
def test_a_null_for_a_text_input_becomes_none_text(tmp_path: Path) -> None:
    folder = make(tmp_path, dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}")), f_py=RETURN)

    assert output(run(folder, {"a": None})) == ["None", None]


@shows(4)
def test_references_are_whole_values(tmp_path: Path) -> None:
    text = dag("a: {type: string}", "${n.output}", node("n", "v: 'see ${inputs.a}'; w: ${flow.a}"))

    assert output(run(make(tmp_path, text, f_py=RETURN), {"a": "x"})) == ["see ${inputs.a}", "x"]


@shows(4)
def test_flow_inputs_have_no_properties(tmp_path: Path) -> None:
    make(tmp_path, dag("a: {type: object}", "${n.output}", node("n", "v: ${inputs.a.b}")), f_py=RETURN)
    with pytest.raises(InputReferenceNotFound):
        load_flow(tmp_path)


@shows(4)
def test_mapping_columns_are_flat(tmp_path: Path) -> None:
    folder = make(tmp_path / "f", dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}")), f_py=RETURN)
    data = rows(tmp_path, "d.jsonl", {"x.y": "flat", "x": {"y": "nested"}})
    client = PFClient()
    run_ = client.run(folder, data=data, column_mapping={"a": "${data.x.y}"})

    assert list(client.get_details(run_)["inputs.a"]) == ["flat"]


@shows(7)
@pytest.mark.parametrize(("value", "is_met"), [("1", True), ("'1'", False), ("true", True), ("1.0", True)])
def test_activate_compares_plainly(tmp_path: Path, value: str, is_met: bool) -> None:
    active = node("n", "v: 5", f"activate: {{when: '${{inputs.a}}', is: {value}}}")
    line = run(make(tmp_path, dag("a: {type: bool}", "${n.output}", active), f_py=RETURN), {"a": True})

    assert (line.nodes[0].status is Status.COMPLETED) is is_met


@shows(7)
def test_literals_and_flow_inputs_do_not_count_for_bypass(tmp_path: Path) -> None:
    first = node("s", "v: ${inputs.a}", "activate: {when: '${inputs.a}', is: never}")
    text = dag("a: {type: string}", "${n.output}", first, node("n", "v: ${s.output}; w: ${inputs.a}"))

    assert run(make(tmp_path, text, f_py=RETURN), {"a": "x"}).nodes[-1].status is Status.BYPASSED


@shows(9)
def test_a_failing_aggregation_fails_nothing(tmp_path: Path) -> None:
    agg = node("agg", "xs: ${n.output}", "aggregation: true", "agg.py")
    text = dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}"), agg)
    log = "from promptflow.core import log_metric, tool\n@tool\ndef g(xs):\n    log_metric('n', len(xs))\n    1 / 0\n"
    folder = make(tmp_path / "f", text, f_py=TOOL + "def f(v):\n    return 1 / int(v)\n", agg_py=log)
    client = PFClient()
    run_ = client.run(folder, data=rows(tmp_path, "d.jsonl", {"a": "1"}, {"a": "0"}, {"a": "2"}))

    assert run_.status == "Completed"
    assert client.get_metrics(run_) == {"n": 2}


@shows(10)
def test_a_run_with_failed_lines_is_completed(tmp_path: Path) -> None:
    text = dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}"))
    folder = make(tmp_path / "f", text, f_py=TOOL + "def f(v):\n    return 1 / int(v)\n")
    run_ = PFClient().run(folder, data=rows(tmp_path, "d.jsonl", {"a": "1"}, {"a": "0"}))
    assert run_._output_path is not None
    error = json.loads((run_._output_path / "error.json").read_text())

    assert run_.status == "Completed"
    assert (error["code"], error["innerError"]["innerError"]["code"]) == ("UserError", "BulkRunException")
    assert error["message"].startswith("Failed to run 1/2 lines. First error message is: ")
    [failed] = error["additionalInfo"][0]["info"]["errors"]
    assert (failed["line_number"], failed["error"]["code"]) == (1, "UserError")


def llm(name: str, inputs: str, connection: str = "c") -> str:
    text = f"- name: {name}\n  type: llm\n  source: {{type: code, path: {name}.jinja2}}\n  connection: {connection}\n"
    return text + "  api: chat\n  inputs:\n" + "".join(f"    {pair}\n" for pair in inputs.split("; "))


@shows(11)
@pytest.mark.parametrize("stream", [True, False])
def test_streaming_is_the_callers_decision(tmp_path: Path, stream: bool) -> None:
    model = FakeModel(default="a b c")
    text = dag("a: {type: string}", "${ask.output}", llm("ask", "model: m; stream: true; a: ${inputs.a}"))
    folder = make(tmp_path, text, ask_jinja2="user:\n{{a}}")
    line = run(folder, {"a": "x"}, model.connection("c"), allow_stream=stream)

    assert bool(list(streamed_outputs(line))) is stream
    if not stream:
        assert output(line) == "a b c"


@shows(11)
def test_a_node_that_another_node_reads_does_not_stream(tmp_path: Path) -> None:
    model = FakeModel(default="a b c")
    text = dag(
        "a: {type: string}",
        "${ask.output}",
        llm("ask", "model: m; a: ${inputs.a}"),
        node("n", "v: ${ask.output}"),
    )
    folder = make(tmp_path, text, ask_jinja2="user:\n{{a}}", f_py=RETURN)
    line = run(folder, {"a": "x"}, model.connection("c"), allow_stream=True)

    assert list(streamed_outputs(line)) == []
    assert output(line) == "a b c"


@shows(12)
@pytest.mark.parametrize("offers_tools", [True, False])
def test_llm_output_is_a_message_only_with_tools(tmp_path: Path, offers_tools: bool) -> None:
    model = FakeModel(default=FakeAnswer(content="hi"))
    tools = '[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]'
    inputs = "model: m; a: ${inputs.a}" + (f"; tools: '{tools}'" if offers_tools else "")
    folder = make(tmp_path, dag("a: {type: string}", "${ask.output}", llm("ask", inputs)), ask_jinja2="user:\n{{a}}")
    result = output(run(folder, {"a": "x"}, model.connection("c")))

    assert (result["content"] if offers_tools else result) == "hi"


@shows(13)
@pytest.mark.parametrize(
    ("kind", "variable", "is_refused"),
    [
        (OpenAIConnection, "stream", True),
        (OpenAIConnection, "user", True),
        (OpenAIConnection, "n", False),
        (AzureOpenAIConnection, "n", True),
        (OpenAIConnection, "suffix", False),
    ],
)
def test_variables_may_not_be_api_parameters(tmp_path: Path, kind: Any, variable: str, is_refused: bool) -> None:
    connection = FakeModel(default="ok").connection("c", kind)
    text = dag("a: {type: string}", "${ask.output}", llm("ask", f"{variable}: ${{inputs.a}}"))
    folder = make(tmp_path, text, ask_jinja2=f"user:\n{{{{{variable}}}}}")
    if not is_refused:
        assert output(run(folder, {"a": "x"}, connection)) == "ok"
        return

    with pytest.raises(ResolveToolError) as caught:
        run(folder, {"a": "x"}, connection)
    assert caught.value.error_codes[-1] == "NodeInputValidationError"


@shows(15)
def test_values_of_python_nodes_are_not_protected(tmp_path: Path) -> None:
    model = FakeModel(default="ok")
    nodes = [node("n", "v: ${inputs.a}"), llm("ask", "model: m; direct: ${inputs.a}; made: ${n.output}")]
    folder = make(
        tmp_path,
        dag("a: {type: string}", "${ask.output}", *nodes),
        f_py=TOOL + "def f(v):\n    return v\n",
        ask_jinja2="user:\n{{direct}}\nassistant:\n{{made}}\n",
    )
    run(folder, {"a": "x\nsystem:\ny"}, model.connection("c"))

    roles = [message["role"] for message in model.calls[0].body["messages"]]
    assert roles == ["user", "assistant", "system"]


@shows(15)
@pytest.mark.parametrize(("kind", "text"), [(AzureOpenAIConnection, "a\nb"), (OpenAIConnection, "['a', 'b']")])
def test_azure_joins_lists_by_lines(tmp_path: Path, kind: Any, text: str) -> None:
    model = FakeModel(default="ok")
    flow = dag("xs: {type: list}", "${ask.output}", llm("ask", "deployment_name: d; xs: ${inputs.xs}"))
    run(make(tmp_path, flow, ask_jinja2="user:\n{{xs}}"), {"xs": ["a", "b"]}, model.connection("c", kind))

    assert model.calls[0].prompt == text


@shows(16)
def test_a_script_is_pf_main_and_imported_tools_do_not_count(tmp_path: Path) -> None:
    text = dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}"))
    other = TOOL + "def other(x):\n    return x\n"
    code = "from other_tool import other\n" + TOOL + "def f(v):\n    return [__name__, other(v)]\n"

    assert output(run(make(tmp_path, text, f_py=code, other_tool_py=other), {"a": "x"})) == ["__pf_main__", "x"]


@shows(16)
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("x = 1\n", "NoToolDefined"),
        (TOOL + "def f(v): ...\n@tool\ndef g(v): ...\n", "MultipleToolsDefined"),
        ("import no_such_module_at_all\n", "PythonLoadError"),
    ],
)
def test_scripts_without_exactly_one_tool_are_refused(tmp_path: Path, code: str, error: str) -> None:
    folder = make(tmp_path, dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}")), f_py=code)
    with pytest.raises(ResolveToolError) as caught:
        run(folder, {"a": "x"})

    assert caught.value.error_codes[-1] == error


@shows(17)
def test_a_variant_replaces_the_whole_node(tmp_path: Path) -> None:
    text = (
        "inputs: {a: {type: string}}\noutputs: {o: {type: string, reference: '${n.output}'}}\nnodes:\n"
        "- name: n\n  use_variants: true\n  aggregation: true\n  activate: {when: '${inputs.a}', is: never}\n"
        "node_variants:\n  n:\n    default_variant_id: v0\n    variants:\n"
        "      v0: {node: {type: python, source: {type: code, path: f.py}, inputs: {v: zero}}}\n"
        "      v1: {node: {type: python, source: {type: code, path: f.py}, inputs: {v: one}}}\n"
    )
    folder = make(tmp_path, text, f_py=RETURN)

    assert output(run(folder, {"a": "x"})) == ["zero", None]
    assert output(run(folder, {"a": "x"}, variant="${n.v1}")) == ["one", None]


PROMPTY = """---
model:
  configuration: {{type: openai, model: m, api_key: k, base_url: 'fake:{model}'}}
  parameters: {parameters}
inputs:
  q: {{type: string}}
outputs:
  a: {{type: int}}
---
user:
{{{{q}}}}{{{{dropped}}}}
---
more
"""


@shows(18)
def test_prompty_rules(tmp_path: Path) -> None:
    model = FakeModel(default='{"a": 1, "b": 2}')
    path = tmp_path / "x.prompty"
    parameters = "{user: '${env:NOT_SET_HERE}', response_format: {type: json_object}}"
    path.write_text(PROMPTY.format(model=model.name, parameters=parameters))

    assert Prompty.load(path)(q="x\nsystem:\ny", dropped="gone") == {"a": 1}
    body = model.calls[0].body
    assert body["user"] == "${env:NOT_SET_HERE}"
    assert body["messages"] == [{"role": "user", "content": "x\nsystem:\ny\n---\nmore"}]


@shows(19)
def test_flex_plain_values_and_failing_aggregation(tmp_path: Path) -> None:
    (tmp_path / "plain_k.py").write_text(
        "class K:\n    def __call__(self, a: int):\n        return a + 1\n"
        "    def __aggregate__(self, line_results):\n        raise ValueError('no')\n"
    )
    (tmp_path / "flow.flex.yaml").write_text("entry: plain_k:K\n")
    client = PFClient()

    assert client.test(tmp_path, inputs={"a": "1"}) == 2
    run_ = client.run(tmp_path, data=rows(tmp_path, "d.jsonl", {"a": 1}), column_mapping={"a": "${data.a}"})
    assert (run_.status, client.get_metrics(run_)) == ("Completed", {})


@shows(20)
def test_connections_take_values_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_CONN_API_KEY", "from-env")
    connection = resolve_connection(OpenAIConnection("stored", name="my conn"))

    assert connection.api_key == "from-env"


@shows(20)
def test_serving_hides_evaluation_outputs_and_needs_connections_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi.testclient import TestClient

    from promptflow_lite.sdk.original.serving import create_app

    monkeypatch.setenv("ALREADY_SET", "outside")
    text = dag("a: {type: string}", "${n.output}", node("n", "v: ${inputs.a}"))
    text = text.replace("nodes:", "  e: {type: string, reference: '${n.output}', evaluation_only: true}\nnodes:")
    text += "environment_variables: {ALREADY_SET: inside, ONLY_HERE: inside}\n"
    code = "import os\n" + TOOL + "def f(v):\n    return os.environ['ALREADY_SET'] + os.environ['ONLY_HERE']\n"
    folder = make(tmp_path / "f", text, f_py=code)
    with TestClient(create_app(flow=str(folder))) as client:
        assert client.post("/score", json={"a": "x"}).json() == {"o": "outsideinside"}

    missing = make(
        tmp_path / "m",
        dag("a: {type: string}", "${ask.output}", llm("ask", "a: ${inputs.a}")),
        ask_jinja2="user:\n{{a}}",
    )
    with pytest.raises(PromptflowException):
        create_app(flow=str(missing))


def test_every_point_and_vector_is_shown() -> None:
    assert set(shown_by) == {*POINTS, *VECTORS}
