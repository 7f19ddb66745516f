"""`pfl run diff`: what differs between two runs."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from promptflow_lite.cli import render


def register_diff(verbs: Any) -> None:
    """Add `diff` to the verbs of `pfl run`."""
    parser = verbs.add_parser(
        "diff",
        help="Say what differs between two runs: flow files, variant, data, models, settings",
        description="Compare what two runs executed, not what they answered (that is `pfl run compare`).",
        epilog="Example: pfl run diff base new",
    )
    parser.add_argument("first", metavar="RUN")
    parser.add_argument("second", metavar="RUN")
    parser.add_argument("-o", "--output", choices=("json", "table"), help="Form of the list.")
    parser.set_defaults(handler=_diff)


def _diff(args: Namespace) -> int:
    from promptflow_lite.sdk.client import Client
    from promptflow_lite.sdk.run_diff import diff_runs

    client = Client()
    differences = diff_runs(client.runs.get(args.first), client.runs.get(args.second))
    as_json = args.output == "json" or (args.output is None and not render.is_terminal())
    if as_json:
        render.json([asdict(item) for item in differences])
        return 0

    if not differences:
        render.note("Nothing differs that was recorded.")
        return 0

    render.table(([item.what, item.first, item.second] for item in differences), ["what", args.first, args.second])
    for item in differences:
        if item.patch:
            render.text(item.patch)
    return 0
