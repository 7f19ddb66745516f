"""`pfl schema`: JSON schemas of the file formats, for editors and checks."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from promptflow_lite.cli import render


def register(groups: Any) -> None:
    """Add the group to the command line."""
    from promptflow_lite.sdk.schemas import SCHEMAS

    schema = groups.add_parser(
        "schema",
        help="JSON schemas of the file formats",
        description="Print the JSON schema of a file format. Name it in a file's first line for editors to use: "
        "# yaml-language-server: $schema=flow.dag.schema.json",
        epilog="Example: pfl schema flow.dag --output flow.dag.schema.json",
    )
    schema.add_argument("format", nargs="?", choices=sorted(SCHEMAS), help="The file format; without it, list them.")
    schema.add_argument("-o", "--output", metavar="FILE", help="Write the schema instead of printing it.")
    schema.set_defaults(handler=_show)


def _show(args: Namespace) -> int:
    from promptflow_lite.sdk.schemas import SCHEMAS, schema_of

    if args.format is None:
        render.json({name: entry.description for name, entry in SCHEMAS.items()})
        return 0

    schema = schema_of(args.format)
    if args.output:
        Path(args.output).write_text(render.to_json(schema) + "\n", encoding="utf-8")
        render.note(f"created {args.output}")
    else:
        render.json(schema)
    return 0
