"""`pfl cache`: look at and clear cached node outputs."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from typing import Any

from promptflow_lite.cli import render


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("cache", help="Look at and clear cached node outputs").add_subparsers(metavar="<verb>")

    show = verbs.add_parser(
        "show",
        help="Count cached outputs",
        description="Count the cached outputs of nodes with `enable_cache: true`, by node.",
        epilog="Example: pfl cache show --entries",
    )
    show.add_argument("--entries", action="store_true", help="List every entry.")
    show.set_defaults(handler=_show)

    clear = verbs.add_parser("clear", help="Remove cached outputs", epilog="Example: pfl cache clear --node summarize")
    clear.add_argument("--node", help="Only those of nodes with this name.")
    clear.set_defaults(handler=_clear)


def _show(args: Namespace) -> int:
    from promptflow_lite.runtime.cache import NodeCache

    cache = NodeCache()
    entries = list(cache.entries())
    report: dict[str, Any] = {
        "folder": str(cache.folder),
        "entries": len(entries),
        "size_bytes": sum(entry.size_bytes for entry in entries),
        "nodes": dict(Counter(entry.node for entry in entries)),
    }
    if args.entries:
        report["list"] = [
            {"key": entry.key, "node": entry.node, "tool": entry.tool, "size_bytes": entry.size_bytes}
            for entry in entries
        ]
    render.json(report)
    return 0


def _clear(args: Namespace) -> int:
    from promptflow_lite.runtime.cache import NodeCache

    render.json({"removed": NodeCache().clear(args.node)})
    return 0
