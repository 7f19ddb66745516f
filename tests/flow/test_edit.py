import dataclasses
import datetime as dt
import difflib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptflow_lite.errors import FileChangedError, FlowEditError, FlowSyntaxError, NodeCircularDependency
from promptflow_lite.flow import edit, parse_yaml
from promptflow_lite.flow.splice import is_same, replace_value

TEXT = (Path(__file__).parent / "hand_formatted.yaml").read_text(encoding="utf-8")

CASES = [
    (
        edit.SetNodeInput("chat", "temperature", 1.5),
        ['-inputs: {q: "${fetch.output}", temperature: 0.70, stop: [a,b ,c]}'],
        ['+inputs: {q: "${fetch.output}", temperature: 1.5, stop: [a,b ,c]}'],
    ),
    (edit.ClearNodeInput("fetch", "folded"), ["-folded: >-", "-a b", "-c", "-"], []),
    (edit.SetNodeInput("fetch", "text", "x\ny\n"), ["-line one", "-line two"], ["+x", "+y"]),
    (edit.SetNodeField("fetch", "source.path", "f2.py"), ["-path: fetch.py  # script"], ["+path: f2.py  # script"]),
    (edit.SetNodeField("chat", "connection", None), ["-connection: &conn open_ai"], []),
    (edit.SetNodeField("last", "aggregation", True), [], ["+aggregation: true"]),
    (edit.Connect("fetch", "last", "doc", ".text"), [], ["+doc: ${fetch.output.text}"]),
    (edit.Connect("inputs.n", "last", "n"), [], ["+n: ${inputs.n}"]),
    (edit.Disconnect("last", "url"), ["-inputs:", "-url: ${chat.output.text}"], ["+inputs: {}"]),
    (
        edit.SetActivate("last", "${inputs.n}", 3, "gt"),
        [],
        ["+activate:", "+when: ${inputs.n}", "+gt: 3"],
    ),
    (
        edit.RenameNode("fetch", "get_it"),
        ["--   name: fetch", '-inputs: {q: "${fetch.output}", temperature: 0.70, stop: [a,b ,c]}'],
        ["+-   name: get_it", '+inputs: {q: "${get_it.output}", temperature: 0.70, stop: [a,b ,c]}'],
    ),
    (
        edit.RenameInput("question", "q"),
        ["-question:   {type: string, is_chat_input: true}   # the question", "-url: ${inputs.question}"],
        ["+q:   {type: string, is_chat_input: true}   # the question", "+url: ${inputs.q}"],
    ),
    (edit.RenameOutput("answer", "a"), ["-answer: # what comes out"], ["+a: # what comes out"]),
    (edit.SetInput("n", {"type": "int", "default": 3}), ["-default: 010"], ["+default: 3"]),
    (edit.DeleteInput("n"), ["-# the number", "-n:", "-type: int", "-default: 010"], []),
    (edit.SetInput("k", {"type": "string"}), [], ["+k:", "+type: string"]),
    (
        edit.SetOutput("o", {"type": "string", "reference": "${fetch.output}"}),
        [],
        ["+o:", "+type: string", "+reference: ${fetch.output}"],
    ),
    (edit.SetFlowField("description", "yes: it is"), [], ["+description: 'yes: it is'"]),
    (
        edit.AddNode({"name": "new", "type": "prompt", "inputs": {"x": "${inputs.n}"}}, after="fetch"),
        [],
        ["+- name: new", "+type: prompt", "+inputs:", "+x: ${inputs.n}"],
    ),
    (
        edit.DeleteNode("last", clear_references=True),
        [
            "-# the end of nodes",
            "--   name: last",
            "-type: python",
            "-source: {type: code, path: fetch.py}",
            "-inputs:",
            "-url: ${chat.output.text}",
        ],
        [],
    ),
]


def changed_lines(before, after):
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line[0] + line[1:].strip() for line in lines if not line.startswith(("---", "+++", "@@"))]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("op", "removed", "added"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_edit_changes_only_its_own_lines(op, removed, added, newline):
    text = TEXT.replace("\n", newline)

    after = edit.apply(text, op)

    changed = changed_lines(text, after)
    assert [line for line in changed if line[0] == "-"] == removed
    assert [line for line in changed if line[0] == "+"] == added
    assert after.count("\r\n") == (after.count("\n") if newline == "\r\n" else 0)


def test_moved_node_keeps_its_comment_and_text():
    after = edit.apply(TEXT, edit.MoveNode("last", 0))

    assert [node["name"] for node in parse_yaml(after).value["nodes"]] == ["last", "fetch", "chat"]
    assert sorted(after.splitlines()) == sorted(TEXT.splitlines())
    assert "# the end of nodes\n-   name: last\n" in after


VARIANTS = """\
nodes:
- name: s
  use_variants: true
- name: t
  type: prompt
  inputs: {x: "${s.output}"}
node_variants:
  s:
    default_variant_id: v0
    variants:
      v0:
        node: {type: prompt, inputs: {t: 0}}  # first
      v1:
        node:
          type: prompt
"""


def test_variants_are_edited():
    text = edit.apply(VARIANTS, edit.AddVariant("s", "v2", copy_of="v1"))
    text = edit.apply(text, edit.SetNodeInput("s", "t", 5, variant="v2"))
    text = edit.apply(text, edit.SetDefaultVariant("s", "v2"))
    text = edit.apply(text, edit.DeleteVariant("s", "v1"))

    group = parse_yaml(text).value["node_variants"]["s"]
    assert group["default_variant_id"] == "v2"
    assert group["variants"] == {
        "v0": {"node": {"type": "prompt", "inputs": {"t": 0}}},
        "v2": {"node": {"type": "prompt", "inputs": {"t": 5}}},
    }
    assert "# first" in text


def test_promoted_variant_becomes_the_node():
    data = parse_yaml(edit.apply(VARIANTS, edit.PromoteVariant("s", "v0"))).value

    assert data["nodes"][0] == {"name": "s", "type": "prompt", "inputs": {"t": 0}}
    assert "node_variants" not in data


def test_first_variant_keeps_the_present_body():
    data = parse_yaml(edit.apply(VARIANTS, edit.AddVariant("t", "short"))).value

    assert data["nodes"][1] == {"name": "t", "use_variants": True}
    assert data["node_variants"]["t"]["default_variant_id"] == "variant_0"
    assert list(data["node_variants"]["t"]["variants"]) == ["variant_0", "short"]


def test_renamed_node_takes_its_variants_and_references_along():
    data = parse_yaml(edit.apply(VARIANTS, edit.RenameNode("s", "sum"))).value

    assert list(data["node_variants"]) == ["sum"]
    assert data["nodes"][1]["inputs"] == {"x": "${sum.output}"}


def test_deleted_node_takes_what_reads_it_along():
    text = (
        "inputs: {i: {type: list}}\noutputs:\n  o: {reference: '${a.output}'}\n  p: {reference: '${b.output}'}\n"
        "nodes:\n"
        "- name: a\n  type: prompt\n- name: b\n  type: prompt\n  for_each: ${a.output}\n"
        "  inputs: {x: '${a.output.y}', z: 1}\n  activate: {when: '${a.output}', is: 1}\n"
    )

    data = parse_yaml(edit.apply(text, edit.DeleteNode("a", clear_references=True))).value

    assert data["nodes"] == [{"name": "b", "type": "prompt", "inputs": {"z": 1}}]
    assert list(data["outputs"]) == ["p"]


def test_merged_keys_can_be_overridden_but_not_removed():
    text = "base: &b {x: 1}\nnodes:\n- name: a\n  type: prompt\n  inputs:\n    <<: *b\n    y: 2\n"

    after = edit.apply(text, edit.SetNodeInput("a", "x", 5))

    assert parse_yaml(after).value["nodes"][0]["inputs"]["x"] == 5
    assert "<<: *b" in after
    with pytest.raises(FlowEditError):
        edit.apply(text, edit.ClearNodeInput("a", "x"))


ODD = [
    ("k: v\n", {"k": float("inf")}),
    ("k: v\n", {"k": float("nan")}),
    ("k: v\n", {"k": dt.datetime.fromisoformat("2020-01-01T10:00:00")}),
    ("k: v\n", {"k": dt.date(2020, 1, 1)}),
    ("k: v  # c\n", {"k": "a\nb\n"}),
    ("k: v  # c\n", {"k": {"a": [1, {"b": 2}]}}),
    ("k:\n", {"k": 3}),
    ("k: &a\n- 1\n- 2\n", {"k": [1, 3]}),
    ("k: &a\n  x: 1\n", {"k": {"x": 2}}),
    ("- 1\n", {"k": 1}),
    ("k: 1\n", [1, 2]),
    ("- a\n- b\n", ["b", "a", {"c": 1}]),
    ("{a: 1, b: 2}\n", {"b": 2, "a": 1}),
    ("- - 1\n  - 2\n", [[2, 1], "x"]),
    ("", {"a": 1}),
    ("a: 1", {"a": 1, "b": 2}),
    ("--- # start\na: 1\n...\n", {"a": 2}),
    ("a: 'it''s'\n", {"a": "it's new"}),
    ("a: b\n", {"a": "\u2028\x07\U0001f600"}),
]


@pytest.mark.parametrize(("text", "value"), ODD)
def test_odd_values_are_written(text, value):
    assert is_same(parse_yaml(replace_value(text, value)).value, value)


def test_failed_save_leaves_the_file(tmp_path, monkeypatch):
    path = tmp_path / "flow.dag.yaml"
    path.write_text("nodes: []\n")
    _, digest = edit.read_for_edit(path)
    monkeypatch.setattr("os.fsync", lambda *_: (_ for _ in ()).throw(OSError("full")))

    with pytest.raises(OSError, match="full"):
        edit.save(path, "x", digest)

    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("flow.dag.yaml", "nodes: []\n")]


REFUSED = [
    (edit.SetFlowField("nodes", []), FlowEditError),
    (edit.DeleteVariant("chat", "v"), FlowEditError),
    (edit.Connect("inputs.n", "last", "n", ".x"), FlowEditError),
    (edit.DeleteOutput("nope"), FlowEditError),
    (edit.AddNode({"name": "chat"}), FlowEditError),
    (edit.AddNode({"name": "a.b"}), FlowEditError),
    (edit.AddNode({"name": "x"}, after="nope"), FlowEditError),
    (edit.DeleteNode("nope"), FlowEditError),
    (edit.RenameNode("chat", "fetch"), FlowEditError),
    (edit.Connect("last", "fetch", "loop"), NodeCircularDependency),
    (edit.Connect("chat", "chat", "loop"), NodeCircularDependency),
    (edit.Connect("inputs.nope", "chat", "x"), FlowEditError),
    (edit.Disconnect("chat", "temperature"), FlowEditError),
    (edit.ClearNodeInput("chat", "nope"), FlowEditError),
    (edit.SetNodeField("chat", "name", "x"), FlowEditError),
    (edit.SetNodeField("chat", "nope", "x"), FlowEditError),
    (edit.SetActivate("chat", "x", 1, "near"), FlowEditError),
    (edit.SetDefaultVariant("chat", "v1"), FlowEditError),
    (edit.DeleteInput("nope"), FlowEditError),
    (edit.RenameInput("n", "question"), FlowEditError),
]


@pytest.mark.parametrize(
    ("op", "expected"), REFUSED, ids=[f"{type(case[0]).__name__}-{i}" for i, case in enumerate(REFUSED)]
)
def test_edit_that_does_not_fit_is_refused(op, expected):
    with pytest.raises(expected):
        edit.apply(TEXT, op)


@pytest.mark.parametrize("op", [case[0] for case in CASES], ids=[type(case[0]).__name__ for case in CASES])
def test_operation_survives_the_wire(op):
    assert edit.op_from_dict(op.to_dict()) == op


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"op": "nope"},
        {"op": "delete_node"},
        {"op": "delete_node", "name": 3},
        {"op": "delete_node", "nam": "x"},
    ],
)
def test_malformed_operation_is_refused(data):
    with pytest.raises(FlowEditError):
        edit.op_from_dict(data)


def test_empty_file_can_grow():
    text = edit.apply("# new flow\n", edit.SetInput("q", {"type": "string"}))

    assert text == "# new flow\ninputs:\n  q:\n    type: string\n"


def test_alias_is_written_out_when_edited():
    text = "nodes:\n- name: a\n  type: prompt\n  inputs: &i {x: 1}\n- name: b\n  type: prompt\n  inputs: *i\n"

    after = edit.apply(text, edit.SetNodeInput("b", "x", 2))

    assert parse_yaml(after).value["nodes"][0]["inputs"] == {"x": 1}
    assert parse_yaml(after).value["nodes"][1]["inputs"] == {"x": 2}
    with pytest.raises(FlowEditError, match="without touching"):
        edit.apply(text, edit.SetNodeInput("a", "x", 2))


def test_default_variant_cannot_be_deleted():
    with pytest.raises(FlowEditError, match="default"):
        edit.apply(VARIANTS, edit.DeleteVariant("s", "v0"))

    with pytest.raises(FlowEditError, match="no variant"):
        edit.apply(VARIANTS, edit.SetDefaultVariant("s", "v9"))


def test_list_is_not_edited_as_a_flow():
    with pytest.raises(FlowEditError):
        edit.apply("- a\n", edit.SetFlowField("description", "x"))


def test_broken_yaml_is_not_edited():
    with pytest.raises(FlowSyntaxError):
        edit.apply("a: [", edit.SetFlowField("description", "x"))


def test_file_is_saved_whole_unless_somebody_changed_it(tmp_path):
    path = tmp_path / "flow.dag.yaml"
    path.write_bytes(b"\xef\xbb\xbfnodes: []\r\n")
    path.chmod(0o640)

    text, digest = edit.read_for_edit(path)
    new_digest = edit.save(path, edit.apply(text, edit.SetFlowField("description", "d")), digest)

    assert path.read_bytes() == b"\xef\xbb\xbfnodes: []\r\ndescription: d\r\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert edit.read_for_edit(path)[1] == new_digest
    with pytest.raises(FileChangedError):
        edit.save(path, "nodes: []\n", digest)
    assert [file.name for file in tmp_path.iterdir()] == ["flow.dag.yaml"]


NAMES = st.sampled_from(["a", "b", "name", "x y", "1", "k: v", "# c"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8) | st.sampled_from(["a\nb\n", "yes", "01"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(NAMES, VALUES, max_size=4)


@given(MAPPINGS, MAPPINGS, st.sampled_from([None, False, True]), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=150, deadline=None)
def test_any_value_can_replace_any_other(old, new, flow_style, newline):
    import yaml

    from promptflow_lite.flow.yaml_io import _Dumper

    text = yaml.dump(old, Dumper=_Dumper, sort_keys=False, default_flow_style=flow_style).replace("\n", newline)

    assert is_same(parse_yaml(replace_value(text, new)).value, new)


def test_every_operation_is_data():
    assert all(dataclasses.is_dataclass(cls) and cls.__doc__ for cls in edit.OPERATIONS.values())
