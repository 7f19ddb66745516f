import contextlib
import datetime as dt
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptflow_lite.errors import FlowSyntaxError
from promptflow_lite.flow import dump_yaml_text, load_yaml, parse_yaml

SCALARS = [
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("off", "off"),
    ("y", "y"),
    ("true", True),
    ("False", False),
    ("TRUE", True),
    ("tRUE", "tRUE"),
    ("010", 10),
    ("0o10", 8),
    ("0x1F", 31),
    ("1_000", 1000),
    ("-5", -5),
    ("1e3", 1000.0),
    ("1.5", 1.5),
    (".5", 0.5),
    ("12:30:45", "12:30:45"),
    ("2020-01-01", dt.date(2020, 1, 1)),
    ("2020-13-01", "2020-13-01"),
    ("2020-01-01 10:00:00", dt.datetime.fromisoformat("2020-01-01T10:00:00")),
    ("2020-01-01T10:00:00.25Z", dt.datetime(2020, 1, 1, 10, 0, 0, 250000, dt.UTC)),
    ("~", None),
    ("null", None),
    ("", None),
    ("'010'", "010"),
    ('"true"', "true"),
    ("!!str 12", "12"),
    ("!!float 3", 3.0),
    ("!!binary aGk=", b"hi"),
    ("2020-01-01 10:00:00 -05:30", dt.datetime.fromisoformat("2020-01-01T10:00:00-05:30")),
    ("2020-01-01T10:00:00+99", "2020-01-01T10:00:00+99"),
    ("!!bool true", True),
    ("!!null x", None),
    ("-.inf", -math.inf),
    ("-", [None]),
    ("=", "="),
    ("9" * 5000, "9" * 5000),
]


@pytest.mark.parametrize(("text", "expected"), SCALARS)
def test_scalar_follows_yaml_1_2(text, expected):
    value = parse_yaml(text).value

    assert value == expected
    assert type(value) is type(expected)


def test_positions_count_from_one():
    document = parse_yaml("a: 1\nb:\n  - x\n  - c: 2\n", path="f.yaml", first_line=3)

    assert str(document.locate(("b", 1, "c"))) == "f.yaml:6:8"
    assert str(document.locate(("b", 1, "c"), key=True)) == "f.yaml:6:5"
    assert str(document.locate(("b", 0, "missing"))) == "f.yaml:5:5"


def test_aliases_and_merge_keys_are_honoured():
    document = parse_yaml("base: &b {x: 1, y: 2}\nuse: *b\nmerged:\n  <<: *b\n  y: 3\n")

    assert document.value["use"] == {"x": 1, "y": 2}
    assert document.value["merged"] == {"x": 1, "y": 3}


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
BROKEN = [
    ("duplicate key", "a: 1\nb: 2\na: 3\n", 3),
    ("duplicate equal key", "1: a\n1.0: b\n", 2),
    ("tab", "a:\n\t- b\n", 2),
    ("two documents", "a: 1\n---\nb: 2\n", 2),
    ("unknown tag", "a: !!python/object/apply:os.system [ls]\n", 1),
    ("custom tag", "a: !custom 1\n", 1),
    ("bad number tag", "a: !!int x\n", 1),
    ("unquoted reference in flow style", "a: {b: ${c}}\n", 1),
    ("alias bomb", BOMB, None),
    ("alias inside itself", "a: &a [*a]\n", 1),
    ("unknown alias", "a: *nope\n", 1),
    ("deep lists", "[" * 5000, 1),
    ("deep mappings", "\n".join(" " * i + "a:" for i in range(500)), None),
    ("bad boolean tag", "a: !!bool yes\n", 1),
    ("bad collection tag", "a: !!set {b}\n", 1),
    ("mapping as key", "? {a: 1}\n: 2\n", 1),
    ("merge of text", "<<: text\n", 1),
    ("control character", "a: \x07\n", 1),
    ("null character", "a: b\n\0", 2),
    ("lone surrogate", "a: \ud800\n", None),
    ("open quote", "a: 'b\n", 2),
    ("bad indentation", "a:\n    b: 1\n  c: 2\n", 3),
    ("colon in value", "a: b: c\n", 1),
]


@pytest.mark.parametrize(("text", "line"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_broken_text_is_an_error_with_a_place(text, line):
    with pytest.raises(FlowSyntaxError) as caught:
        parse_yaml(text, path="f.yaml")

    assert caught.value.where.path == "f.yaml"
    assert line is None or caught.value.where.line == line


@pytest.mark.parametrize(
    ("raw", "place"), [(b"a: 1\nb: \xff\xfe\n", ":2:4"), (b"\x80", ":1:1"), (b"\xff\xfe\x00", ":1:3")]
)
def test_bytes_that_are_no_text_have_a_place(tmp_path, raw, place):
    path = tmp_path / "f.yaml"
    path.write_bytes(raw)

    with pytest.raises(FlowSyntaxError) as caught:
        load_yaml(path, shown="f.yaml")

    assert str(caught.value.where).startswith("f.yaml:1") or str(caught.value.where) == f"f.yaml{place}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_understood(tmp_path, encoding):
    path = tmp_path / "f.yaml"
    path.write_bytes("a: ü\r\n".encode(encoding))

    assert load_yaml(path).value == {"a": "ü"}


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_parses_or_is_a_syntax_error(text):
    with contextlib.suppress(FlowSyntaxError):
        assert parse_yaml(text).positions is not None


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(PLAIN)
@settings(max_examples=200, deadline=None)
def test_written_values_are_read_back(value):
    assert parse_yaml(dump_yaml_text(value)).value == value


def test_unreadable_file_is_a_syntax_error(tmp_path, monkeypatch):
    (tmp_path / "big.yaml").write_text("a: 1" * 10)
    monkeypatch.setattr("promptflow_lite.flow.yaml_io.MAX_BYTES", 10)

    for name in ("missing.yaml", "big.yaml", "."):
        with pytest.raises(FlowSyntaxError):
            load_yaml(tmp_path / name)


def test_anchor_on_a_key_can_be_used():
    assert parse_yaml("&k a: 1\nb: *k\n").value == {"a": 1, "b": "a"}
