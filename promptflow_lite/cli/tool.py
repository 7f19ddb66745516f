"""`pfl tool`: make, list and check tools."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_pairs


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("tool", help="Make and list tools").add_subparsers(metavar="<verb>")

    init = verbs.add_parser(
        "init",
        help="Make a tool, or a package of tools",
        description="Write a Python tool to start from; with --package, a package that offers it to every flow.",
        epilog="Example: pfl tool init --package house-tools --tool shorten --set icon=icon.png",
    )
    init.add_argument("--tool", required=True, help="Name of the tool's function.")
    init.add_argument("--package", help="Name of the package.")
    init.add_argument("--set", nargs="+", metavar="KEY=VALUE", help="icon, category, tags.")
    init.set_defaults(handler=_init)

    listing = verbs.add_parser("list", help="List package tools, and those of a flow")
    listing.add_argument("--flow", help="Folder or file of a flow.")
    listing.set_defaults(handler=_list)

    validate = verbs.add_parser("validate", help="Check a tool's script or a package of tools")
    validate.add_argument("--source", required=True, help="A .py file, or the name of an installed package.")
    validate.set_defaults(handler=_validate)


def _init(args: Namespace) -> int:
    from promptflow_lite.sdk.tool_scaffold import create_tool

    for path in create_tool(args.tool, args.package, options=parse_pairs(args.set, "--set")):
        render.note(f"created {path}")
    return 0


def _list(args: Namespace) -> int:
    from promptflow_lite.sdk.tool_metadata import list_tools

    render.json(list_tools(args.flow))
    return 0


def _validate(args: Namespace) -> int:
    from promptflow_lite.sdk.tool_metadata import validate_tools

    report = validate_tools(args.source)
    render.json(report)
    return 0 if report["result"] == "Succeeded" else 1
