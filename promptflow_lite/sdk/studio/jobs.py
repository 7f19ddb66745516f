"""Long work that the studio hands to a process of its own, and the file in which that process notes how it goes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.settings import home

STARTUP_S = 20.0
_KEPT_S = 7 * 86400.0

_started: dict[str, subprocess.Popen[bytes]] = {}
"""Processes of this studio by job; kept to be waited for when they end."""


@dataclass(slots=True)
class Job:
    """Work that was handed to a process."""

    id: str
    kind: str
    """`grid`, `resume`, `pull` or `bench`."""
    names: list[str]
    """What it makes: runs, or a model; runs that do not exist yet are queued."""
    pid: int
    started: float
    request: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    """What the process said so far."""
    error: dict[str, Any] | None = None
    stopped: str = ""
    """`paused` or `cancelled` when it was stopped before its end."""
    is_finished: bool = False


def start_job(kind: str, names: Sequence[str], request: Mapping[str, Any]) -> Job:
    """Hand work to a new process and return at once."""
    _forget_old()
    path = _folder() / f"{uuid.uuid4().hex}.json"
    job = Job(path.stem, kind, list(names), 0, time.time(), dict(request))
    write_job(path, job)
    with path.with_suffix(".log").open("wb") as log:
        process = _started[job.id] = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "promptflow_lite.sdk.studio.job_child", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    job.pid = process.pid
    return job


def write_job(path: Path, job: Job) -> None:
    """Replace a job's file, so that a reader never sees half of it."""
    part = path.with_suffix(".part")
    part.write_text(dumps({name: getattr(job, name) for name in _FIELDS}), encoding="utf-8")
    part.replace(path)


def read_job(path: Path) -> Job | None:
    """The job of a file; None when there is none, or it is of another version."""
    try:
        return Job(path.stem, **loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def studio_jobs(*kinds: str, within_s: float = _KEPT_S) -> list[Job]:
    """Jobs of these kinds (of all without any), the newest first."""
    found = (read_job(path) for path in _folder().glob("*.json"))
    oldest = time.time() - within_s
    wanted = [job for job in found if job and job.started >= oldest and (not kinds or job.kind in kinds)]
    return sorted(wanted, key=lambda job: -job.started)


def is_alive(job: Job) -> bool:
    """Whether the job's process still runs."""
    if job.is_finished:
        return False

    if job.id in _started:
        return _started[job.id].poll() is None

    if job.pid == 0:  # the process has not yet written down who it is
        return time.time() - job.started < STARTUP_S

    try:
        os.kill(job.pid, 0)
    except OSError:
        return False

    return True


def pause_job(job: Job) -> None:
    """Stop the job's process so that the job can go on later; what it made so far stays."""
    _signal(job, signal.SIGTERM)


def cancel_job(job: Job) -> None:
    """Stop the job's process for good; what it made so far stays."""
    _signal(job, signal.SIGINT)


def _signal(job: Job, number: signal.Signals) -> None:
    if job.pid and is_alive(job):
        with contextlib.suppress(OSError):
            os.kill(job.pid, number)


_FIELDS = tuple(name for name in Job.__slots__ if name != "id")


def _folder() -> Path:
    folder = home() / "studio" / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _forget_old() -> None:
    for path in _folder().iterdir():
        if path.stat().st_mtime < time.time() - _KEPT_S:
            path.unlink(missing_ok=True)
