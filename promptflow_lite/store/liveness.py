"""Whether the process that executes a run still lives, told apart from a stranger that got its pid again."""

from __future__ import annotations

import os
import socket
import time
from functools import cache
from pathlib import Path

_STALE_HEARTBEAT_S = 600.0
"""A run on another machine counts as dead after this silence."""


def process_identity(pid: int) -> str:
    """Machine, boot, pid and start time of a process, as one text."""
    return f"{socket.gethostname()}|{_boot_id()}|{pid}|{_start_ticks(pid)}"


def is_alive(identity: str | None, heartbeat: float | None) -> bool:
    """Whether the identified process still runs. Unknown processes count as alive while their heartbeat is fresh."""
    if identity is None:
        return True

    host, boot, pid, ticks = identity.split("|")
    if host != socket.gethostname():
        return heartbeat is not None and time.time() - heartbeat < _STALE_HEARTBEAT_S

    return boot == _boot_id() and _exists(int(pid)) and _start_ticks(int(pid)) == ticks


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"


def _start_ticks(pid: int) -> str:
    """Start time of a process in kernel ticks; `0` where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return "0"

    # The command name is in parentheses and may contain spaces; field 22 counts from before it.
    fields = stat.rpartition(")")[2].split()
    return "dead" if fields[0] == "Z" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
