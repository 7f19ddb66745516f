"""`pfl mcp`: flows as tools of a model, by the Model Context Protocol over stdin and stdout."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from promptflow_lite._utils.imports import require


def register(groups: Any) -> None:
    """Add the command to the command line."""
    parser = groups.add_parser(
        "mcp",
        help="Serve flows as tools of a model",
        description="Offer flows as tools to a client of the Model Context Protocol, over stdin and stdout.",
        epilog='Example of a client\'s setting: {"command": "pfl", "args": ["mcp", "/path/to/my_flow"]}',
    )
    parser.add_argument("flows", nargs="+", metavar="FLOW", help="Folders or files of flows.")
    parser.set_defaults(handler=_mcp)


def _mcp(args: Namespace) -> int:
    anyio = require("anyio", extra="serve", feature="Serving flows as MCP tools")
    from promptflow_lite.flow import load_flow
    from promptflow_lite.runtime import create_executor
    from promptflow_lite.sdk.client import Client
    from promptflow_lite.serving.mcp_tools import create_mcp_server, flow_tool, run_stdio

    with Client() as client:
        executors = [create_executor(load_flow(Path(path)), client.connections) for path in args.flows]
        server = create_mcp_server([flow_tool(executor) for executor in executors])
        anyio.run(run_stdio, server)
    return 0
