"""`pfl audit`: who changed keys and endpoints, and whether the log of it is intact."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.clock import iso_utc
from promptflow_lite.cli import render

if TYPE_CHECKING:
    from promptflow_lite.serving.audit_log import AuditLog

_COLUMNS = {
    "seq": lambda item: item["seq"],
    "time": lambda item: iso_utc(item["at"]),
    "who": lambda item: item["actor"],
    "what": lambda item: item["action"],
    "target": lambda item: item["target"],
}


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("audit", help="Who did what").add_subparsers(metavar="<verb>")
    listing = verbs.add_parser("list", help="Print the newest entries")
    listing.add_argument("-r", "--max-results", type=int, default=50)
    listing.add_argument("-o", "--output", choices=("json", "table"))
    listing.set_defaults(handler=_list)

    verify = verbs.add_parser("verify", help="Check that no entry was changed, removed or forged")
    verify.set_defaults(handler=_verify)


def _log() -> AuditLog:
    from promptflow_lite.sdk.client import Client

    return Client().endpoints.audit


def _list(args: Namespace) -> int:
    entries = _log().entries(limit=args.max_results)
    render.records([asdict(entry) for entry in entries], _COLUMNS, output=args.output)
    return 0


def _verify(args: Namespace) -> int:
    render.text(f"The audit log is intact: {_log().verify()} entries.")
    return 0
