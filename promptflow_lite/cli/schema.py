"""`pfl schema`: print the JSON schema of a file format, for editors and checkers."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from promptflow_lite.cli import render


def register(groups: Any) -> None:
    """Add the group to the command line."""
    parser = groups.add_parser(
        "schema",
        help="JSON schemas of the file formats",
        description="Print the JSON schema of a file format.",
        epilog="Example: pfl schema dag > flow.schema.json",
    )
    parser.add_argument(
        "kind",
        choices=("dag", "flex", "prompty", "run"),
        help="flow.dag.yaml, flow.flex.yaml, the front matter of a .prompty, or run.yaml",
    )
    parser.set_defaults(handler=_print)


def _print(args: Namespace) -> int:
    from promptflow_lite.flow import json_schema

    render.json(json_schema(args.kind))
    return 0
