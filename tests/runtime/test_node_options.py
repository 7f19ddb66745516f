"""Keys that the original ignores: cached nodes, nodes that run flows, nodes mapped over lists, repeated flows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.connections import DictConnectionSource
from promptflow_lite.errors import ResolveToolError
from promptflow_lite.flow import DagFlow, load_flow, validate_flow
from promptflow_lite.providers import FakeModel
from promptflow_lite.records import LineResult, Status
from promptflow_lite.runtime import create_executor, run_node_alone
from promptflow_lite.runtime.cache import NodeCache
from promptflow_lite.tools import ToolContext


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFL_HOME", str(tmp_path / "home"))


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def python(name: str, body: str, inputs: str, **options: Any) -> tuple[str, dict[str, str]]:
    """A python node's yaml and its file."""
    lines = [f"- name: {name}", "  type: python", f"  source: {{type: code, path: {name}.py}}"]
    lines += [f"  {key}: {value}" for key, value in options.items()]
    lines += ["  inputs:", *(f"    {pair}" for pair in inputs.split("; "))]
    return "\n".join(lines) + "\n", {f"{name}.py": f"from promptflow.core import tool\n@tool\n{body}\n"}


def dag(folder: Path, inputs: str, output: str, *nodes: tuple[str, dict[str, str]]) -> Path:
    """A flow of such nodes with one output `o`."""
    text = f"inputs:\n  {inputs}\noutputs:\n  o: {{type: string, reference: '{output}'}}\nnodes:\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flow.dag.yaml").write_text(text + "".join(node for node, _ in nodes))
    for _, files in nodes:
        for name, content in files.items():
            (folder / name).write_text(content)
    return folder


def run(flow: Path, inputs: dict[str, Any], connections: DictConnectionSource | None = None) -> LineResult:
    executor = create_executor(load_flow(flow), connections or DictConnectionSource())
    return executor.run_line(inputs)


def output(line: LineResult) -> Any:
    assert line.status is Status.COMPLETED, line.error
    return (line.output or {})["o"]


# --- for_each --------------------------------------------------------------------------------------------------------

SPLIT = python("split", "def split(text: str):\n    return text.split()", "text: ${inputs.text}")


def test_for_each_calls_the_tool_for_every_element_in_order(tmp_path: Path) -> None:
    shout = python(
        "shout",
        "def shout(word: str, end: str):\n    print(word)\n    return word.upper() + end",
        "word: ${item}; end: '!'",
        for_each="${split.output}",
        concurrency=2,
    )
    line = run(dag(tmp_path, "text: {type: string}", "${shout.output}", SPLIT, shout), {"text": "a bc d"})

    assert output(line) == ["A!", "BC!", "D!"]
    node = line.node("shout")
    assert node is not None
    assert node.inputs == {"for_each": ["a", "bc", "d"], "end": "!"}


@pytest.mark.parametrize(("items", "expected"), [("[]", []), ('[{"n": 1}, {"n": 2}]', [2, 3])])
def test_for_each_over_an_input_reads_properties_of_the_element(
    tmp_path: Path, items: str, expected: list[int]
) -> None:
    pick = python("pick", "def pick(xs: list):\n    return xs", "xs: ${inputs.xs}")
    add = python("add", "def add(n: int):\n    return n + 1", "n: ${item.n}", for_each="${pick.output}")
    flow = dag(tmp_path, "xs: {type: list}", "${add.output}", pick, add)

    assert output(run(flow, {"xs": items})) == expected


def test_for_each_of_something_else_says_so(tmp_path: Path) -> None:
    node = python("n", "def n(x):\n    return x", "x: ${item}", for_each="${inputs.text}")
    line = run(dag(tmp_path, "text: {type: string}", "${n.output}", node), {"text": "abc"})

    assert line.status is Status.FAILED
    assert line.error is not None
    assert "for each element of a list" in line.error["message"]


def test_a_failing_element_fails_the_node(tmp_path: Path) -> None:
    body = "def n(x):\n    return 1 / (len(x) - 2)"
    node = python("n", body, "x: ${item}", for_each="${split.output}")
    line = run(dag(tmp_path, "text: {type: string}", "${n.output}", SPLIT, node), {"text": "a bc d"})

    assert line.status is Status.FAILED
    assert line.error is not None
    assert "ZeroDivisionError" in line.error["message"]


def test_for_each_runs_async_tools_and_collects_streams(tmp_path: Path) -> None:
    wait = python("wait", "async def wait(x):\n    return x + x", "x: ${item}", for_each="${split.output}")
    letters = python("letters", "def letters(x):\n    yield from x", "x: ${item}", for_each="${wait.output}")
    flow = dag(tmp_path, "text: {type: string}", "${letters.output}", SPLIT, wait, letters)

    assert output(run(flow, {"text": "ab c"})) == ["abab", "cc"]


def test_tokens_of_all_elements_are_counted(tmp_path: Path) -> None:
    model = FakeModel(default="ok")
    text = (
        "inputs:\n  xs: {type: list}\noutputs:\n  o: {type: list, reference: '${ask.output}'}\nnodes:\n"
        "- name: ask\n  type: llm\n  source: {type: code, path: ask.jinja2}\n  connection: c\n  api: chat\n"
        "  for_each: ${inputs.xs}\n  concurrency: 8\n  inputs:\n    model: m\n    x: ${item}\n"
    )
    flow = write(tmp_path, flow__dag__yaml=text, ask__jinja2="user:\n{{x}}")
    (tmp_path / "flow.dag.yaml").write_text(text)
    line = run(flow, {"xs": list("abcdefgh")}, DictConnectionSource([model.connection("c")]))

    assert output(line) == ["ok"] * 8
    assert line.usage.calls == 8
    assert sorted(call.prompt for call in model.calls) == list("abcdefgh")
    node = line.node("ask")
    assert node is not None
    assert len(node.spans) == 8


def test_a_mapped_node_can_be_tested_alone(tmp_path: Path) -> None:
    shout = python("shout", "def shout(w):\n    return w.upper()", "w: ${item}", for_each="${split.output}")
    flow = load_flow(dag(tmp_path, "text: {type: string}", "${shout.output}", SPLIT, shout))
    assert isinstance(flow, DagFlow)
    context = ToolContext(root=flow.root, connections=DictConnectionSource())

    assert run_node_alone(flow, "shout", {"split.output": ["a", "b"]}, context).output == ["A", "B"]


# --- sub-flows -------------------------------------------------------------------------------------------------------

DOUBLE = python("double", "def double(n: int):\n    return n * 2", "n: ${inputs.n}")


def subflow(path: str, inputs: str, **options: Any) -> tuple[str, dict[str, str]]:
    lines = ["- name: sub", "  type: flow", f"  source: {{path: {path}}}"]
    lines += [f"  {key}: {value}" for key, value in options.items()]
    lines += ["  inputs:", *(f"    {pair}" for pair in inputs.split("; "))]
    return "\n".join(lines) + "\n", {}


@pytest.fixture
def inner(tmp_path: Path) -> Path:
    return dag(tmp_path / "inner", "n: {type: int, default: 5}", "${double.output}", DOUBLE)


def test_a_flow_node_gives_the_outputs_of_its_flow(tmp_path: Path, inner: Path) -> None:
    outer = dag(tmp_path / "outer", "x: {type: string}", "${sub.output.o}", subflow("../inner", "n: ${inputs.x}"))

    assert validate_flow(outer) == []
    line = run(outer, {"x": "21"})
    assert output(line) == 42
    node = line.node("sub")
    assert node is not None
    assert node.output == {"o": 42}
    [span] = node.spans
    assert (span.kind, [child.name for child in span.children]) == ("Flow", ["double"])


def test_a_flow_node_uses_the_defaults_of_its_flow(tmp_path: Path, inner: Path) -> None:
    outer = dag(tmp_path / "outer", "x: {type: string}", "${sub.output.o}", subflow("../inner", "unused: 1"))

    assert output(run(outer, {"x": ""})) == 10


def test_the_error_of_a_sub_flow_is_the_error_of_its_node(tmp_path: Path, inner: Path) -> None:
    outer = dag(tmp_path / "outer", "x: {type: string}", "${sub.output.o}", subflow("../inner", "n: ${inputs.x}"))
    line = run(outer, {"x": "many"})

    assert line.status is Status.FAILED
    assert line.error is not None
    assert line.error["innerError"]["innerError"]["innerError"]["code"] == "InputTypeError"


@pytest.mark.parametrize("path", ["../missing", "."])
def test_a_flow_that_is_missing_or_contains_itself_is_refused(tmp_path: Path, path: str) -> None:
    outer = dag(tmp_path / "outer", "x: {type: string}", "${sub.output.o}", subflow(path, "x: ${inputs.x}"))
    with pytest.raises(ResolveToolError, match="sub"):
        run(outer, {"x": "1"})


def test_a_flow_node_runs_flex_flows_and_is_mapped(tmp_path: Path) -> None:
    write(tmp_path / "flex", flow__flex__yaml="entry: hello_sub:hello\n")
    (tmp_path / "flex" / "hello_sub.py").write_text("def hello(name: str) -> str:\n    return 'hi ' + name\n")
    node = subflow("../flex", "name: ${item}", for_each="${inputs.names}")
    outer = dag(tmp_path / "outer", "names: {type: list}", "${sub.output}", node)

    assert output(run(outer, {"names": ["Ann", "Bob"]})) == ["hi Ann", "hi Bob"]


@pytest.mark.parametrize("kind", ["flow", "llm", "prompty"])
def test_a_prompty_is_a_node(tmp_path: Path, kind: str) -> None:
    model = FakeModel(default="an answer")
    settings = {
        "model": {
            "configuration": {"type": "openai", "model": "m", "api_key": "k", "base_url": f"fake:{model.name}"},
            "parameters": {},
        },
        "inputs": {"q": {"type": "string"}},
    }
    (tmp_path / "ask.prompty").write_text(f"---\n{json.dumps(settings)}\n---\nuser:\n{{{{q}}}}\n")
    text, _ = subflow("ask.prompty", "q: ${inputs.q}")
    flow = dag(tmp_path, "q: {type: string}", "${sub.output}", (text.replace("type: flow", f"type: {kind}"), {}))
    line = run(flow, {"q": "why?"})

    assert output(line) == "an answer"
    assert model.calls[0].prompt == "why?"
    assert line.usage.calls == 1


@pytest.mark.parametrize(("limit", "rounds", "expected"), [(100, 10, 160), (100, 2, 20), (1, 10, 10)])
def test_a_flow_repeats_until_its_condition_holds(tmp_path: Path, limit: int, rounds: int, expected: int) -> None:
    check = python("check", f"def check(n: int):\n    return n >= {limit}", "n: ${double.output}")
    inner = dag(tmp_path / "inner", "n: {type: int}", "${double.output}", DOUBLE, check)
    text = (inner / "flow.dag.yaml").read_text()
    text = text.replace("nodes:", "  done: {type: bool, reference: '${check.output}'}\nnodes:")
    (inner / "flow.dag.yaml").write_text(text)
    repeat = f'{{until: "${{outputs.done}}", max: {rounds}, carry: {{n: "${{outputs.o}}"}}}}'
    node = subflow("../inner", "n: ${inputs.n}", repeat=repeat)
    outer = dag(tmp_path / "outer", "n: {type: int}", "${sub.output.o}", node)

    assert output(run(outer, {"n": 5})) == expected


# --- cache -----------------------------------------------------------------------------------------------------------

COUNTED = """def count(x: str):
    import pathlib, helper
    log = pathlib.Path(__file__).with_name("calls.txt")
    log.write_text((log.read_text() if log.exists() else "") + x)
    return {"x": x, "helper": helper.VALUE}"""


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    node = python("count", COUNTED, "x: ${inputs.x}", enable_cache="true")
    flow = dag(tmp_path, "x: {type: string}", "${count.output}", node)
    (flow / "helper.py").write_text("VALUE = 1\n")
    return flow


def test_the_same_inputs_are_answered_from_the_cache(counted: Path) -> None:
    first, again, other = (run(counted, {"x": x}) for x in ("a", "a", "b"))

    assert output(again) == output(first)
    assert (counted / "calls.txt").read_text() == "ab"
    assert [line.nodes[0].is_cached for line in (first, again, other)] == [False, True, False]


@pytest.mark.parametrize("file", ["count.py", "helper.py"])
def test_changed_code_is_a_different_entry(counted: Path, file: str) -> None:
    run(counted, {"x": "a"})
    path = counted / file
    path.write_text(path.read_text() + "\n# changed\n")
    run(counted, {"x": "a"})

    assert (counted / "calls.txt").read_text() == "aa"


def test_nodes_without_the_key_are_never_cached(counted: Path) -> None:
    text = (counted / "flow.dag.yaml").read_text()
    (counted / "flow.dag.yaml").write_text(text.replace("enable_cache: true", "enable_cache: false"))
    run(counted, {"x": "a"})
    run(counted, {"x": "a"})

    assert (counted / "calls.txt").read_text() == "aa"
    assert list(NodeCache().entries()) == []


def test_the_cache_is_listed_and_cleared(counted: Path) -> None:
    run(counted, {"x": "a"})
    run(counted, {"x": "b"})

    assert [entry.node for entry in NodeCache().entries()] == ["count", "count"]
    assert NodeCache().clear("other") == 0
    assert NodeCache().clear("count") == 2
    assert list(NodeCache().entries()) == []


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, float("nan"), {1, 2}])
def test_outputs_that_would_read_back_differently_are_not_kept(tmp_path: Path, value: Any) -> None:
    cache = NodeCache(tmp_path / "cache")

    assert not cache.put("ab12", value, node="n", tool="t")
    assert cache.put("ab12", {"a": [1, 2.5, None, "x"]}, node="n", tool="t")
    assert cache.get("ab12") == {"a": [1, 2.5, None, "x"]}


def test_mapped_elements_are_cached_one_by_one(tmp_path: Path) -> None:
    node = python("count", COUNTED, "x: ${item}", enable_cache="true", for_each="${inputs.xs}", concurrency=1)
    flow = dag(tmp_path, "xs: {type: list}", "${count.output}", node)
    (flow / "helper.py").write_text("VALUE = 1\n")
    run(flow, {"xs": ["a", "b"]})
    line = run(flow, {"xs": ["a", "b", "c"]})

    assert (flow / "calls.txt").read_text() == "abc"
    assert not line.nodes[0].is_cached


def test_a_changed_prompt_makes_only_the_calls_of_its_node_and_those_after_it(tmp_path: Path) -> None:
    model = FakeModel(default=lambda call: f"<{call.prompt}>")
    nodes = ["first", "second", "third"]
    sources = {"first": "${inputs.x}", "second": "${first.output}", "third": "${inputs.x}"}
    text = "inputs:\n  x: {type: string}\noutputs:\n  o: {type: string, reference: '${second.output}'}\nnodes:\n"
    for name in nodes:
        (tmp_path / f"{name}.jinja2").write_text(f"user:\n{name} {{{{x}}}}")
        text += (
            f"- name: {name}\n  type: llm\n  source: {{type: code, path: {name}.jinja2}}\n  connection: c\n"
            f"  api: chat\n  enable_cache: true\n  inputs:\n    model: m\n    x: {sources[name]}\n"
        )
    (tmp_path / "flow.dag.yaml").write_text(text)
    connections = DictConnectionSource([model.connection("c")])

    def run_rows() -> dict[str, int]:
        model.calls.clear()
        executor = create_executor(load_flow(tmp_path), connections)
        for row in range(1000):
            assert executor.run_line({"x": f"row {row}"}).status is Status.COMPLETED
        return {name: sum(call.prompt.startswith(name) for call in model.calls) for name in nodes}

    assert run_rows() == {"first": 1000, "second": 1000, "third": 1000}
    assert run_rows() == {"first": 0, "second": 0, "third": 0}
    (tmp_path / "first.jinja2").write_text("user:\nfirst, changed: {{x}}")
    assert run_rows() == {"first": 1000, "second": 1000, "third": 0}
    (tmp_path / "third.jinja2").write_text("user:\nthird, changed: {{x}}")
    assert run_rows() == {"first": 0, "second": 0, "third": 1000}


def test_an_output_that_cannot_be_cached_is_still_an_output(tmp_path: Path) -> None:
    flow = dag(
        tmp_path / "f",
        "x: {type: string}",
        "${a.output}",
        python("a", "def a(x):\n    return x", "x: ${inputs.x}", cache="true"),
    )
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "cache").write_text("no folder can be made here")

    assert output(run(flow, {"x": "1"})) == "1"
