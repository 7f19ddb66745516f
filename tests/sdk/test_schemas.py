"""JSON schemas: they accept what runs and refuse what does not."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from promptflow_lite.flow import parse_yaml
from promptflow_lite.sdk.schemas import SCHEMAS, schema_of

REPOSITORY = Path(__file__).parents[2]


def errors(name: str, text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema_of(name))
    return [error.message for error in validator.iter_errors(parse_yaml(text).value)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(name))


@pytest.mark.parametrize("file", sorted(REPOSITORY.glob("flows/*/flow.dag.yaml")), ids=lambda path: path.parent.name)
def test_the_samples_fit(file: Path) -> None:
    assert errors("flow.dag", file.read_text()) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flow.dag", "inputs: []\noutputs: []\nnodes: []\n"),
        ("flow.dag", "nodes:\n- name: n\n  type: llm\n  activate: {when: '${inputs.a}', in: [1, 2]}\n  retry: 3\n"),
        ("flow.dag", "nodes:\n- name: n\n  type: flow\n  repeat: {until: '${outputs.d}', max: 2}\n"),
        ("flow.flex", "entry: a.b:c\ninit: {m: {type: AzureOpenAIModelConfiguration}}\n"),
        ("prompty", "model: {api: chat, configuration: {type: openai, model: m}, parameters: {}}\nanything: 1\n"),
        ("run", "flow: .\ndata: d.jsonl\ncolumn_mapping: {a: '${data.a}'}\n"),
        ("connection", "name: c\ntype: open_ai\napi_key: <user-input>\n"),
        ("experiment", "nodes:\n- {name: a, type: flow, path: ./f}\n- {name: b, type: command, command: ls}\n"),
    ],
)
def test_what_runs_is_accepted(name: str, text: str) -> None:
    assert errors(name, text) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flow.dag", "nodes:\n- name: n\n  tpye: llm\n"),
        ("flow.dag", "nodes:\n- name: n\n  type: lllm\n"),
        ("flow.dag", "nodes:\n- name: n\n  activate: {when: 1, is: 2, not: 3}\n"),
        ("flow.dag", "nodes:\n- name: n\n  for_each: items\n"),
        ("flow.dag", "inputs: {a: {type: text}}\n"),
        ("flow.flex", "inputs: {}\n"),
        ("flow.flex", "entry: no colon\n"),
        ("run", "flow: .\ndatta: d.jsonl\n"),
        ("connection", "name: c\ntype: unknown\n"),
        ("experiment", "nodes:\n- {name: a, type: flow}\n"),
    ],
)
def test_what_does_not_run_is_refused(name: str, text: str) -> None:
    assert errors(name, text) != []
