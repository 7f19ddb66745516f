"""`pfl trace`: look at traces of user code and of served requests, and delete them."""

from __future__ import annotations

import argparse
import time
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.clock import epoch_of, iso_utc
from promptflow_lite._utils.text import truncate
from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import add_yes
from promptflow_lite.cli.endpoint import parse_seconds
from promptflow_lite.errors import UsageError

if TYPE_CHECKING:
    from promptflow_lite.sdk.traces import TraceOperations

_COLUMNS = {
    "trace": lambda item: item["trace_id"][:12],
    "collection": lambda item: item["collection"],
    "name": lambda item: item["name"],
    "start": lambda item: iso_utc(item["start_time"]),
    "ms": lambda item: round(item["duration_ms"], 1),
    "state": lambda item: "failed" if item["is_error"] else "ok",
}


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("trace", help="Look at and delete traces").add_subparsers(metavar="<verb>")
    listing = verbs.add_parser("list", help="Print the newest traces")
    listing.add_argument("--collection")
    listing.add_argument("--session")
    listing.add_argument("-r", "--max-results", type=int, default=50)
    listing.add_argument("-o", "--output", choices=("json", "table"))
    listing.set_defaults(handler=_list)

    show = verbs.add_parser("show", help="Print a trace as a tree")
    show.add_argument("trace_id", help="Its id, or the start of it.")
    show.add_argument("-o", "--output", choices=("json", "tree"), default="tree")
    show.set_defaults(handler=_show)

    delete = verbs.add_parser("delete", help="Delete traces")
    delete.add_argument("--older-than", metavar="TIME", help="Only older ones: 7d, 12h.")
    delete.add_argument("--started-before", metavar="TIME", help="Only older ones: 2026-01-31T12:00:00, in UTC.")
    delete.add_argument("--collection")
    delete.add_argument("--run", help=argparse.SUPPRESS)
    add_yes(delete)
    delete.set_defaults(handler=_delete)


def _operations() -> TraceOperations:
    from promptflow_lite.sdk.client import Client

    return Client().traces


def _list(args: Namespace) -> int:
    found = _operations().list(collection=args.collection, session=args.session, limit=args.max_results)
    render.records([asdict(record) for record in found], _COLUMNS, output=args.output)
    return 0


def _show(args: Namespace) -> int:
    found = _operations().get(args.trace_id)
    if not found:
        raise UsageError(f"There is no trace {args.trace_id!r}.", hint="See: pfl trace list")

    for record in found:
        if args.output == "json":
            render.json(asdict(record))
        else:
            _print_tree(record.spans, 0)
    return 0


def _print_tree(span: dict[str, Any], depth: int) -> None:
    ms = ((span.get("end_time") or span["start_time"]) - span["start_time"]) * 1000
    state = f"  ! {span['error'].get('message', '')}" if span.get("error") else ""
    render.text(f"{'  ' * depth}{span['name']}  {span['kind']}  {ms:.1f} ms{state}")
    for name in ("inputs", "output"):
        if span.get(name) is not None:
            render.text(f"{'  ' * depth}  {name}: {truncate(str(span[name]), 100)}")
    for child in span.get("children", ()):
        _print_tree(child, depth + 1)


def _delete(args: Namespace) -> int:
    if args.run:
        raise UsageError(
            f"The traces of a run are kept with its lines, so those of {args.run!r} cannot be deleted alone.",
            hint="Delete the run: pfl run delete --name NAME",
        )

    before = _time_limit(args)
    if not args.yes and not render.confirm("Delete these traces?"):
        render.note("Nothing was deleted.")
        return 1

    render.note(f"{_operations().delete(before=before, collection=args.collection)} traces deleted.")
    return 0


def _time_limit(args: Namespace) -> float | None:
    """The moment before which traces started that are deleted; None for all."""
    if not args.started_before:
        return time.time() - parse_seconds(args.older_than) if args.older_than else None

    try:
        return epoch_of(args.started_before)
    except ValueError as error:
        raise UsageError(
            f"--started-before {args.started_before!r} is no time.", hint="Write it like 2026-01-31T12:00:00."
        ) from error
