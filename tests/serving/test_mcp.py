"""Flows as tools, asked by the official client."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from promptflow_lite.connections import DictConnectionSource
from promptflow_lite.errors import ServingError
from promptflow_lite.flow import load_flow
from promptflow_lite.runtime import create_executor
from promptflow_lite.serving.mcp_tools import create_mcp_server, flow_tool


def tool(path: Path) -> Any:
    return flow_tool(create_executor(load_flow(path), DictConnectionSource()))


async def _ask(target: Any, calls: list[tuple[str, dict[str, Any]]]) -> tuple[Any, list[Any]]:
    async with Client(target) as client:
        listed = await client.list_tools()
        return listed.tools, [await client.call_tool(name, arguments) for name, arguments in calls]


def test_flows_are_listed_and_called(plain_flow: Path, chat_flow: Path) -> None:
    calls = [("plain", {"text": "hi"}), ("talker", {"question": "a b"}), ("plain", {}), ("plain", {"text": "explode"})]
    tools, results = anyio.run(_ask, create_mcp_server([tool(plain_flow), tool(chat_flow)]), calls)

    assert [t.name for t in tools] == ["plain", "talker"]
    assert tools[0].input_schema["required"] == ["text"]
    assert [result.content[0].text for result in results[:2]] == ["HI", "none 0 a b "]
    assert results[0].structured_content == {"answer": "HI"}
    assert [result.is_error for result in results[2:]] == [True, True]
    assert "['text'] are missing" in results[2].content[0].text
    assert "boom" in results[3].content[0].text


def test_two_flows_of_one_name_are_refused(plain_flow: Path) -> None:
    with pytest.raises(ServingError, match="same name"):
        create_mcp_server([tool(plain_flow), tool(plain_flow)])


@pytest.mark.slow
def test_the_command_speaks_over_stdin_and_stdout(plain_flow: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "promptflow_lite.cli.main", "mcp", str(plain_flow)]
    )

    _, (result,) = anyio.run(_ask, server, [("plain", {"text": "hi"})])

    assert result.content[0].text == "HI"
