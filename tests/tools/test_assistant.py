"""Assistant definitions: loading, describing and calling tools, docstrings in three styles."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.errors import InvalidAssistantTool
from promptflow_lite.tools.assistant import (
    AssistantDefinition,
    AssistantToolInvoker,
    load_assistant_definition,
    openai_definition,
    parse_docstring,
)

SPHINX = """Do a thing
    over two lines.

    :param first: The first
        value.
    :param int second: The second.
    :return: Nothing.
    """
GOOGLE = """Do a thing
    over two lines.

    Args:
        first: The first
            value.
        second (int): The second.

    Returns:
        Nothing.
    """
NUMPY = """Do a thing
    over two lines.

    Parameters
    ----------
    first : str
        The first value.
    second : int
        The second.

    Returns
    -------
    None
    """


@pytest.mark.parametrize("text", [SPHINX, GOOGLE, NUMPY], ids=["sphinx", "google", "numpy"])
def test_docstrings_give_description_and_parameters(text: str) -> None:
    description, documented = parse_docstring(inspect.cleandoc(text))

    assert description == "Do a thing over two lines."
    assert documented == {"first": "The first value.", "second": "The second."}


def test_a_function_is_described_as_json_schema() -> None:
    def search(query: str, limit: int = 3, exact: bool = False, tags: list | None = None, **rest: Any) -> None:
        """Search."""

    function = openai_definition(search, leave_out={"exact"})["function"]

    types = {name: item["type"] for name, item in function["parameters"]["properties"].items()}
    assert types == {"query": "string", "limit": "integer", "tags": "array"}
    assert function["parameters"]["required"] == ["query"]


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([{"type": "teleport"}], "teleport"),
        ([{"type": "function"}], "no source"),
        ([{"type": "function", "source": {"type": "code"}}], "no source"),
    ],
)
def test_unusable_entries_are_refused(tmp_path: Path, tools: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InvalidAssistantTool, match=message):
        AssistantToolInvoker.init(tools, tmp_path)


@pytest.mark.parametrize("text", [None, "- a list\n"])
def test_a_definition_that_is_no_mapping_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "assistant.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidAssistantTool):
        load_assistant_definition(path, tmp_path)


def test_calling_an_unknown_tool_names_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "add.py").write_text(
        "from promptflow.core import tool\n@tool\ndef add(a: int, b: int):\n    return a + b\n"
    )
    entry = {"type": "function", "source": {"type": "code", "path": "add.py"}, "predefined_inputs": {"b": 2}}
    invoker = AssistantToolInvoker.init([entry, {"type": "retrieval"}], tmp_path)

    assert invoker.invoke_tool("add", {"a": 1}) == 3
    assert [tool["type"] for tool in invoker.to_openai_tools()] == ["retrieval", "function"]
    with pytest.raises(InvalidAssistantTool, match="has no tool 'sub'"):
        invoker.invoke_tool("sub", {})


def test_a_definition_is_recorded_without_its_loaded_tools() -> None:
    definition = AssistantDefinition.deserialize({"model": "m", "instructions": "i", "tools": [{"type": "retrieval"}]})

    assert definition.serialize() == {"model": "m", "instructions": "i", "tools": [{"type": "retrieval"}]}
