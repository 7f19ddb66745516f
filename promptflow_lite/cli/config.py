"""`pfl config`: keep settings."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_pairs


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("config", help="Keep settings").add_subparsers(metavar="<verb>")

    change = verbs.add_parser(
        "set",
        help="Set keys",
        description="Set keys in PFL_HOME/config.yaml, or in the pf.yaml of a project folder, which wins over it.",
        epilog="Example: pfl config set run.output_path='${flow_directory}/.runs' --path my_project",
    )
    change.add_argument("pairs", nargs="+", metavar="KEY=VALUE", help="An empty value removes the key.")
    change.add_argument("--path", help="Folder of the project's pf.yaml.")
    change.set_defaults(handler=_set)

    show = verbs.add_parser("show", help="Print what is set")
    show.set_defaults(handler=_show)


def _set(args: Namespace) -> int:
    from promptflow_lite.sdk.client import Client

    for key, value in parse_pairs(args.pairs, "config set").items():
        Client().config.set(key, value, folder=args.path)
    return _show(args)


def _show(_: Namespace) -> int:
    from promptflow_lite.sdk.client import Client

    render.json(Client().config.show())
    return 0
