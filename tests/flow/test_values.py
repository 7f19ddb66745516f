import math

import pytest

from promptflow_lite.errors import InputNotFound, InputParseError, InputTypeError, LoadMultimediaDataError
from promptflow_lite.flow import Image, InputCoercion, InputSpec, coerce_inputs, coerce_literal

COERCED = [
    ("int", "3", 3),
    ("int", 3.9, 3),
    ("int", True, 1),
    ("double", "0.5", 0.5),
    ("double", 1, 1.0),
    ("bool", "TRUE", True),
    ("bool", False, False),
    ("string", None, "None"),
    ("string", {"a": 1}, "{'a': 1}"),
    ("string", 5, "5"),
    ("list", "[1, 2]", [1, 2]),
    ("list", [1], [1]),
    ("object", '{"a": 1}', {"a": 1}),
    ("object", "not json", "not json"),
    ("object", 5, 5),
    ("file_path", 5, 5),
    ("secret", "x", "x"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), COERCED)
def test_flow_input_gets_its_type(kind, value, expected):
    result = coerce_inputs({"k": InputSpec(name="k", type=kind)}, {"k": value})

    assert result == {"k": expected}
    assert type(result["k"]) is type(expected)


FAILING = [
    ("int", "x", InputTypeError),
    ("int", None, InputTypeError),
    ("int", math.inf, InputTypeError),
    ("int", "9" * 5000, InputTypeError),
    ("double", "x", InputTypeError),
    ("double", 10**400, InputTypeError),
    ("bool", 1, InputTypeError),
    ("bool", "yes", InputTypeError),
    ("list", "{", InputParseError),
    ("list", "[" * 100_000, InputParseError),
    ("list", '{"a": 1}', InputTypeError),
    ("list", 3, InputTypeError),
    ("image", 3, LoadMultimediaDataError),
    ("image", "!!", LoadMultimediaDataError),
]


@pytest.mark.parametrize(("kind", "value", "expected"), FAILING)
def test_value_that_does_not_fit_is_refused(kind, value, expected):
    with pytest.raises(expected, match="line 4") as caught:
        coerce_inputs({"k": InputSpec(name="k", type=kind)}, {"k": value}, 4)

    assert caught.value.facts["input_name"] == "k"
    assert caught.value.facts["line_number"] == 4


def test_defaults_fill_absent_keys_only():
    specs = {
        "a": InputSpec(name="a", type="int", default="0"),
        "b": InputSpec(name="b", type="string", default=""),
        "c": InputSpec(name="c", type="list", default=[]),
    }

    result = coerce_inputs(specs, {"b": None, "extra": 1})

    assert result == {"b": "None", "extra": 1, "a": 0, "c": []}
    assert result["c"] is not specs["c"].default


def test_missing_input_without_default_is_named():
    with pytest.raises(InputNotFound) as caught:
        coerce_inputs({"question": InputSpec(name="question")}, {"qestion": "x"}, 0)

    assert "line 0" in str(caught.value)
    assert "qestion" in caught.value.hint


def test_null_default_means_required():
    with pytest.raises(InputNotFound):
        coerce_inputs({"k": InputSpec(name="k", default=None)}, {})


def test_images_inside_chat_history_are_loaded(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    coercion = InputCoercion({"h": InputSpec(name="h", type="list")}, root=tmp_path)

    history = coercion({"h": [{"inputs": {"q": ["see", {"data:image/png;path": "a.png"}]}}]})["h"]

    image = history[0]["inputs"]["q"][1]
    assert isinstance(image, Image)
    assert image.mime_type == "image/png"


@pytest.mark.parametrize(
    ("value", "kind", "expected"), [("7", "int", 7), ("x", "object", "x"), (True, "CustomConnection", True)]
)
def test_literal_gets_the_declared_type(value, kind, expected):
    assert coerce_literal(value, kind) == expected


def test_literal_that_does_not_fit_raises():
    with pytest.raises(ValueError):
        coerce_literal("x", "int")
