"""The process that does a job of the studio: runs go to the store, progress and errors to the job's file."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promptflow_lite.errors import SDKError, error_to_dict
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.studio.batch import plan_from_data, run_plan
from promptflow_lite.sdk.studio.jobs import Job, read_job, write_job

_NOTE_INTERVAL_S = 0.3

Note = Callable[..., None]


class _PauseRequest(KeyboardInterrupt):
    """Whatever runs winds down as after Ctrl-C."""


def _pause(*_: object) -> None:
    raise _PauseRequest


def main(path: Path) -> None:
    """Do the job of a file and note there how it goes and how it ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored by whoever started the studio
    signal.signal(signal.SIGTERM, _pause)
    job = read_job(path)
    if job is None:
        raise SystemExit(f"{path} holds no job")

    job.pid = os.getpid()
    write_job(path, job)

    def note(**facts: Any) -> None:
        job.progress.update(facts)
        write_job(path, job)

    try:
        with Client() as client:
            _KINDS[job.kind](client, job, note)
    except KeyboardInterrupt as stop:
        job.stopped = "paused" if isinstance(stop, _PauseRequest) else "cancelled"
    except Exception as error:  # it becomes what the studio shows
        job.error = error_to_dict(error)
    finally:
        job.is_finished = True
        write_job(path, job)


def _grid(client: Client, job: Job, note: Note) -> None:
    plan = plan_from_data(job.request["plan"])
    result = run_plan(client, plan, is_resumed=job.request["is_resumed"], announce=lambda cell: note(cell=cell))
    note(node_runs=result.node_runs, shared=result.shared, model_calls=result.model_calls)


def _resume(client: Client, job: Job, note: Note) -> None:
    client.runs.resume_with_evaluations(job.request["run"])


def _pull(client: Client, job: Job, note: Note) -> None:
    noted = 0.0

    def report(done: int, total: int | None) -> None:
        nonlocal noted
        if time.monotonic() - noted > _NOTE_INTERVAL_S:
            noted = time.monotonic()
            note(done=done, total=total)

    card = client.models.pull(**job.request, report=report)
    note(name=card.name, done=card.size_bytes, total=card.size_bytes)


def _bench(client: Client, job: Job, note: Note) -> None:
    measured: list[dict[str, Any]] = []
    for row in client.models.bench(job.request["model"], batch_sizes=job.request["rows"]):
        measured.append(row)
        note(measured=measured)
    if not measured:
        raise SDKError("Nothing was measured.", hint="Name at least one number of rows.")


_KINDS: dict[str, Callable[[Client, Job, Note], None]] = {
    "grid": _grid,
    "resume": _resume,
    "pull": _pull,
    "bench": _bench,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
