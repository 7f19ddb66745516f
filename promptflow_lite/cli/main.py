"""The `pfl` command: finds the group that is asked for, runs its handler, and turns errors into exit codes.

Only the group in use is imported, so that every command starts quickly. A group is a module of this package with
`register(subparsers)`; its handlers take the parsed namespace and return an exit code.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from promptflow_lite import __version__
from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import add_common
from promptflow_lite.cli.logs import configure_logging
from promptflow_lite.cli.replaced import replaced_command
from promptflow_lite.errors import UsageError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 0, 1, 2, 130, 141

GROUPS: dict[str, str] = {
    "flow": "Create, test, validate and build flows",
    "run": "Run a flow over many rows; look at, compare and export runs",
    "eval": "Evaluate runs and outputs",
    "data": "Look at data files and data sets",
    "connection": "Keep endpoints and their keys",
    "config": "Keep settings",
    "model": "Local models: list, download, try",
    "serve": "Serve a flow over HTTP",
    "endpoint": "Served flows and their versions",
    "monitor": "Watch served flows",
    "gate": "Pass or fail a change on its evaluation",
    "annotate": "Label outputs by hand",
    "tune": "Search for better prompts",
    "experiment": "Run several flows in sequence",
    "trace": "Look at and delete traces",
    "tool": "Make and list tools",
    "cache": "Look at and clear cached node outputs",
    "schema": "JSON schemas of the file formats",
    "migrate": "Move projects of prompt flow here",
    "audit": "Who did what",
    "mcp": "Serve flows as tools of a model",
    "ui": "Open the studio in a browser",
    "doctor": "Check this installation",
    "completion": "Shell completion",
    "version": "Show the version",
}
"""Group -> what top-level help says about it; the module has the group's name."""

_DESCRIPTION = "Author, run, compare, evaluate and serve prompt flows on one machine, offline."
_EPILOG = """\
start here:
  pfl flow init --flow my_flow            make a flow
  pfl flow test --flow my_flow            run it once
  pfl run create --flow my_flow --data rows.jsonl --name base
  pfl run show-details --name base        what every row produced
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 fine, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    render.use_utf8()
    replaced = replaced_command(arguments)
    if replaced is not None:
        render.error("pfl", replaced, debug=False)
        return EXIT_USAGE

    try:
        namespace = build_parser(_asked_group(arguments)).parse_args(arguments)
    except SystemExit as stop:  # argparse ends this way after --help and after wrong usage
        return _exit_code(stop)

    try:
        code = _run(namespace)
        sys.stdout.flush()
    except BrokenPipeError:
        render.silence_stdout()
        return EXIT_BROKEN_PIPE
    return code


def _run(namespace: argparse.Namespace) -> int:
    handler: Callable[[argparse.Namespace], int | None] = namespace.handler
    debug = bool(getattr(namespace, "debug", False))
    try:
        configure_logging(verbose=bool(getattr(namespace, "verbose", False)), debug=debug)
        return handler(namespace) or EXIT_OK
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        render.note("\nInterrupted.")
        return EXIT_INTERRUPTED
    except UsageError as error:
        render.error(namespace.activity, error, debug=debug)
        return EXIT_USAGE
    except SystemExit as stop:
        return _exit_code(stop)
    except Exception as error:  # the one place where an error becomes a message
        render.error(namespace.activity, error, debug=debug)
        return EXIT_FAILED


def _exit_code(stop: SystemExit) -> int:
    return stop.code if isinstance(stop.code, int) else EXIT_OK if stop.code is None else EXIT_FAILED


def build_parser(group: str | None = None) -> argparse.ArgumentParser:
    """The parser with one group complete and the others by name only, or, without a group, with all complete."""
    parser = argparse.ArgumentParser(
        prog="pfl",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-v", "--version", action="store_true", help="Show the version and exit.")
    parser.set_defaults(handler=lambda namespace: _show_version() if namespace.version else _show_help(parser))
    groups = parser.add_subparsers(title="commands", metavar="<command>")
    for name, summary in GROUPS.items():
        if group not in (None, name):
            if _exists(name):
                groups.add_parser(name, help=summary)
        elif name in _OWN_GROUPS:
            _OWN_GROUPS[name](groups)
        elif _exists(name):
            importlib.import_module(f"promptflow_lite.cli.{name}").register(groups)
    for leaf in _all_parsers(groups):
        _complete(leaf)
    return parser


def _asked_group(arguments: Sequence[str]) -> str:
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _exists(group: str) -> bool:
    return group in _OWN_GROUPS or importlib.util.find_spec(f"promptflow_lite.cli.{group}") is not None


def _all_parsers(groups: Any) -> Iterator[argparse.ArgumentParser]:
    for parser in dict.fromkeys(groups.choices.values()):
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from _all_parsers(action)


def _complete(parser: argparse.ArgumentParser) -> None:
    """Give a parser what all have: common options, the name for error messages, and help when a verb is missing."""
    add_common(parser)
    parser.set_defaults(activity=parser.prog.replace(" ", "."))
    if parser.get_default("handler") is None:
        parser.set_defaults(handler=lambda _: _show_help(parser, EXIT_USAGE))


def _show_help(parser: argparse.ArgumentParser, code: int = EXIT_OK) -> int:
    render.text(parser.format_help(), end="")
    return code


def _show_version(_: argparse.Namespace | None = None) -> int:
    render.json({"promptflow-lite": __version__})
    return EXIT_OK


def _register_version(groups: Any) -> None:
    groups.add_parser("version", help=GROUPS["version"]).set_defaults(handler=_show_version)


_OWN_GROUPS: dict[str, Callable[[Any], None]] = {"version": _register_version}


if __name__ == "__main__":
    sys.exit(main())
