"""`pfl migrate`: judge a project of the original and bring its connections and runs over."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from promptflow_lite.cli import render
from promptflow_lite.errors import UsageError

_WORDS = {"runs": "runs as it is", "needs": "needs", "cannot": "cannot run"}


def register(groups: Any) -> None:
    """Add the group to the command line."""
    parser = groups.add_parser(
        "migrate",
        help="Move projects of prompt flow here",
        description="Say what of a prompt flow project runs as it is, what needs something, and what cannot work. "
        "With --import, copy the connections and runs of an existing prompt flow installation.",
        epilog="Example: pfl migrate ./my_project --import",
    )
    parser.add_argument("path", nargs="?", help="A project: a folder with flows, also one exported from the cloud.")
    parser.add_argument(
        "--import", dest="imports", nargs="?", const="all", choices=("all", "connections", "runs"),
        help="Copy connections, runs or both (the default) of the original into this installation.",
    )  # fmt: skip
    parser.add_argument("--home", help="The original's folder (PF_HOME_DIRECTORY, else ~/.promptflow).")
    parser.add_argument("--key", help="Its encryption key, when the system keyring does not have it.")
    parser.add_argument("-o", "--output", choices=("json", "text"), help="json when the output is no terminal.")
    parser.set_defaults(handler=_migrate)


def _migrate(args: Namespace) -> int:
    from promptflow_lite.sdk.client import Client
    from promptflow_lite.sdk.migrate import examine_project, import_home
    from promptflow_lite.sdk.original_home import OriginalHome, original_home

    if not args.path and not args.imports:
        raise UsageError("Name a project, or give --import.", hint="For example: pfl migrate ./my_project")

    if args.path and not Path(args.path).exists():
        raise UsageError(f"The path {args.path!r} does not exist.")

    home = OriginalHome(Path(args.home).absolute() if args.home else original_home(), key=args.key)
    report: dict[str, Any] = {}
    with Client() as client:
        if args.imports:
            wanted = args.imports
            imported = import_home(
                client, home, connections=wanted in ("all", "connections"), runs=wanted in ("all", "runs")
            )
            report["imported"] = imported.to_dict()

        if args.path:
            findings = examine_project(Path(args.path), known_connections=client.connections.names())
            report["project"] = [finding.to_dict() for finding in findings]
            report["summary"] = dict(Counter(finding.verdict for finding in findings))

    if args.output == "json" or (args.output is None and not render.is_terminal()):
        render.json(report)
    else:
        _print(report)

    return 1 if report.get("summary", {}).get("cannot") else 0


def _print(report: dict[str, Any]) -> None:
    imported = report.get("imported")
    if imported:
        render.text(f"imported {len(imported['connections'])} connections and {len(imported['runs'])} runs")
        for name, missing in imported["missing_secrets"].items():
            for key, variable in missing.items():
                render.text(f"  {name}: {key} could not be read; set {variable}, or update the connection")

        for line in imported["skipped"]:
            render.text(f"  left out {line}")

    for finding in report.get("project", ()):
        render.text(f"{finding['path']} ({finding['kind']}): {_WORDS[finding['verdict']]}")
        for key, mark in (("obstacles", "x"), ("needs", "!"), ("notes", "-")):
            for line in finding.get(key, ()):
                render.text(f"  {mark} {line}")
