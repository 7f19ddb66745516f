from pathlib import Path

import pytest

from promptflow_lite.errors import (
    DuplicateNodeName,
    EmptyOutputReference,
    FlowSyntaxError,
    InputReferenceNotFound,
    InvalidFlowError,
    InvalidNodeReference,
    NodeCircularDependency,
    NodeReferenceNotFound,
    OutputReferenceNotFound,
    UserErrorException,
    ValidationException,
)
from promptflow_lite.flow import DagFlow, FlexFlow, PromptyFlow, Reference, chat_roles, load_flow


def write(folder: Path, text: str, name: str = "flow.dag.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


CHAT = """\
inputs:
  question: {type: string, is_chat_input: true}
  chat_history: {type: list, default: []}
outputs:
  answer:
    type: string
    reference: ${chat.output}
    is_chat_output: true
nodes:
- name: late
  type: python
  source: {type: code, path: a.py}
  inputs:
    x: ${chat.output.a['b'][0]}
    n: 010
    t: 12:30:45
  activate: {when: "${inputs.question}", is: yes}
- name: chat
  type: llm
  source: {type: code, path: chat.jinja2}
  inputs:
    temperature: "0.7"
    question: ${inputs.question}
  connection: open_ai_connection
  api: chat
"""


def test_dag_flow_is_read_with_yaml_1_2_and_sorted(tmp_path):
    write(tmp_path, CHAT)

    flow = load_flow(tmp_path)

    assert isinstance(flow, DagFlow)
    assert [node.name for node in flow.nodes] == ["chat", "late"]
    late = flow.nodes[1]
    assert late.inputs["n"] == 10
    assert late.inputs["t"] == "12:30:45"
    assert late.activate is not None
    assert late.activate.equals == "yes"
    assert late.inputs["x"].path == (("name", "a"), ("key", "b"), ("index", 0))
    assert chat_roles(flow).is_chat


TOPOLOGY = [
    ("- {name: a, type: python}\n- {name: a, type: python}", DuplicateNodeName),
    ("- {name: a, type: python, inputs: {x: '${inputs.nope}'}}", InputReferenceNotFound),
    ("- {name: a, type: python, inputs: {x: '${nope}'}}", NodeReferenceNotFound),
    ("- {name: a, type: python, activate: {when: '${nope}', is: 1}}", NodeReferenceNotFound),
    ("- {name: a, type: python, inputs: {x: '${a}'}}", NodeCircularDependency),
    (
        "- {name: g, type: python, aggregation: true}\n- {name: a, type: python, inputs: {x: '${g}'}}",
        InvalidNodeReference,
    ),
    (
        "- {name: a, type: python}\n- {name: g, type: python, reduce: true, activate: {when: '${a.output}', is: 1}}",
        InvalidNodeReference,
    ),
]


@pytest.mark.parametrize(("nodes", "expected"), TOPOLOGY)
def test_broken_topology_is_refused(tmp_path, nodes, expected):
    write(tmp_path, f"inputs: []\noutputs: []\nnodes:\n{nodes}\n")

    with pytest.raises(expected) as caught:
        load_flow(tmp_path)

    assert caught.value.where is not None
    assert caught.value.where.line >= 3
    assert caught.value.error_codes[:3] == ["UserError", "ValidationError", "InvalidFlowRequest"]


def test_cycle_names_the_loop(tmp_path):
    write(
        tmp_path,
        "nodes:\n"
        "- {name: a, type: python, inputs: {x: '${c}'}}\n"
        "- {name: b, type: python, inputs: {x: '${a}'}}\n"
        "- {name: c, type: python, inputs: {x: '${b}'}}\n",
    )

    with pytest.raises(NodeCircularDependency, match="a -> b -> c -> a") as caught:
        load_flow(tmp_path)

    assert caught.value.facts["nodes"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ("{o: {type: string}}", EmptyOutputReference),
        ("{o: {type: string, reference: ''}}", EmptyOutputReference),
        ("{o: {type: string, reference: '${nope.output}'}}", OutputReferenceNotFound),
        ("{o: {type: string, reference: '${inputs.nope}'}}", OutputReferenceNotFound),
    ],
)
def test_bad_output_is_refused(tmp_path, outputs, expected):
    write(tmp_path, f"outputs: {outputs}\nnodes: []\n")

    with pytest.raises(expected):
        load_flow(tmp_path)


def test_output_of_an_aggregation_node_is_dropped_with_a_warning(tmp_path):
    write(
        tmp_path,
        "outputs:\n  o: {type: string, reference: '${g.output}'}\n  lit: {type: string, reference: text}\n"
        "nodes:\n- {name: g, type: python, aggregation: true}\n",
    )

    flow = load_flow(tmp_path)

    assert list(flow.outputs) == ["lit"]
    assert flow.outputs["lit"].literal == "text"
    assert "o" in flow.warnings[0]


VARIANTS = """\
nodes:
- name: s
  use_variants: true
  aggregation: true
- name: p
  type: python
node_variants:
  s:
    default_variant_id: v0
    variants:
      v0: {node: {type: llm, inputs: {t: 0}}}
      v1: {node: {type: llm, inputs: {t: 1}}}
  p:
    default_variant_id: v9
    variants:
      v9: {node: {type: prompt}}
"""


def test_default_variant_replaces_the_whole_body(tmp_path):
    write(tmp_path, VARIANTS)

    flow = load_flow(tmp_path)

    assert flow.node("s").inputs == {"t": 0}
    assert flow.node("s").aggregation is False
    assert flow.node("p").type == "python"


@pytest.mark.parametrize(("variant", "node", "kind"), [("${s.v1}", "s", "llm"), ("${p.v9}", "p", "prompt")])
def test_selected_variant_is_used(tmp_path, variant, node, kind):
    write(tmp_path, VARIANTS)

    assert load_flow(tmp_path, variant=variant).node(node).type == kind


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("s.v1", UserErrorException), ("${x.v1}", InvalidFlowError), ("${s.v7}", InvalidFlowError)],
)
def test_bad_variant_selection_is_refused(tmp_path, variant, expected):
    write(tmp_path, VARIANTS)

    with pytest.raises(expected):
        load_flow(tmp_path, variant=variant)


def test_environment_variables_become_texts(tmp_path):
    write(tmp_path, "nodes: []\nenvironment_variables: {A: 1, B: {c: [1]}, D: true}\n")

    assert load_flow(tmp_path).environment_variables == {"A": "1", "B": '{"c": [1]}', "D": "True"}


def test_kinds_are_recognised(tmp_path):
    write(tmp_path, "entry: mod:func\nnaem: x\n", "f.yaml")
    write(
        tmp_path,
        "---\nmodel: {configuration: {type: openai}, parameters: {}}\n---\nuser:\nhi\n---\nrest\n",
        "p.prompty",
    )

    flex = load_flow(tmp_path / "f.yaml")
    prompty = load_flow(tmp_path / "p.prompty")
    entry = load_flow("mod:func", code=tmp_path)

    assert isinstance(flex, FlexFlow)
    assert "naem" in flex.warnings[0]
    assert isinstance(prompty, PromptyFlow)
    assert prompty.template == "user:\nhi\n---\nrest\n"
    assert prompty.template_line == 4
    assert isinstance(entry, FlexFlow)
    assert entry.root == tmp_path


def test_folder_must_hold_exactly_one_flow(tmp_path):
    with pytest.raises(UserErrorException):
        load_flow(tmp_path)

    write(tmp_path, "nodes: []\n")
    write(tmp_path, "entry: a:b\n", "flow.flex.yaml")
    with pytest.raises(ValidationException, match="Multiple files"):
        load_flow(tmp_path)

    with pytest.raises(UserErrorException, match="does not exist"):
        load_flow(tmp_path / "missing")


def test_inline_reference_needs_quotes(tmp_path):
    write(tmp_path, "nodes:\n- {name: a, type: python, inputs: {x: ${inputs.a}}}\n")

    with pytest.raises(FlowSyntaxError) as caught:
        load_flow(tmp_path)

    assert "quotes" in caught.value.hint
    assert caught.value.where.line == 2


def test_reference_keeps_its_text(tmp_path):
    write(
        tmp_path,
        "inputs: {a: {type: string}}\nnodes:\n- name: n\n  type: python\n"
        "  inputs: {x: '${flow.a}', y: 'b ${inputs.a}'}\n",
    )

    inputs = load_flow(tmp_path).node("n").inputs

    assert inputs == {"x": Reference(kind="input", name="a", text="${flow.a}"), "y": "b ${inputs.a}"}
