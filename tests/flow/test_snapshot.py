import json

import pytest

from promptflow_lite.flow import describe_flow, load_flow, render_mermaid

FLOW = """\
description: A test
inputs:
  q: {type: string, default: hi, is_chat_input: true}
  items: {type: list}
outputs:
  a: {type: string, reference: "${ask.output.text}"}
nodes:
- name: split
  type: python
  source: {type: code, path: split.py}
  for_each: ${inputs.items}
  concurrency: 2
  inputs: {x: "${item.name}", q: "${inputs.q}"}
- name: ask
  use_variants: true
- name: score
  type: python
  aggregation: true
  source: {type: code, path: missing.py}
  inputs: {a: "${ask.output}"}
node_variants:
  ask:
    default_variant_id: v0
    variants:
      v0:
        node:
          type: llm
          source: {type: code, path: ask.jinja2}
          connection: c
          api: chat
          inputs: {text: "${split.output}"}
          activate: {when: "${inputs.q}", not: no}
      v1: {node: {type: prompt, source: {type: code, path: ask.jinja2}}}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "flow.dag.yaml").write_text(FLOW)
    (tmp_path / "split.py").write_text(
        "from promptflow.core import tool\nfrom promptflow.connections import OpenAIConnection\n"
        "import enum\nclass Mode(str, enum.Enum):\n    A = 'a'\n    B = 'b'\n"
        "@tool\ndef split(x: str, q='d', n: int = 2, mode: Mode = 'a', "
        "c: 'OpenAIConnection | None' = None, *, k: list[str]):\n"
        "    return x\n"
    )
    (tmp_path / "ask.jinja2").write_text("user:\n{{text}} ![image]({{pic}})\n")
    return tmp_path


def test_flow_is_described(folder):
    flow = describe_flow(folder)

    split, ask, score = flow.nodes
    assert flow.kind == "dag"
    assert flow.inputs["q"] == {"type": "string", "default": "hi", "is_chat_input": True}
    assert flow.outputs["a"] == {"type": "string", "reference": "${ask.output.text}"}
    assert split.options == {"for_each": "${inputs.items}", "concurrency": 2}
    assert split.inputs == {"x": "${item.name}", "q": "${inputs.q}"}
    assert (ask.variants, ask.default_variant) == (("v0", "v1"), "v0")
    assert ask.condition == "${inputs.q} not 'no'"
    assert score.is_aggregation
    assert flow.files == ("split.py", "ask.jinja2")
    assert json.loads(json.dumps(flow.to_dict()))["chat"]["input"] == "q"


def test_edges_carry_their_kind(folder):
    edges = {(e.source, e.target, e.kind, e.target_kind) for e in describe_flow(folder).edges}

    assert edges == {
        ("q", "split", "data", "node"),
        ("items", "split", "for_each", "node"),
        ("split", "ask", "data", "node"),
        ("q", "ask", "condition", "node"),
        ("ask", "score", "data", "node"),
        ("ask", "a", "data", "output"),
    }


def test_drawing_holds_every_node_and_edge(folder):
    drawing = render_mermaid(describe_flow(folder))

    assert drawing.startswith("flowchart TB\n")
    assert 'node_3[["ask<br/><small>llm</small>"]]' in drawing
    assert "input_0 -.-> node_3" in drawing
    assert drawing.count("-->") == 5


def test_names_cannot_break_a_drawing(tmp_path):
    (tmp_path / "flow.dag.yaml").write_text("nodes:\n- {name: 'a\"]; <script>', type: python}\n")

    assert '["a#quot;]; #lt;script#gt;<br/>' in render_mermaid(describe_flow(tmp_path))


def test_flex_and_prompty_are_described(tmp_path):
    (tmp_path / "m.py").write_text("raise SystemExit\n")
    (tmp_path / "f.yaml").write_text("entry: m:run\ninputs: {q: {type: string}}\n")
    (tmp_path / "p.prompty").write_text("---\nmodel: {parameters: {}}\n---\nuser:\nhi\n")

    flex, prompty = describe_flow(tmp_path / "f.yaml"), describe_flow(load_flow(tmp_path / "p.prompty"))

    assert (flex.kind, flex.entry, flex.files) == ("flex", "m:run", ("m.py",))
    assert "m:run" in render_mermaid(flex)
    assert (prompty.kind, prompty.template) == ("prompty", "user:\nhi\n")
