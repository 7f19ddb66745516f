"""The process around a running flow: its working directory and its environment variables (contract 1.6)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from promptflow_lite.connections import ConnectionSource
from promptflow_lite.errors import ConnectionNotFoundError
from promptflow_lite.settings import set_env

_CONNECTION_KEY = re.compile(r"^\$\{([^.]+)\.([^}]+)}$")


def resolve_environment(
    declared: Mapping[str, str], given: Mapping[str, str], connections: ConnectionSource
) -> dict[str, str]:
    """Environment variables of a run: those given for it over those the flow declares.

    `${connection.key}` becomes that connection's value.

    Raises:
        ConnectionNotFoundError: a variable that the flow declares names an unknown connection.
    """
    resolved = {}
    for name, value in {**declared, **given}.items():
        resolved[name] = _resolve(value, connections, is_required=name in declared)
    return resolved


def _resolve(value: str, connections: ConnectionSource, *, is_required: bool) -> str:
    match = _CONNECTION_KEY.match(value)
    if match is None or match.group(1) == "env":
        return value

    try:
        return str(connections.get(match.group(1))[match.group(2)])
    except (ConnectionNotFoundError, KeyError):
        if is_required:
            raise

        return value


@contextmanager
def flow_process(root: Path, environment: Mapping[str, str], *, overwrite: bool = True) -> Iterator[None]:
    """Run with a flow's working directory and environment variables.

    The directory is restored afterwards; variables stay, as user code may have read them for good.

    Thread: changes the whole process; one flow at a time.
    """
    set_env(environment, overwrite=overwrite)
    previous = Path.cwd()
    os.chdir(root)
    try:
        yield
    finally:
        os.chdir(previous)
