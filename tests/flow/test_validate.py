from dataclasses import dataclass, field

import pytest

from promptflow_lite.flow import validate_flow

TOOL = "from promptflow.core import tool\n\n@tool\ndef run(a: str, n: int = 2):\n    return a\n"
FLOW = """\
inputs:
  a: {type: string}
outputs:
  o: {type: string, reference: "${n1.output}"}
nodes:
- name: n1
  type: python
  source: {type: code, path: n1.py}
  inputs:
    a: ${inputs.a}
"""


@dataclass(frozen=True)
class Case:
    id: str
    expected: list[tuple[str, str]]
    """Code and `line:column` of each problem."""
    flow: str = FLOW
    files: dict[str, str] = field(default_factory=lambda: {"n1.py": TOOL})


LLM = """\
inputs:
  q: {type: string}
nodes:
- name: ask
  type: llm
  source: {type: code, path: ask.jinja2}
  api: chat
  inputs:
    q: ${inputs.q}
    temperature: warm
"""

VARIANT = "nodes:\n- name: s\n  use_variants: true\n"
CHAT = "inputs:\n  a: {type: string, is_chat_input: true}\n"

CASES = [
    Case("input is a text", [("flow.not_a_mapping", "2:6")], flow="inputs:\n  a: text\nnodes: []\n"),
    Case("node is a text", [("flow.not_a_mapping", "2:3")], flow="nodes:\n- text\n"),
    Case("node without a name", [("flow.missing_name", "2:3")], flow="nodes:\n- {type: prompt}\n"),
    Case("unknown language", [("flow.unknown_language", "11:11")], flow=FLOW + "language: cobol\n"),
    Case(
        "package without a tool",
        [("flow.missing_source", "3:11")],
        flow="nodes:\n- name: n\n  source: {type: package}\n  type: python\n",
    ),
    Case(
        "package tools are not judged",
        [],
        flow="nodes:\n- {name: n, type: python, source: {type: package, tool: a.b}}\n",
    ),
    Case(
        "source without a path",
        [("flow.missing_source", "2:35")],
        flow="nodes:\n- {name: n, type: python, source: {type: code}}\n",
    ),
    Case("variants are missing", [("flow.invalid_variant", "1:1")], flow=VARIANT),
    Case(
        "no default variant", [("flow.invalid_variant", "5:6")], flow=VARIANT + "node_variants:\n  s: {variants: {}}\n"
    ),
    Case(
        "variant without a node",
        [("flow.invalid_variant", "7:15"), ("flow.variant", "7:19")],
        flow=VARIANT + "node_variants:\n  s:\n    default_variant_id: v\n    variants: {v: {}}\n",
    ),
    Case(
        "loop in another variant",
        [("flow.node_circular_dependency", "9:17"), ("flow.unused_input", "9:67")],
        flow=VARIANT
        + "node_variants:\n  s:\n    default_variant_id: v\n    variants:\n"
        + "      v: {node: {type: prompt, source: {path: p.jinja2}}}\n"
        + "      w: {node: {type: prompt, source: {path: p.jinja2}, inputs: {x: '${s.output}'}}}\n",
        files={"p.jinja2": "hi"},
    ),
    Case(
        "several chat inputs",
        [("flow.chat", "1:1")],
        flow=CHAT + "  b: {type: string, is_chat_input: true}\nnodes: []\n",
    ),
    Case("chat that is none", [("flow.chat", "3:1")], flow=CHAT + "type: chat\nnodes: []\n"),
    Case(
        "included file",
        [],
        flow=FLOW.replace("n1.py", "shared/n1.py") + "additional_includes: [lib/shared]\n",
        files={"lib/shared/n1.py": TOOL},
    ),
    Case(
        "reference to the constructor",
        [("flow.input_type_mismatch", "10:8")],
        files={
            "n1.py": "from promptflow import ToolProvider, tool\nclass C(ToolProvider):\n"
            "    def __init__(self, a: str): ...\n    @tool\n    def run(self): ...\n"
        },
    ),
    Case(
        "until is no output",
        [("flow.repeat", "4:19")],
        flow="nodes:\n- name: n\n  type: flow\n  repeat: {until: '${n.output}'}\n  tool: t\n",
    ),
    Case("a good flow", []),
    Case("unknown top key", [("flow.unknown_key", "1:1")], flow="inptus: {}\nnodes: []\n"),
    Case("unknown node key", [("flow.unknown_key", "11:3")], flow=FLOW + "  activte: {}\n"),
    Case("unknown input type", [("flow.unknown_type", "2:13")], flow=FLOW.replace("type: string}", "type: text}", 1)),
    Case("input without type", [("flow.missing_type", "2:6")], flow=FLOW.replace("{type: string}", "{default: x}", 1)),
    Case(
        "several problems at once",
        [
            ("flow.unknown_type", "2:13"),
            ("flow.output_reference_not_found", "4:32"),
            ("flow.input_reference_not_found", "10:8"),
        ],
        flow=FLOW.replace("type: string}", "type: text}", 1)
        .replace("n1.output", "nx.output")
        .replace("inputs.a", "inputs.b"),
    ),
    Case("missing file", [("flow.invalid_source", "8:30")], files={"n2.py": TOOL}),
    Case("no source", [("flow.missing_source", "6:3")], flow=FLOW.replace("  source: {type: code, path: n1.py}\n", "")),
    Case("python syntax error", [("flow.syntax", "n1.py:2:7")], files={"n1.py": "x = 1\ndef f(:\n"}),
    Case("no tool", [("tool.no_tool_defined", "n1.py:1")], files={"n1.py": "def f(): pass\n"}),
    Case("two tools", [("tool.multiple_tools_defined", "n1.py:7")], files={"n1.py": TOOL + "@tool\ndef b(): pass\n"}),
    Case("imported tools do not count", [], files={"n1.py": "from other import tool_b\n" + TOOL}),
    Case(
        "wrapped tool decorator is not judged", [], files={"n1.py": "from x import my_tool\n@my_tool\ndef f(): pass\n"}
    ),
    Case("unknown node input", [("flow.unknown_node_input", "11:8")], flow=FLOW + "    b: x\n"),
    Case("dropped literal", [], flow=FLOW + '    b: ""\n'),
    Case("literal of the wrong type", [("flow.node_input_validation", "11:8")], flow=FLOW + "    n: many\n"),
    Case("missing node input", [("flow.missing_required_inputs", "10:5")], flow=FLOW.replace("a: ${inputs.a}", "n: 3")),
    Case("unknown node type", [("flow.unknown_type", "7:9")], flow=FLOW.replace("type: python", "type: pyton")),
    Case("duplicate names", [("flow.duplicate_node_name", "11:3")], flow=FLOW + FLOW[FLOW.index("- name") :]),
    Case(
        "loop",
        [("flow.node_circular_dependency", "6:3")],
        flow=FLOW.replace("a: ${inputs.a}", "a: ${n1.output}"),
    ),
    Case("bad activate", [("flow.activate", "11:13")], flow=FLOW + "  activate: {when: x}\n"),
    Case(
        "activate needs a list",
        [("flow.activate", "11:50")],
        flow=FLOW
        + '  activate: {when: "${inputs.a}", in: notalist}\n'[:11]
        + ' {when: "${inputs.a}",            in: notalist}\n',
    ),
    Case("csharp", [("user.not_supported", "11:11")], flow=FLOW + "language: csharp\n"),
    Case("missing include", [("flow.include", "12:3")], flow=FLOW + "additional_includes:\n- ../nope.py\n"),
    Case("not a mapping", [("flow.not_a_mapping", "1:1")], flow="- a\n"),
    Case("empty file", [("flow.not_a_mapping", "1:1")], flow=""),
    Case("nodes is text", [("flow.not_a_list", "1:8")], flow="nodes: abc\n"),
    Case("no is no boolean", [("flow.not_a_boolean", "11:16")], flow=FLOW + "  aggregation: no\n"),
    Case("yes is taken as true", [("flow.not_a_boolean", "11:3")], flow=FLOW + "  enable_cache: yes\n"),
    Case(
        "dot in a name",
        [("flow.node_name", "11:4")],
        flow=FLOW + "- {name: a.b, type: prompt, source: {path: n1.py}}\n",
    ),
    Case("description is a list", [("flow.not_text", "11:1")], flow=FLOW + "description: [a]\n"),
    Case("environment is a text", [("flow.not_a_mapping", "11:1")], flow=FLOW + "environment: a\n"),
    Case("bad retry", [("flow.retry", "11:10")], flow=FLOW + "  retry: often\n"),
    Case("bad timeout", [("flow.not_a_number", "11:14")], flow=FLOW + "  timeout_s: -1\n"),
    Case("for_each is no reference", [("flow.for_each", "11:13")], flow=FLOW + "  for_each: [1, 2]\n"),
    Case("repeat on python", [("flow.repeat", "11:11")], flow=FLOW + "  repeat: {until: true}\n"),
    Case("yaml", [("flow.syntax", "3:1")], flow="a: 1\nb: 2\na: 3\n"),
    Case(
        "llm node",
        [("flow.template_variable", "8:3"), ("flow.node_input_validation", "10:18")],
        flow=LLM,
        files={"ask.jinja2": "user:\n{{q}} {{other}}\n"},
    ),
    Case(
        "template variable named like a parameter",
        [("flow.node_input_validation", "6:11"), ("flow.no_role", "6:24")],
        flow=LLM.replace("    temperature: warm\n", ""),
        files={"ask.jinja2": "{{q}} {{ user }}"},
    ),
    Case(
        "template syntax",
        [("flow.syntax", "ask.jinja2:2")],
        flow=LLM.replace("    temperature: warm\n", ""),
        files={"ask.jinja2": "user:\n{% if %}\n"},
    ),
    Case(
        "unused input",
        [("flow.unused_input", "9:5")],
        flow=LLM.replace("    temperature: warm\n", ""),
        files={"ask.jinja2": "user:\nhi\n"},
    ),
    Case(
        "variants",
        [("flow.unknown_node", "14:3"), ("flow.input_reference_not_found", "13:23")],
        flow="nodes:\n- name: s\n  use_variants: true\nnode_variants:\n  s:\n    default_variant_id: v0\n"
        "    variants:\n      v0: {node: {type: prompt, source: {path: p.jinja2}, inputs: {x: 1}}}\n"
        "      v1:\n        node:\n"
        '          type: prompt\n          source: {path: p.jinja2}\n          inputs: {x: "${inputs.a}"}\n  t: {}\n',
        files={"p.jinja2": "{{x}}"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_problems_have_codes_and_places(tmp_path, case):
    (tmp_path / "flow.dag.yaml").write_text(case.flow)
    for name, text in case.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    problems = validate_flow(tmp_path)

    found = [(p.code, str(p.where).removeprefix(f"{tmp_path}/").removeprefix("flow.dag.yaml:")) for p in problems]
    assert sorted(found) == sorted(case.expected)
    assert all(p.hint for p in problems if p.severity == "error" and p.code != "flow.syntax")


def test_hint_names_the_closest_name(tmp_path):
    (tmp_path / "flow.dag.yaml").write_text(FLOW.replace("inputs.a}", "inputs.aa}"))
    (tmp_path / "n1.py").write_text(TOOL)

    (problem,) = validate_flow(tmp_path)

    assert problem.hint == "Did you mean 'a'?"
    assert problem.yaml_path == "nodes.0.inputs.a"
    assert problem.value == "${inputs.aa}"


def test_loop_names_its_nodes(tmp_path):
    (tmp_path / "flow.dag.yaml").write_text(
        "nodes:\n- {name: a, type: python, inputs: {x: '${b}'}}\n- {name: b, type: python, inputs: {x: '${a}'}}\n"
    )

    messages = [problem.message for problem in validate_flow(tmp_path) if problem.code.endswith("circular_dependency")]

    assert messages == ["The nodes depend on each other in a loop: a -> b -> a."]


def test_no_code_of_the_flow_runs(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "flow.dag.yaml").write_text(FLOW)
    (tmp_path / "n1.py").write_text(f"open({str(marker)!r}, 'w')\n{TOOL}")

    assert validate_flow(tmp_path) == []
    assert not marker.exists()


FLEX = [
    ("good", "entry: mod:run\ninputs: {a: {type: string}}\n", []),
    ("missing module", "entry: modd:run\n", ["flow.entry"]),
    ("missing attribute", "entry: mod:rnu\n", ["flow.entry"]),
    ("bad form", "entry: mod.run\n", ["flow.invalid_flex_flow_entry"]),
    ("syntax error", "entry: broken:run\n", ["flow.syntax"]),
    ("unknown key", "entry: mod:run\nfoo: 1\n", ["flow.unknown_key"]),
    ("input the function does not take", "entry: mod:run\ninputs: {z: {type: string}}\n", ["flow.unused_input"]),
    ("bad sample", "entry: mod:run\nsample: {inputs: '${file:nope.json}'}\n", ["core.invalid_sample"]),
    ("unknown sample key", "entry: mod:run\nsample: {input: {}}\n", ["flow.unknown_key"]),
    ("sample from a file", "entry: mod:run\nsample: {inputs: '${file:sample.json}', init: {a: 1}}\n", []),
]


@pytest.mark.parametrize(("text", "codes"), [case[1:] for case in FLEX], ids=[case[0] for case in FLEX])
def test_flex_flow_is_checked_without_import(tmp_path, text, codes):
    (tmp_path / "flow.flex.yaml").write_text(text)
    (tmp_path / "mod.py").write_text("def run(a: str): return a\n")
    (tmp_path / "broken.py").write_text("def run(\n")
    (tmp_path / "sample.json").write_text('{"a": "x"}')

    assert [problem.code for problem in validate_flow(tmp_path)] == codes


PROMPTY = [
    ("good", "---\nmodel: {parameters: {}}\ninputs: {q: {type: string}}\n---\nuser:\n{{q}}\n", []),
    ("no role", "---\nmodel: {parameters: {}}\n---\nhi\n", ["flow.no_role"]),
    ("undeclared variable", "---\nmodel: {parameters: {}}\n---\nuser:\n{{q}}\n", ["flow.template_variable"]),
    ("template syntax", "---\nmodel: {parameters: {}}\n---\nuser:\n{{q\n", ["flow.syntax"]),
    ("no front matter", "user:\n", ["flow.syntax"]),
    ("no model", "---\nname: x\n---\nuser:\nhi\n", ["flow.prompty_model"]),
    ("bad sample", "---\nmodel: {parameters: {}}\nsample: 3\n---\nuser:\nhi\n", ["core.invalid_sample"]),
    ("unknown type", "---\nmodel: {}\ninputs: {q: {type: text}}\n---\nuser:\n{{q}}\n", ["flow.unknown_type"]),
    ("input as a value", "---\nmodel: {}\ninputs: {q: 3}\n---\nuser:\n{{q}}\n", []),
]


@pytest.mark.parametrize(("text", "codes"), [case[1:] for case in PROMPTY], ids=[case[0] for case in PROMPTY])
def test_prompty_is_checked(tmp_path, text, codes):
    path = tmp_path / "p.prompty"
    path.write_text(text)

    assert [problem.code for problem in validate_flow(path)] == codes


def test_run_file_is_checked(tmp_path):
    (tmp_path / "run.yaml").write_text("flow: .\ndata: nope.jsonl\ncolum_mapping: {}\n")

    codes = [problem.code for problem in validate_flow(tmp_path / "run.yaml")]

    assert codes == ["flow.missing_file", "flow.unknown_key"]


def test_run_file_without_flow_or_data_is_noticed(tmp_path):
    (tmp_path / "run.yaml").write_text("flow: nope\n")

    codes = [problem.code for problem in validate_flow(tmp_path / "run.yaml")]

    assert sorted(codes) == ["flow.missing_file", "flow.run_without_data"]


@pytest.mark.parametrize("name", ["missing", "flow.txt"])
def test_what_is_no_flow_is_one_problem(tmp_path, name):
    (tmp_path / "flow.txt").write_text("x")

    (problem,) = validate_flow(tmp_path / name)

    assert problem.code == "user.error"


def test_entry_of_the_current_folder_is_checked(tmp_path, monkeypatch):
    (tmp_path / "m.py").write_text("def f(): ...\n")
    monkeypatch.chdir(tmp_path)

    assert validate_flow("m:f") == []
    assert validate_flow("m:g")[0].code == "flow.entry"


def test_subflow_is_checked(tmp_path):
    sub = tmp_path / "sub"
    sub.mkdir()
    (sub / "flow.dag.yaml").write_text("inputs: {q: {type: string}}\nnodes: []\n")
    (tmp_path / "flow.dag.yaml").write_text(
        "nodes:\n- {name: a, type: flow, source: {path: sub}, inputs: {r: 1}}\n"
        "- {name: b, type: flow, source: {path: .}}\n- {name: c, type: flow, source: {path: nope}}\n"
    )

    codes = [problem.code for problem in validate_flow(tmp_path)]

    assert sorted(codes) == ["flow.missing_node_input", "flow.subflow_cycle", "flow.unknown_node_input", "user.error"]


def test_text_of_an_editor_is_checked_in_place_of_the_file(tmp_path):
    (tmp_path / "flow.dag.yaml").write_text("nodes: []\n")

    assert validate_flow(tmp_path / "flow.dag.yaml", text="nodes: {a: b}\n")[0].code == "flow.not_a_list"
    assert validate_flow(tmp_path / "flow.dag.yaml") == []


@pytest.mark.parametrize("kind", ["prompty", "llm", "flow"])
def test_prompty_as_a_node_is_checked(tmp_path, kind):
    (tmp_path / "ask.prompty").write_text(
        "---\nmodel: {parameters: {}}\ninputs: {q: {type: string}}\n---\nuser:\n{{q}}\n"
    )
    (tmp_path / "flow.dag.yaml").write_text(
        f"nodes:\n- {{name: a, type: {kind}, source: {{path: ask.prompty}}, inputs: {{q: hi}}}}\n"
        f"- {{name: b, type: {kind}, source: {{path: ask.prompty}}}}\n"
        f"- {{name: c, type: {kind}, source: {{path: aks.prompty}}}}\n"
    )

    problems = validate_flow(tmp_path)

    assert [(problem.code, problem.where.line) for problem in problems] == [
        ("flow.missing_node_input", 3),
        ("user.error", 4),
    ]
