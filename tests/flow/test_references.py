import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptflow_lite.errors import InvalidReferenceProperty
from promptflow_lite.flow import Reference, parse_reference, resolve_path
from promptflow_lite.flow.references import parse_item_reference, parse_output_reference

LITERALS = ["abc ${inputs.x}", "${inputs.x} ", "$", "${", "$x", "{x}", "", 3, None, ["${a}"], "$ {a}", "$$ {inputs.x}"]


@pytest.mark.parametrize("value", LITERALS)
def test_only_a_whole_value_is_a_reference(value):
    assert parse_reference(value) is None


PARSED = [
    ("${inputs.a}", ("input", "a", "", ())),
    ("${flow.a}", ("input", "a", "", ())),
    ("${inputs.a.b}", ("input", "a.b", "", ())),
    ("${n}", ("node", "n", "output", ())),
    ("${n.output}", ("node", "n", "output", ())),
    ("${ n.output }", ("node", "n", "output", ())),
    ("${n.other}", ("node", "n", "other", ())),
    ("${n.output.a.b}", ("node", "n", "output", (("name", "a"), ("name", "b")))),
    ("${n.output['a b'][3].c}", ("node", "n", "output", (("key", "a b"), ("index", 3), ("name", "c")))),
    ('${n.output["k"]}', ("node", "n", "output", (("name", "k"),))),
    ("${n.output[-1]}", ("node", "n", "output", (("name", "1"),))),
]


@pytest.mark.parametrize(("text", "expected"), PARSED)
def test_reference_is_taken_apart(text, expected):
    reference = parse_reference(text)

    assert (reference.kind, reference.name, reference.section, reference.path) == expected
    assert reference.text == text


class Thing:
    name = "thing"


RESOLVED = [
    ("${n.output.a}", {"a": 1}, 1),
    ("${n.output.name}", Thing(), "thing"),
    ("${n.output['a'][1]}", {"a": [1, 2]}, 2),
    ("${n.output}", None, None),
]


@pytest.mark.parametrize(("text", "value", "expected"), RESOLVED)
def test_properties_are_followed(text, value, expected):
    assert resolve_path(value, parse_reference(text)) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${n.output.a}", {}),
        ("${n.output[3]}", [1]),
        ("${n.output.a}", None),
        ("${n.output[0]}", None),
        ("${n.output.a}", 3),
    ],
)
def test_missing_property_is_an_error(text, value):
    with pytest.raises(InvalidReferenceProperty):
        resolve_path(value, parse_reference(text))


@given(st.text(max_size=30))
def test_any_text_is_a_reference_or_a_literal(text):
    for candidate in (text, "${" + text + "}"):
        reference = parse_reference(candidate)
        assert reference is None or isinstance(reference, Reference)


LOOPS = [
    (parse_item_reference, "${item}", ("item", "item", ())),
    (parse_item_reference, "${item.a[0]}", ("item", "item", (("name", "a"), ("index", 0)))),
    (parse_item_reference, "${item['a']}", ("item", "item", (("key", "a"),))),
    (parse_output_reference, "${outputs.done}", ("output", "done", ())),
    (parse_output_reference, "${outputs.a.b}", ("output", "a", (("name", "b"),))),
]


@pytest.mark.parametrize(("parse", "text", "expected"), LOOPS)
def test_loop_references_are_taken_apart(parse, text, expected):
    reference = parse(text)

    assert (reference.kind, reference.name, reference.path) == expected


@pytest.mark.parametrize("text", ["${items}", "${item_a.output}", "item", "${inputs.item}", 3, "x ${item}"])
def test_other_values_are_no_item(text):
    assert parse_item_reference(text) is None
