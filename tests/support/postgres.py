"""A PostgreSQL server for tests, from the programs that the system's package installs."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SERVER_FOLDERS = "/usr/lib/postgresql"


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server on a free loopback port, in a temporary folder; gives its URL."""
    folder = Path(tempfile.mkdtemp(prefix="pfl-postgres-", dir="/tmp"))
    user = _unprivileged_user()
    if user:
        shutil.chown(folder, user)
    port = _free_port()
    data = folder / "data"
    try:
        _run(user, _program("initdb"), "-D", data, "-U", "tester", "-A", "trust", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        _run(user, _program("pg_ctl"), "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            _run(user, _program("pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def _program(name: str) -> str:
    """The newest of the installed versions, else whatever is on the path."""
    versions = sorted(Path(_SERVER_FOLDERS).glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(versions[-1]) if versions else name


def _unprivileged_user() -> str | None:
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return None

    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"


def _run(user: str | None, *command: str | Path) -> None:
    subprocess.run(
        [*map(str, command)],
        user=user,
        check=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=50,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
