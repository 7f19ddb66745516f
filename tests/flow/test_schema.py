from pathlib import Path

import jsonschema
import pytest

from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import SCHEMA_KINDS, dag, flex, json_schema, load_yaml, parse_yaml, prompty, validate
from promptflow_lite.flow.prompty import read_prompty

ROOT = Path(__file__).parents[2]
SHIPPED = sorted([*ROOT.glob("flows/**/flow.dag.y*ml"), *ROOT.glob("evaluators/**/flow.dag.y*ml")])
KEYS = {"dag": dag.TOP_KEYS, "flex": flex.FLEX_KEYS, "prompty": prompty.PROMPTY_KEYS, "run": validate.RUN_KEYS}


def errors(kind, value):
    return [error.message for error in jsonschema.Draft202012Validator(json_schema(kind)).iter_errors(value)]


@pytest.mark.parametrize("kind", SCHEMA_KINDS)
def test_schema_is_valid_and_knows_every_key(kind):
    schema = json_schema(kind)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(KEYS[kind])


def test_node_schema_knows_every_key():
    node = json_schema("dag")["properties"]["nodes"]["items"]

    assert set(node["properties"]) == set(dag.NODE_KEYS)


@pytest.mark.parametrize("kind", SCHEMA_KINDS)
def test_every_key_is_described(kind):
    def walk(schema):
        for name, value in schema.get("properties", {}).items():
            assert value.get("description"), name
            yield name
            yield from walk(value)

        if isinstance(schema.get("items"), dict):
            yield from walk(schema["items"])

    assert list(walk(json_schema(kind)))


@pytest.mark.parametrize("path", SHIPPED, ids=[str(path.parent.relative_to(ROOT)) for path in SHIPPED])
def test_shipped_flow_fits_its_schema(path):
    assert errors("dag", load_yaml(path).value) == []


def test_shipped_prompties_fit_their_schema():
    for path in [*ROOT.glob("flows/**/*.prompty"), *ROOT.glob("evaluators/**/*.prompty")]:
        assert errors("prompty", read_prompty(path)[0].value) == []


GOOD = [
    ("dag", "inputs: []\noutputs:\nnodes: []\n"),
    ("dag", "nodes:\n- {name: a, type: python, retry: 3, timeout_s: 2.5, activate: {when: x, in: [1]}}\n"),
    ("dag", "nodes:\n- {name: a, type: flow, repeat: {until: '${outputs.ok}', max: 2}, for_each: '${inputs.x}'}\n"),
    ("flex", "entry: m:f\ninit: {c: {type: OpenAIConnection}}\nsample: {inputs: '${file:a.json}'}\n"),
    ("run", "flow: .\ncolumn_mapping: {a: '${data.x}', n: 3}\n"),
    ("prompty", "model: {configuration: {type: openai}, parameters: {stop: [x]}}\ninputs: {q: {type: string}, n: 3}\n"),
]


@pytest.mark.parametrize(("kind", "text"), GOOD)
def test_good_file_fits(kind, text):
    assert errors(kind, parse_yaml(text).value) == []


BAD = [
    ("dag", "inptus: {}\n"),
    ("dag", "nodes:\n- {type: python}\n"),
    ("dag", "nodes:\n- {name: a, activate: {when: x}}\n"),
    ("dag", "nodes:\n- {name: a, activate: {when: x, is: 1, gt: 2}}\n"),
    ("dag", "inputs: {a: {type: text}}\n"),
    ("flex", "entry: m.f\n"),
    ("run", "data: x\n"),
    ("prompty", "name: x\n"),
]


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_bad_file_does_not_fit(kind, text):
    assert errors(kind, parse_yaml(text).value)


def test_unknown_kind_is_refused():
    with pytest.raises(UserErrorException, match="foo"):
        json_schema("foo")
