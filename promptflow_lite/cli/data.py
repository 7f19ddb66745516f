"""`pfl data`: data sets with a name and versions; samples, splits, differences, leaks."""

from __future__ import annotations

import datetime as dt
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_pairs
from promptflow_lite.errors import UsageError

if TYPE_CHECKING:
    from promptflow_lite.sdk.datasets import DatasetOperations, DatasetVersion

_COLUMNS = {
    "name": lambda item: item["name"],
    "version": lambda item: item["version"],
    "rows": lambda item: item["rows"],
    "columns": lambda item: ", ".join(item["columns"]),
    "created": lambda item: dt.datetime.fromtimestamp(item["created_on"], dt.UTC).strftime("%Y-%m-%d %H:%M"),
    "source": lambda item: item["source"],
}


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser(
        "data",
        help="Look at data files and data sets",
        description="Data sets are rows under a name. Every version is kept by its content; a set is named NAME for "
        "the newest version or NAME@VERSION. Use one in a run: --data $(pfl data path NAME).",
    ).add_subparsers(metavar="<verb>")
    _register_keeping(verbs)
    _register_looking(verbs)
    _register_making(verbs)


def _register_keeping(verbs: Any) -> None:
    parser = verbs.add_parser("import", help="Keep a data file as a set")
    parser.add_argument("file", help="jsonl, csv, tsv, json or parquet")
    parser.add_argument("-n", "--name", help="Default: the file's name.")
    parser.set_defaults(handler=_import)

    parser = verbs.add_parser(
        "from-run",
        help="Make a test set of a run's rows that failed or scored badly",
        epilog="Example: pfl data from-run base --name hard --metric correct",
    )
    parser.add_argument("run")
    parser.add_argument("-n", "--name", required=True)
    parser.add_argument("--metric", help="Keep rows that score below the best (or below --below).")
    parser.add_argument("--below", type=float)
    parser.add_argument("--failed", action="store_true", help="Keep rows without an output only.")
    parser.set_defaults(handler=_from_run)


def _register_looking(verbs: Any) -> None:
    parser = verbs.add_parser("list", help="List sets")
    parser.add_argument("-o", "--output", choices=("json", "table"))
    parser.set_defaults(handler=_list)

    parser = verbs.add_parser("show", help="Show a set's versions and its first rows")
    parser.add_argument("name")
    parser.add_argument("-r", "--max-results", type=int, default=5)
    parser.set_defaults(handler=_show)

    parser = verbs.add_parser("path", help="Print the file of a set, to use as --data")
    parser.add_argument("name")
    parser.set_defaults(handler=_path)

    parser = verbs.add_parser("diff", help="Rows that one set or file has and the other lacks")
    parser.add_argument("before")
    parser.add_argument("after")
    parser.set_defaults(handler=_diff)

    parser = verbs.add_parser(
        "check",
        help="Find duplicates, and rows that leak from few-shot examples",
        epilog="Example: pfl data check test --column text --examples flows/sentiment/six_shot.jinja2",
    )
    parser.add_argument("name")
    parser.add_argument("--column", required=True, help="Column with the text.")
    parser.add_argument("--examples", help="A set, a data file, or a prompt template with the examples.")
    parser.add_argument("--near", type=float, default=0.9, help="Similarity that counts as the same (default: 0.9).")
    parser.set_defaults(handler=_check)


def _register_making(verbs: Any) -> None:
    parser = verbs.add_parser("sample", help="Keep a random sample as a set")
    parser.add_argument("name")
    parser.add_argument("-k", "--rows", type=int, required=True)
    parser.add_argument("--by", metavar="COLUMN", help="Every value of the column keeps its share.")
    parser.add_argument("--to", help="Name of the new set.")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=_sample)

    parser = verbs.add_parser(
        "split",
        help="Split a set into parts",
        epilog="Example: pfl data split reviews train=0.5 validation=0.2 test=0.3",
    )
    parser.add_argument("name")
    parser.add_argument("parts", nargs="+", metavar="PART=SHARE")
    parser.add_argument("--by", metavar="COLUMN", help="Every value of the column keeps its share in every part.")
    parser.add_argument("--group", metavar="COLUMN", help="Rows with the same value stay together.")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(handler=_split)


def _operations() -> DatasetOperations:
    from promptflow_lite.sdk.client import Client

    return Client().datasets


def _print(version: DatasetVersion) -> int:
    from dataclasses import asdict

    render.json(asdict(version))
    return 0


def _import(args: Namespace) -> int:
    return _print(_operations().import_file(args.file, args.name))


def _from_run(args: Namespace) -> int:
    operations = _operations()
    made = operations.from_run(args.run, args.name, metric=args.metric, below=args.below, only_failed=args.failed)
    return _print(made)


def _list(args: Namespace) -> int:
    from dataclasses import asdict

    render.records([asdict(item) for item in _operations().list()], _COLUMNS, output=args.output)
    return 0


def _show(args: Namespace) -> int:
    from dataclasses import asdict

    operations = _operations()
    name = args.name.partition("@")[0]
    render.json(
        {
            "versions": [asdict(item) for item in operations.versions(name)],
            "first_rows": operations.rows(args.name)[: args.max_results],
        }
    )
    return 0


def _path(args: Namespace) -> int:
    render.text(str(_operations().path(args.name)))
    return 0


def _diff(args: Namespace) -> int:
    found = _operations().diff(args.before, args.after)
    render.json({"same": found.n_same, "added": found.added, "removed": found.removed})
    return 0


def _check(args: Namespace) -> int:
    operations = _operations()
    repeated = operations.duplicates(args.name, column=args.column, near=args.near)
    leaked = operations.leaks(args.examples, args.name, column=args.column, near=args.near) if args.examples else []
    texts = [str(row.get(args.column, "")) for row in operations.rows(args.name)]
    for match in repeated:
        render.text(f"row {match.right} repeats row {match.left} ({match.similarity:.0%}): {texts[match.right][:80]}")

    for match in leaked:
        render.text(f"row {match.right} is among the examples ({match.similarity:.0%}): {texts[match.right][:80]}")

    render.text(f"{len(texts)} rows, {len(repeated)} duplicates, {len(leaked)} leaks")
    return 1 if repeated or leaked else 0


def _sample(args: Namespace) -> int:
    return _print(_operations().sample(args.name, args.rows, name=args.to, by=args.by, seed=args.seed))


def _split(args: Namespace) -> int:
    try:
        shares = {name: float(share) for name, share in parse_pairs(args.parts, "data split").items()}
    except ValueError as error:
        raise UsageError("The share of a part is a number.", hint="For example: train=0.7 test=0.3") from error

    for version in _operations().split(args.name, shares, by=args.by, group=args.group, seed=args.seed).values():
        _print(version)

    return 0
