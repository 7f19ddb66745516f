"""`pfl experiment`: run several flows in sequence."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from typing import Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_inputs
from promptflow_lite.errors import UsageError


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("experiment", help="Run several flows in sequence").add_subparsers(metavar="<verb>")

    create = verbs.add_parser("create", help="Remember a template under a name")
    create.add_argument("--template", required=True, metavar="FILE", help="The *.exp.yaml file.")
    create.add_argument("-n", "--name", help="Name of the experiment.")
    create.set_defaults(handler=_create)

    verbs.add_parser("list", help="List experiments, newest first").set_defaults(handler=_list)

    show = verbs.add_parser("show", help="Print an experiment and its runs")
    show.add_argument("-n", "--name", required=True, help="Name of the experiment.")
    show.set_defaults(handler=_show)

    start = verbs.add_parser(
        "start",
        help="Run every node over all rows",
        description="Run every node over all rows, in the order of their references. A node whose code, data and "
        "inputs are unchanged keeps its earlier run.",
        epilog="Example: pfl experiment start --template basic.exp.yaml --name basic --inputs count=3",
    )
    start.add_argument("-n", "--name", help="Name of the experiment.")
    start.add_argument("--template", metavar="FILE", help="The *.exp.yaml file of a new experiment.")
    start.add_argument("--inputs", nargs="+", metavar="KEY=VALUE", help="Values of the experiment's inputs.")
    start.add_argument("--stream", action="store_true", help="Accepted; the command waits for the end anyway.")
    start.set_defaults(handler=_start)

    stop = verbs.add_parser("stop", help="Stop a running experiment")
    stop.add_argument("-n", "--name", required=True, help="Name of the experiment.")
    stop.set_defaults(handler=_stop)

    test = verbs.add_parser("test", help="Run every node on the first row")
    test.add_argument("--template", required=True, metavar="FILE", help="The *.exp.yaml file.")
    test.add_argument("--inputs", nargs="+", metavar="KEY=VALUE", help="Values of the experiment's inputs.")
    test.add_argument("--detail", metavar="FOLDER", help="Accepted; outputs are printed.")
    test.set_defaults(handler=_test)


def _operations() -> Any:
    from promptflow_lite.sdk.client import Client

    return Client().experiments


def _create(args: Namespace) -> int:
    render.json(dataclasses.asdict(_operations().create(args.template, args.name)))
    return 0


def _list(_: Namespace) -> int:
    render.json([dataclasses.asdict(state) for state in _operations().list()])
    return 0


def _show(args: Namespace) -> int:
    render.json(dataclasses.asdict(_operations().get(args.name)))
    return 0


def _start(args: Namespace) -> int:
    if not args.name and not args.template:
        raise UsageError("Name the experiment with --name, or give its file with --template.")

    operations = _operations()
    name = args.name
    if args.template:
        known = [state.name for state in operations.list()]
        name = args.name if args.name in known else operations.create(args.template, args.name).name
    render.json(dataclasses.asdict(operations.start(name, parse_inputs(args.inputs))))
    return 0


def _stop(args: Namespace) -> int:
    render.json(dataclasses.asdict(_operations().stop(args.name)))
    return 0


def _test(args: Namespace) -> int:
    render.json(_operations().test(args.template, parse_inputs(args.inputs)))
    return 0
