"""Edits of the canvas and the cells, as pure functions."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import parse_yaml
from promptflow_lite.flow.splice import replace_value
from promptflow_lite.sdk.resources import bundled
from promptflow_lite.sdk.studio.edits import Project, apply, parse_value, value_text

FLOW = """\
# A flow written by hand.
inputs:
  url: {type: string, default: "https://example.org"}   # where to look

outputs:
  answer:
    type: string
    reference: ${last.output}
nodes:
  - name: fetch
    type: python
    source: {type: code, path: fetch.py}
    inputs:
      url: ${inputs.url}
      retries: 3      # enough
  - name: last
    type: llm
    source:
      type: code
      path: last.jinja2
    inputs:
      temperature: 0.70
      page: '${fetch.output}'
    api: chat
"""


def project() -> Project:
    return Project(FLOW, {"fetch.py": "def fetch(): ...\n", "last.jinja2": "{{ page }}\n"})


def after(*ops: dict[str, Any], shown: dict[str, str] | None = None) -> Project:
    current = project()
    for op in ops:
        current = apply(current, op, shown)
    return current


def data(current: Project) -> Any:
    return parse_yaml(current.yaml).value


def changed_lines(text: str) -> list[str]:
    diff = difflib.unified_diff(FLOW.splitlines(), text.splitlines(), lineterm="", n=0)
    return [line for line in diff if not line.startswith(("---", "+++", "@@"))]


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (
            {"op": "set_input", "node": "fetch", "input": "retries", "value": "5"},
            ["-      retries: 3      # enough", "+      retries: 5      # enough"],
        ),
        (
            {"op": "set_input", "node": "last", "input": "page", "value": "${inputs.url}"},
            ["-      page: '${fetch.output}'", "+      page: '${inputs.url}'"],
        ),
        ({"op": "set_connection", "node": "last", "connection": "azure"}, ["+    connection: azure"]),
        (
            {"op": "set_output", "output": "answer", "value": "${fetch.output}"},
            ["-    reference: ${last.output}", "+    reference: ${fetch.output}"],
        ),
        ({"op": "disconnect", "source": "fetch", "target": "last"}, ["-      page: '${fetch.output}'"]),
        ({"op": "toggle", "node": "last", "key": "enable_cache"}, ["+    enable_cache: true"]),
        ({"op": "toggle", "node": "last", "key": "aggregation"}, ["+    aggregation: true"]),
        (
            {"op": "set_activate", "node": "last", "when": "${fetch.output.kind}", "operator": "is", "value": "page"},
            ["+    activate:", "+      when: ${fetch.output.kind}", "+      is: page"],
        ),
        (
            {"op": "set_activate", "node": "last", "when": "${inputs.url}", "operator": "in", "value": "a, 2"},
            ["+    activate:", "+      when: ${inputs.url}", "+      in:", "+        - a", "+        - 2"],
        ),
        ({"op": "set_activate", "node": "last", "when": ""}, []),
        (
            {"op": "set_field", "node": "last", "key": "for_each", "value": "${fetch.output}"},
            ["+    for_each: ${fetch.output}"],
        ),
        ({"op": "set_field", "node": "last", "key": "concurrency", "value": "4"}, ["+    concurrency: 4"]),
        ({"op": "set_field", "node": "last", "key": "for_each", "value": ""}, []),
    ],
)
def test_an_edit_changes_its_lines_and_no_others(op: dict[str, Any], expected: list[str]) -> None:
    assert changed_lines(after(op).yaml) == expected


def test_a_long_session_leaves_what_it_did_not_touch() -> None:
    edited = after(
        {"op": "add", "kind": "prompt", "after": "fetch"},
        {"op": "connect", "source": "fetch", "target": "new_prompt"},
        {"op": "rename", "node": "new_prompt", "name": "shape"},
        {"op": "connect", "source": "shape", "target": "last", "input": "page"},
        {"op": "add_variant", "node": "shape"},
        {"op": "set_flow_input", "input": "language", "key": "type", "value": "string"},
        {"op": "delete", "nodes": ["shape"]},
        {"op": "remove_flow_input", "input": "language"},
        {"op": "connect", "source": "fetch", "target": "last", "input": "page"},
    )

    kept = [line for line in edited.yaml.splitlines() if line in FLOW.splitlines()]
    assert [line for line in FLOW.splitlines() if line not in kept] == ["      page: '${fetch.output}'"]
    assert data(edited) == parse_yaml(FLOW).value


@pytest.mark.parametrize("flow", sorted(path.name for path in bundled("flows").iterdir() if path.is_dir()))
def test_writing_without_a_change_gives_the_same_text(flow: str) -> None:
    text = (bundled("flows") / flow / "flow.dag.yaml").read_text(encoding="utf-8")

    assert replace_value(text, parse_yaml(text).value) == text


def test_renaming_a_node_rewrites_what_reads_it() -> None:
    edited = data(after({"op": "rename", "node": "fetch", "name": "get"}))

    assert edited["nodes"][0]["name"] == "get"
    assert edited["nodes"][1]["inputs"]["page"] == "${get.output}"


def test_renaming_a_flow_input_rewrites_what_reads_it() -> None:
    edited = data(after({"op": "rename_flow_input", "input": "url", "name": "address"}))

    assert list(edited["inputs"]) == ["address"]
    assert edited["nodes"][0]["inputs"]["url"] == "${inputs.address}"


def test_deleting_a_node_clears_inputs_and_outputs_that_read_it() -> None:
    assert "page" not in data(after({"op": "delete", "nodes": ["fetch"]}))["nodes"][0]["inputs"]
    assert data(after({"op": "delete", "nodes": ["last"]}))["outputs"] == {}


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        ({"op": "connect", "source": "last", "target": "fetch"}, "cycle"),
        ({"op": "connect", "source": "nobody", "target": "last"}, "no node"),
        ({"op": "rename", "node": "fetch", "name": "last"}, "already"),
        ({"op": "rename", "node": "fetch", "name": "a.b"}, "not a valid node name"),
        ({"op": "rename", "node": "fetch", "name": "inputs"}, "usable"),
        ({"op": "set_input", "node": "gone", "input": "a", "value": "b"}, "no node"),
        ({"op": "remove_variant", "node": "last", "variant": "v"}, "last variant"),
        ({"op": "set_flow_input", "input": "a b", "key": "type", "value": "string"}, "not a valid input name"),
        ({"op": "add", "kind": "tool", "tool": "no.such.tool"}, "not found"),
        ({"op": "add", "kind": "for_each"}, "no list"),
        ({"op": "set_field", "node": "last", "key": "name", "value": "x"}, "cannot be set"),
        ({"op": "set_activate", "node": "last", "when": "${inputs.url}", "operator": "like"}, "unknown"),
        ({"op": "format_disk"}, "no edit"),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(op: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserErrorException, match=reason):
        apply(project(), op)


def test_a_package_tool_is_added_by_its_id() -> None:
    edited = data(after({"op": "add", "kind": "tool", "tool": "promptflow.tools.serpapi.SerpAPI.search"}))

    assert edited["nodes"][-1] == {
        "name": "search",
        "type": "python",
        "source": {"type": "package", "tool": "promptflow.tools.serpapi.SerpAPI.search"},
        "inputs": {},
    }


def test_a_package_tool_with_a_prompt_brings_its_first_prompt() -> None:
    edited = after({"op": "add", "kind": "tool", "tool": "promptflow.tools.llm_vision.llm_vision"})
    node = data(edited)["nodes"][-1]

    assert (node["type"], node["source"]["type"]) == ("custom_llm", "package_with_prompt")
    assert "image_input" in edited.sources[node["source"]["path"]]


@pytest.mark.parametrize(
    ("path", "name", "kind"), [("../other-flow", "other_flow", "flow"), ("ask.prompty", "ask", "prompty")]
)
def test_a_sub_flow_is_a_node(path: str, name: str, kind: str) -> None:
    node = data(after({"op": "add", "kind": "flow", "path": path, "after": "fetch"}))["nodes"][1]

    assert (node["name"], node["type"], node["source"]["path"]) == (name, kind, path)


def test_a_mapping_node_goes_over_the_output_of_the_selected_node() -> None:
    edited = after({"op": "add", "kind": "for_each", "after": "fetch"})
    node = data(edited)["nodes"][1]

    assert (node["type"], node["for_each"], node["inputs"]) == ("python", "${fetch.output}", {"item": "${item}"})
    assert ("fetch", node["name"]) in edited.graph().edges()


def test_cutting_an_edge_clears_conditions_and_lists_as_well() -> None:
    edited = after(
        {"op": "set_activate", "node": "last", "when": "${fetch.output}", "value": "x"},
        {"op": "set_field", "node": "last", "key": "for_each", "value": "${fetch.output}"},
        {"op": "disconnect", "source": "fetch", "target": "last"},
    )

    assert {"activate", "for_each"}.isdisjoint(data(edited)["nodes"][1])
    assert ("fetch", "last") not in edited.graph().edges()


def test_an_output_keeps_what_else_it_declares() -> None:
    current = Project(FLOW.replace("    type: string\n    ref", "    type: object\n    is_chat_output: true\n    ref"))
    edited = data(apply(current, {"op": "set_output", "output": "answer", "value": "${fetch.output}"}))

    assert edited["outputs"]["answer"] == {"type": "object", "is_chat_output": True, "reference": "${fetch.output}"}


def test_an_edge_feeds_the_input_of_the_same_name_or_makes_one() -> None:
    edited = data(
        after(
            {"op": "add", "kind": "python", "name": "tidy"},
            {"op": "connect", "source": "inputs", "target": "tidy"},
            {"op": "connect", "source": "fetch", "target": "tidy"},
            {"op": "connect", "source": "tidy", "target": "outputs"},
        )
    )

    assert edited["nodes"][-1]["inputs"] == {"url": "${inputs.url}", "fetch": "${fetch.output}"}
    assert edited["outputs"]["tidy"]["reference"] == "${tidy.output}"


def test_a_template_variable_is_bound_to_the_node_or_input_of_its_name() -> None:
    op = {
        "op": "set_text",
        "node": "last",
        "path": "last.jinja2",
        "text": "{{ page }} {{ url }} {{ last }} {{ other }}",
    }

    inputs = data(after(op))["nodes"][1]["inputs"]

    assert inputs["url"] == "${inputs.url}"
    assert "other" not in inputs
    assert "last" not in inputs, "a node cannot read itself"


def test_the_first_variant_moves_the_node_and_copies_its_source() -> None:
    edited = after({"op": "add_variant", "node": "last"})
    group = data(edited)["node_variants"]["last"]

    assert data(edited)["nodes"][1] == {"name": "last", "use_variants": True}
    assert group["default_variant_id"] == "variant_0"
    assert group["variants"]["variant_0"]["node"]["inputs"] == group["variants"]["variant_1"]["node"]["inputs"]
    assert edited.sources["last__variant_1.jinja2"] == edited.sources["last.jinja2"]


def test_edits_reach_the_variant_that_is_shown() -> None:
    current = after({"op": "add_variant", "node": "last"})
    op = {"op": "set_input", "node": "last", "input": "temperature", "value": "1"}

    variants = data(apply(current, op, {"last": "variant_1"}))["node_variants"]["last"]["variants"]

    assert variants["variant_1"]["node"]["inputs"]["temperature"] == 1
    assert variants["variant_0"]["node"]["inputs"]["temperature"] == 0.7


def test_removing_the_default_variant_names_another() -> None:
    current = after({"op": "add_variant", "node": "last"})

    group = data(apply(current, {"op": "remove_variant", "node": "last", "variant": "variant_0"}))["node_variants"][
        "last"
    ]

    assert group["default_variant_id"] == "variant_1"
    assert list(group["variants"]) == ["variant_1"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("yes", "yes"),
        ("[1, 2]", [1, 2]),
        ('"3"', "3"),
        ("${a.output}", "${a.output}"),
        ("- a", "- a"),
        ("", ""),
        ("1.2.3", "1.2.3"),
        ("{a", "{a"),
        ("+49 123", "+49 123"),
    ],
)
def test_a_field_means_what_it_looks_like(text: str, value: Any) -> None:
    assert parse_value(text) == value


JSON_VALUES = st.recursive(
    st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(JSON_VALUES)
@settings(max_examples=150, deadline=None)
def test_a_value_survives_its_field(value: Any) -> None:
    assert parse_value(value_text(value)) == value


OPS = st.one_of(
    st.builds(lambda k: {"op": "add", "kind": k}, st.sampled_from(["llm", "prompt", "python"])),
    st.builds(
        lambda s, t: {"op": "connect", "source": s, "target": t},
        st.sampled_from(["inputs", "fetch", "last", "new_llm", "new_python"]),
        st.sampled_from(["fetch", "last", "new_llm", "new_python", "outputs"]),
    ),
    st.builds(
        lambda n, w: {"op": "set_activate", "node": n, "when": w, "value": "1"},
        st.sampled_from(["fetch", "last", "new_llm"]),
        st.sampled_from(["", "${inputs.url}", "${last.output}"]),
    ),
    st.builds(lambda n: {"op": "add_variant", "node": n}, st.sampled_from(["fetch", "last", "new_llm"])),
    st.builds(lambda n: {"op": "delete", "nodes": [n]}, st.sampled_from(["fetch", "last", "new_llm"])),
    st.builds(
        lambda n, m: {"op": "rename", "node": n, "name": m}, st.sampled_from(["fetch", "last"]), st.just("renamed")
    ),
    st.builds(lambda v: {"op": "set_input", "node": "last", "input": "x", "value": v}, st.text(max_size=12)),
)


@given(st.lists(OPS, max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_session_leaves_a_file_that_can_be_read(ops: list[dict[str, Any]]) -> None:
    current = project()
    for op in ops:
        try:
            current = apply(current, op)
        except UserErrorException:
            continue

    graph = current.graph()
    assert all(name not in graph.ancestors(other) or other not in graph.ancestors(name)
               for name in graph.nodes for other in graph.nodes if name != other)  # fmt: skip


def test_a_variant_is_duplicated_with_its_own_source() -> None:
    current = after({"op": "add_variant", "node": "last"})
    current = apply(
        current, {"op": "set_input", "node": "last", "input": "temperature", "value": "1"}, {"last": "variant_1"}
    )

    edited = apply(current, {"op": "add_variant", "node": "last", "copy_of": "variant_1"})
    variants = data(edited)["node_variants"]["last"]["variants"]

    assert variants["variant_2"]["node"]["inputs"]["temperature"] == 1
    assert variants["variant_2"]["node"]["source"]["path"] == "last__variant_2.jinja2"


def test_renaming_a_file_reaches_the_variants_that_use_it() -> None:
    current = after(
        {"op": "add_variant", "node": "last"}, {"op": "rename_file", "path": "last.jinja2", "name": "a/ask.jinja2"}
    )
    variants = data(current)["node_variants"]["last"]["variants"]

    assert variants["variant_0"]["node"]["source"]["path"] == "a/ask.jinja2"
    assert variants["variant_1"]["node"]["source"]["path"] == "last__variant_1.jinja2"
    assert "last.jinja2" not in current.sources
