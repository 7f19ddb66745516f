"""Flows as tools of the Model Context Protocol, through the official SDK."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from promptflow_lite import __version__
from promptflow_lite._utils.imports import require
from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.errors import PromptflowException, ServingError
from promptflow_lite.flow import image_files, media_to_json
from promptflow_lite.records import Status
from promptflow_lite.runtime import LineExecutor
from promptflow_lite.serving.endpoint import failure_of
from promptflow_lite.serving.inputs import inputs_from_body
from promptflow_lite.serving.schema import Interface, describe_interface, input_schema


@dataclass(frozen=True, slots=True)
class FlowTool:
    """A flow ready to be called as a tool."""

    name: str
    description: str
    executor: LineExecutor
    interface: Interface

    def call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run the flow. Raises `PromptflowException` when its inputs do not fit or it fails."""
        inputs = inputs_from_body(dumps(arguments).encode(), self.interface)
        with image_files(allowed=False):
            line = self.executor.run_line(inputs)
        if line.status is not Status.COMPLETED:
            raise failure_of(line)

        hidden = self.interface.hidden_outputs
        outputs = {k: v for k, v in (line.output or {}).items() if k not in hidden}
        value: dict[str, Any] = loads(dumps(media_to_json(outputs)))
        return value


def flow_tool(executor: LineExecutor, *, name: str | None = None) -> FlowTool:
    """A tool from an executor; its name is the flow's, in the characters that the protocol allows."""
    flow = executor.flow
    interface = describe_interface(flow, inputs=executor.input_specs)
    tool_name = re.sub(r"[^A-Za-z0-9_-]+", "_", name or interface.name).strip("_")[:64] or "flow"
    description = flow.description or flow.display_name or f"Runs the flow {interface.name!r}."
    return FlowTool(tool_name, description, executor, interface)


def create_mcp_server(tools: Sequence[FlowTool]) -> Any:
    """A server of the official SDK that offers the flows.

    Raises:
        ServingError: two flows have the same name.
        MissingExtraError: the SDK is not installed.
    """
    require("mcp", extra="serve", feature="Serving flows as MCP tools")
    from mcp import types
    from mcp.server import Server

    by_name = {tool.name: tool for tool in tools}
    if len(by_name) != len(tools):
        raise ServingError("Two flows would be tools of the same name.", hint="Rename one of their folders.")

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(name=tool.name, description=tool.description, input_schema=input_schema(tool.interface))
                for tool in tools
            ]
        )

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        import anyio.to_thread

        tool = by_name.get(params.name)
        if tool is None:
            return _failure(f"There is no tool {params.name!r}.")

        try:
            value = await anyio.to_thread.run_sync(tool.call, dict(params.arguments or {}))
        except PromptflowException as error:
            return _failure(f"{error.message} {error.hint or ''}".strip())

        text = next(iter(value.values())) if len(value) == 1 and _is_text(value) else dumps(value)
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=value)

    def _failure(message: str) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)

    return Server("promptflow-lite", version=__version__, on_list_tools=list_tools, on_call_tool=call_tool)


def _is_text(value: dict[str, Any]) -> bool:
    return isinstance(next(iter(value.values())), str)


async def run_stdio(server: Any) -> None:
    """Speak with one client over stdin and stdout until it leaves."""
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
