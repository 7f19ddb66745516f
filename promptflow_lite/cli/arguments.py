"""Values of command line options: KEY=VALUE lists, files of inputs, environment files, dotted keys."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptflow_lite._utils.jsonable import loads
from promptflow_lite.errors import Location, UsageError

_QUOTES = "\"'"


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has, unless the command uses their names."""
    taken = parser._option_string_actions
    if "--verbose" not in taken:
        parser.add_argument("--verbose", action="store_true", help="Show the log of what happens.")

    if "--debug" not in taken:
        names = ["--debug"] if "-d" in taken else ["-d", "--debug"]
        parser.add_argument(*names, action="store_true", help="Show the traceback of an error.")

    if "--user-agent" not in taken:
        parser.add_argument("--user-agent", help=argparse.SUPPRESS)


def add_yes(parser: argparse.ArgumentParser, help_text: str = "Do not ask.") -> None:
    """Add the option that answers every question with yes."""
    parser.add_argument("-y", "--yes", action="store_true", help=help_text)
    parser.add_argument("--assume-yes", dest="yes", action="store_true", help=argparse.SUPPRESS)


def parse_pairs(items: Sequence[str] | None, option: str) -> dict[str, str]:
    """`["a=1", "b='x y'"]` -> `{"a": "1", "b": "x y"}`; values stay strings.

    Raises:
        UsageError: an item has no `=`.
    """
    pairs: dict[str, str] = {}
    for item in items or ():
        key, equals, value = _unquoted(item).partition("=")
        if not equals or not key:
            raise UsageError(
                f"{option} needs KEY=VALUE, not {item!r}.", hint=f"Usage: {option} KEY=VALUE [KEY=VALUE ...]"
            )

        pairs[key] = _unquoted(value)
    return pairs


def _unquoted(text: str) -> str:
    is_quoted = len(text) >= 2 and text[0] in _QUOTES and text[0] == text[-1]
    return text[1:-1] if is_quoted else text


def nested(pairs: dict[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` -> `{"a": {"b": 1}}`."""
    result: dict[str, Any] = {}
    for dotted, value in pairs.items():
        *parents, last = dotted.split(".")
        section = result
        for parent in parents:
            below = section.setdefault(parent, {})
            if not isinstance(below, dict):
                raise UsageError(f"{dotted!r} does not fit {parent!r}, which has a value of its own.")

            section = below
        section[last] = value
    return result


def parse_inputs(items: Sequence[str] | None, option: str = "--inputs") -> dict[str, Any]:
    """KEY=VALUE pairs, or one path of a `.json` file (an object) or a `.jsonl` file (its first line)."""
    if items and len(items) == 1 and "=" not in items[0] and items[0].endswith((".json", ".jsonl")):
        return _read_inputs(Path(items[0]))

    return dict(parse_pairs(items, option))


def _read_inputs(path: Path) -> dict[str, Any]:
    where = Location(str(path))
    try:
        content = path.read_text("utf-8-sig")
        value = loads(_first_line(content) if path.suffix == ".jsonl" else content)
    except OSError as error:
        raise UsageError(f"The inputs file cannot be read: {error.strerror}.", where=where) from error
    except ValueError as error:
        raise UsageError(f"The inputs file is not valid JSON: {error}.", where=where) from error
    if not isinstance(value, dict):
        raise UsageError("The inputs file must hold an object.", hint='Write {"input": value, …}.', where=where)

    return value


def _first_line(content: str) -> str:
    return next((line for line in content.splitlines() if line.strip()), "")


def parse_environment(items: Sequence[str] | None) -> dict[str, str]:
    """KEY=VALUE pairs and paths of `.env` files; an empty list means the nearest `.env` from here upward."""
    if items is None:
        return {}

    if not items:
        here = Path.cwd()
        nearest = next((f for f in (folder / ".env" for folder in (here, *here.parents)) if f.is_file()), None)
        return read_env_file(nearest) if nearest else {}

    values: dict[str, str] = {}
    for item in items:
        if item.endswith(".env") and "=" not in item:
            values |= read_env_file(Path(item))
        else:
            values |= parse_pairs([item], "--environment-variables")
    return values


def read_env_file(path: Path) -> dict[str, str]:
    """Entries of an `.env` file.

    Raises:
        UsageError: there is no such file.
    """
    from dotenv import dotenv_values

    if not path.is_file():
        raise UsageError("The environment file does not exist.", where=Location(str(path)))

    return {key: value or "" for key, value in dotenv_values(path).items()}


def parse_connections(items: Sequence[str] | None) -> dict[str, dict[str, str]]:
    """`node.connection=name node.deployment_name=x` -> `{"node": {"connection": "name", "deployment_name": "x"}}`."""
    overrides: dict[str, dict[str, str]] = {}
    for dotted, value in parse_pairs(items, "--connections").items():
        node, dot, key = dotted.partition(".")
        if not dot:
            raise UsageError(
                f"--connections needs NODE.KEY=VALUE, not {dotted}={value}.",
                hint="For example: chat.connection=my_conn",
            )

        overrides.setdefault(node, {})[key] = value
    return overrides
