"""Pages of `docs/` that are generated from the code: run this file to write them; a test compares them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from promptflow_lite import errors
from promptflow_lite.cli.main import build_parser

DOCS = Path(__file__).parents[2] / "docs"
_WRITTEN_BY = "<!-- Generated from the code by `make docs`; edits are lost. -->\n"


def errors_page() -> str:
    """Every error class with its code."""
    lines = [
        "# Errors",
        "",
        _WRITTEN_BY,
        "Every error has a stable code, shown in the terminal after `code:` and kept in error records as `errorCode`.",
        "Classes below share the code of the line; user code may catch them by name from `promptflow_lite.errors`.",
        "",
        "| code | class | what it says |",
        "|---|---|---|",
    ]
    lines += sorted(f"| `{cls.code}` | `{cls.__name__}` | {_first_line(cls)} |" for cls in error_classes())
    return "\n".join(lines) + "\n"


def error_classes() -> list[type[errors.PromptflowException]]:
    """All classes of the tree, by name."""
    found = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.PromptflowException)]
    return sorted(found, key=lambda cls: cls.__name__)


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0].replace("|", "\\|")


def cli_page() -> str:
    """Every command with its options."""
    lines = [
        "# Command line",
        "",
        _WRITTEN_BY,
        "Every command takes `--help`, `--verbose` and `-d`/`--debug`. Long options may be shortened while they stay",
        "unambiguous. Exit codes: 0 fine, 1 failed (also when lines of a run failed), 2 wrong usage, 130 interrupted.",
        "",
    ]
    for parser in _commands(build_parser()):
        lines += _section(parser)
    return "\n".join(lines).rstrip() + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser

    for action in below:
        for child in dict.fromkeys(action.choices.values()):
            yield from _commands(child)


def _section(parser: argparse.ArgumentParser) -> list[str]:
    lines = [f"## {parser.prog}", ""]
    about = parser.description or _help_of(parser)
    if about:
        lines += [about.strip(), ""]

    shown = [action for action in parser._actions if not _is_common(action) and action.help != argparse.SUPPRESS]
    if shown:
        lines += ["| option | meaning |", "|---|---|", *(_option(parser, action) for action in shown), ""]

    if parser.epilog:
        lines += ["```text", parser.epilog.strip(), "```", ""]

    return lines


def _help_of(parser: argparse.ArgumentParser) -> str:
    """What the parent says about a command that describes nothing itself."""
    *parents, name = parser.prog.split()
    current = build_parser()
    for part in parents[1:]:
        current = _choices(current)[part]
    for action in current._actions:
        if isinstance(action, argparse._SubParsersAction):
            return next((choice.help or "" for choice in action._choices_actions if choice.dest == name), "")
    return ""


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(dict(a.choices) for a in parser._actions if isinstance(a, argparse._SubParsersAction))


def _is_common(action: argparse.Action) -> bool:
    return bool({"--help", "--verbose", "--debug", "--user-agent"} & set(action.option_strings))


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    name = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar or action.dest}`"
    if action.option_strings and action.nargs != 0:
        name += f" {_value(action)}"

    meaning = (action.help or "") % {"default": action.default, "prog": parser.prog, "dest": action.dest}
    notes = "required" if action.required and action.option_strings else ""
    return f"| {name} | {meaning}{f' ({notes})' if notes else ''} |".replace("\n", " ").replace("  ", " ")


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return " \\| ".join(f"`{choice}`" for choice in action.choices)

    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return f"{metavar} …" if action.nargs in ("+", "*") else metavar


PAGES = {"errors.md": errors_page, "cli.md": cli_page}


if __name__ == "__main__":
    for file_name, page in PAGES.items():
        (DOCS / file_name).write_text(page(), "utf-8")
