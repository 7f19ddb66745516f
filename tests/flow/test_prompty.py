import pytest

from promptflow_lite.errors import FlowDefinitionError, FlowSyntaxError, InvalidSampleError, UserErrorException
from promptflow_lite.flow import load_flow, load_prompty

FRONT = """\
---
name: Basic
model:
  api: chat
  configuration:
    type: azure_openai
    api_key: ${env:PFL_TEST_KEY}
    connection: ${env:PFL_TEST_UNSET}
  parameters:
    max_tokens: 10
    stop: ${file:stop.json}
inputs:
  question: {type: string}
  n: {type: int, default: 2}
sample:
  question: hi
---
system:
You are ${env:HOME}.
---
user:
{{question}}
"""


def write(folder, text, name="basic.prompty"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_front_matter_ends_at_its_first_closing_line(tmp_path):
    flow = load_flow(write(tmp_path, FRONT))

    assert flow.name == "Basic"
    assert flow.template.startswith("system:\nYou are ${env:HOME}.\n---\nuser:")
    assert flow.template.endswith("{{question}}\n")
    assert flow.template_line == 18
    assert flow.configuration["api_key"] == "${env:PFL_TEST_KEY}"
    assert flow.inputs["n"].default == 2
    assert flow.sample == {"question": "hi"}


def test_references_are_resolved_when_asked(tmp_path):
    path = write(tmp_path, FRONT)
    (tmp_path / "stop.json").write_text('["END"]')

    flow = load_prompty(path, environ={"PFL_TEST_KEY": "secret"})

    assert flow.configuration["api_key"] == "secret"
    assert flow.configuration["connection"] == "${env:PFL_TEST_UNSET}"
    assert flow.parameters["stop"] == ["END"]


def test_missing_referenced_file_is_an_error(tmp_path):
    with pytest.raises(UserErrorException, match=r"stop\.json"):
        load_prompty(write(tmp_path, FRONT))


def test_overrides_merge_deeply(tmp_path):
    path = write(tmp_path, FRONT)
    (tmp_path / "stop.json").write_text("[]")

    flow = load_prompty(path, overrides={"model": {"parameters": {"max_tokens": 99}}, "name": "Other"})

    assert flow.name == "Other"
    assert flow.parameters == {"max_tokens": 99, "stop": []}
    assert flow.configuration["type"] == "azure_openai"


@pytest.mark.parametrize("sample", ["sample.json", "${file:sample.json}"])
def test_inputs_come_from_the_sample_when_none_are_declared(tmp_path, sample):
    (tmp_path / "sample.json").write_text('{"a": 1, "b": ["x"]}')
    text = f"---\nmodel: {{configuration: {{}}, parameters: {{}}}}\nsample: {sample}\n---\nuser:\nhi"

    flow = load_flow(write(tmp_path, text))

    assert {name: spec.type for name, spec in flow.inputs.items()} == {"a": "int", "b": "list"}
    assert flow.sample == {"a": 1, "b": ["x"]}


BROKEN = [
    ("no front matter", "user:\nhi\n", FlowSyntaxError),
    ("front matter never ends", "---\nname: x\n", FlowSyntaxError),
    ("broken yaml", "---\na: [\n---\n", FlowSyntaxError),
    ("front matter is a list", "---\n- a\n---\n", FlowDefinitionError),
    ("no model", "---\nname: x\n---\nuser:\n", FlowDefinitionError),
    ("unknown model key", "---\nmodel: {apy: chat, parameters: {}}\n---\n", FlowDefinitionError),
    ("unknown api", "---\nmodel: {api: chats, parameters: {}}\n---\n", FlowDefinitionError),
    ("bad sample", "---\nmodel: {parameters: {}}\nsample: nope.json\n---\n", InvalidSampleError),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_malformed_prompty_is_refused(tmp_path, text, expected):
    with pytest.raises(expected) as caught:
        load_flow(write(tmp_path, text))

    assert caught.value.where is not None
