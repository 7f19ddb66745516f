import pytest

from promptflow_lite.errors import FlowDefinitionError, InvalidMessageFormatType, NodeReferenceNotFound, NotSupported
from promptflow_lite.flow import Reference, RetrySpec, load_flow


def node_of(folder, body, inputs="{items: {type: list}, a: {type: string}}"):
    lines = "".join(f"  {line}\n" for line in body.splitlines())
    (folder / "flow.dag.yaml").write_text(f"inputs: {inputs}\nnodes:\n- name: n\n  type: python\n{lines}")
    return load_flow(folder).node("n")


RETRIES = [
    ("retry: 3", RetrySpec(max_attempts=3)),
    ("retry: {max_attempts: 5, delay_s: 0, backoff: 1.5}", RetrySpec(max_attempts=5, delay_s=0, backoff=1.5)),
    ("retry: {}", RetrySpec()),
    ("retry: false", None),
]


@pytest.mark.parametrize(("text", "expected"), RETRIES)
def test_retry_is_a_number_or_a_mapping(tmp_path, text, expected):
    assert node_of(tmp_path, text).retry == expected


def test_item_is_what_a_mapped_node_reads(tmp_path):
    node = node_of(tmp_path, "for_each: ${inputs.items}\nconcurrency: 8\ninputs: {x: '${item.name}', y: '${inputs.a}'}")

    assert node.for_each.name == "items"
    assert node.concurrency == 8
    assert node.inputs["x"] == Reference(kind="item", name="item", path=(("name", "name"),), text="${item.name}")
    assert [reference.name for reference in node.references()] == ["a", "items"]


def test_item_means_nothing_to_other_nodes(tmp_path):
    with pytest.raises(NodeReferenceNotFound):
        node_of(tmp_path, "inputs: {x: '${item}'}")


def test_repeat_reads_outputs_of_its_flow(tmp_path):
    text = (
        "repeat: {until: '${outputs.done}', max: 5, carry: {draft: '${outputs.draft}', n: 1}}\nsource: {path: ../sub}"
    )

    (tmp_path / "flow.dag.yaml").write_text(
        "nodes:\n- name: n\n  type: flow\n" + "".join(f"  {line}\n" for line in text.splitlines())
    )
    repeat = load_flow(tmp_path).node("n").repeat

    assert (repeat.until.kind, repeat.until.name, repeat.max) == ("output", "done", 5)
    assert repeat.carry["draft"].name == "draft"
    assert repeat.carry["n"] == 1


CONDITIONS = [
    ("is: yes", "is", "yes"),
    ("not: 3", "not", 3),
    ("in: [a, 1]", "in", ["a", 1]),
    ("not_in: []", "not_in", []),
    ("lt: 1", "lt", 1),
    ("le: 1.5", "le", 1.5),
    ("gt: 1", "gt", 1),
    ("ge: null", "ge", None),
]


@pytest.mark.parametrize(("text", "operator", "value"), CONDITIONS)
def test_condition_has_one_operator(tmp_path, text, operator, value):
    activate = node_of(tmp_path, f"activate:\n  when: ${{inputs.a}}\n  {text}").activate

    assert (activate.operator, activate.equals) == (operator, value)
    assert activate.when.name == "a"


REFUSED = [
    "activate: {is: 1}",
    "activate: {when: 1}",
    "activate: {when: 1, is: 1, gt: 2}",
    "activate: [1]",
    "activate: {when: 1, in: text}",
    "retry: 0",
    "retry: true",
    "retry: {max_attempts: 0}",
    "timeout_s: 0",
    "timeout_s: soon",
    "concurrency: 1.5",
    "for_each: text",
    "repeat: 3",
    "repeat: {until: true}",
    "repeat: {max: 3}",
    "enable_cache: maybe",
    "source: text",
    "source: {type: cod}",
    "inputs: text",
]


@pytest.mark.parametrize("text", REFUSED)
def test_malformed_option_is_refused(tmp_path, text):
    with pytest.raises(FlowDefinitionError) as caught:
        node_of(tmp_path, text)

    assert caught.value.where.line >= 5
    assert caught.value.hint
    assert caught.value.code.startswith("flow.")


@pytest.mark.parametrize("text", ["nodes: [{name: n, type: csharp}]", "language: csharp\nnodes: []"])
def test_csharp_is_refused_clearly(tmp_path, text):
    (tmp_path / "flow.dag.yaml").write_text(text)

    with pytest.raises(NotSupported, match="NET"):
        load_flow(tmp_path)


def test_metadata_of_any_shape_never_stops_a_flow(tmp_path):
    (tmp_path / "flow.dag.yaml").write_text(
        "type: 3\nname: 5\ndescription: [a]\ntags: [x, y]\nenvironment: [a]\n"
        "inputs: {a: {type: string, enum: only, description: {x: 1}, is_chat_input: yes}}\nnodes: []\n"
    )

    flow = load_flow(tmp_path)

    assert (flow.name, flow.type, flow.description, flow.tags) == ("5", "3", "", {"x": "", "y": ""})
    assert flow.inputs["a"].enum == ("only",)
    assert flow.inputs["a"].is_chat_input
    assert len(flow.warnings) == 3


def test_unknown_message_format_is_refused(tmp_path):
    (tmp_path / "flow.dag.yaml").write_text("message_format: vision\nnodes: []\n")

    with pytest.raises(InvalidMessageFormatType) as caught:
        load_flow(tmp_path)

    assert caught.value.error_codes == ["UserError", "InvalidMessageFormatType"]


def test_legacy_keys_are_read(tmp_path):
    (tmp_path / "flow.dag.yaml").write_text(
        "inputs: []\noutputs:\nskip: x\ntools: [{name: t, type: python, source: t.py}]\n"
        "nodes:\n- {name: n, tool: t, reduce: true, skip: {when: a}, comment: x, module: m}\n"
    )

    flow = load_flow(tmp_path)

    node = flow.node("n")
    assert (node.type, node.tool, node.aggregation, node.module) == ("python", "t", True, "m")
    assert flow.tools[0]["source"] == "t.py"
