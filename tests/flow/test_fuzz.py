"""Whatever a file holds, loading and validating end with an error that is meant for people."""

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptflow_lite.errors import PromptflowException
from promptflow_lite.flow import describe_flow, dump_yaml_text, load_flow, load_prompty, validate_flow
from promptflow_lite.flow.dag import NODE_KEYS, TOP_KEYS

FEW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.sampled_from(
    "a b python llm prompt flow code n.py n.jinja2 . .. / \0 ${a} ${b.output.x[0]} ${inputs.a} ${item.x} ${outputs.a} "
    "${} ${.} yes string int list v0 m:f".split(" ")
)
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | WORDS | st.dates()
INNER_KEYS = (
    "path when is in until max carry variants default_variant_id node reference default is_chat_input entry flow "
    "sample init code model configuration a b v0"
)
KEYS = st.sampled_from([*INNER_KEYS.split(), *TOP_KEYS, *NODE_KEYS])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)
NODES = st.lists(st.dictionaries(st.sampled_from(NODE_KEYS), VALUES, max_size=6), max_size=4)
FLOWS = st.fixed_dictionaries({}, optional={key: VALUES for key in TOP_KEYS if key != "nodes"} | {"nodes": NODES})
GOOD = (Path(__file__).parent / "hand_formatted.yaml").read_text(encoding="utf-8")


def survives(path):
    for use in (load_flow, validate_flow, describe_flow):
        with contextlib.suppress(PromptflowException):
            use(path)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "n.py").write_text("from promptflow.core import tool\n@tool\ndef f(a: int, b='x'): ...\n")
    (tmp_path / "n.jinja2").write_text("user:\n{{a}}\n")
    return tmp_path


@given(raw=st.binary(max_size=200))
@FEW
def test_any_bytes_are_survived(folder, raw):
    for name in ("flow.dag.yaml", "p.prompty", "n.py", "n.jinja2"):
        (folder / name).write_bytes(raw)
        survives(folder / name)


@given(value=FLOWS)
@FEW
def test_any_structure_is_survived(folder, value):
    path = folder / "flow.dag.yaml"
    path.write_text(dump_yaml_text(value), encoding="utf-8", errors="replace")

    survives(path)


@given(value=st.dictionaries(KEYS, VALUES, max_size=6), template=st.text(max_size=40))
@FEW
def test_any_prompty_is_survived(folder, value, template):
    path = folder / "p.prompty"
    path.write_text(f"---\n{dump_yaml_text(value)}---\n{template}", encoding="utf-8", errors="replace")

    survives(path)
    with contextlib.suppress(PromptflowException):
        load_prompty(path)


@given(seed=st.integers(0, 2**32))
@FEW
def test_damaged_flow_is_survived(folder, seed):
    chance = random.Random(seed)
    text = list(GOOD)
    for _ in range(chance.randint(1, 8)):
        position = chance.randrange(len(text))
        action = chance.randrange(3)
        if action == 0:
            del text[position : position + chance.randint(1, 20)]
        elif action == 1:
            text.insert(position, chance.choice("{}[]:#-&*!|>'\"%@`\t\n \0${}é"))
        else:
            other = chance.randrange(len(text))
            text[position:position] = text[other : other + chance.randint(1, 40)]

    path = folder / "flow.dag.yaml"
    path.write_text("".join(text), encoding="utf-8")
    survives(path)


@pytest.mark.parametrize(
    "text",
    ["nodes: " + "[" * 10_000, "a: " + "{b: " * 5_000, "- " * 50_000, "x" * 200_000, "&a " * 1000, "? " * 2000],
    ids=["lists", "mappings", "dashes", "long", "anchors", "keys"],
)
def test_monstrous_file_is_survived(folder, text):
    (folder / "flow.dag.yaml").write_text(text)

    survives(folder / "flow.dag.yaml")


@pytest.mark.parametrize(
    "template", ["{% if x %}" * 3000, "{{" + "(" * 3000, "{{ a" + "|b" * 3000 + " }}", "{{ 9" + "9" * 5000 + " }}"]
)
def test_monstrous_template_is_survived(folder, template):
    (folder / "n.jinja2").write_text(template)
    (folder / "flow.dag.yaml").write_text("nodes:\n- {name: a, type: prompt, source: {path: n.jinja2}}\n")

    survives(folder)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000, "", "~nobody-of-that-name/x", "m:f", "/dev/null", "."])
def test_any_path_is_survived(name):
    survives(name)
