"""Runs that end before their time: killed, interrupted, out of disk. No finished line is lost or doubled."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promptflow_lite.records import Status
from promptflow_lite.sdk.client import Client

_N_LINES = 4000
_PFL = [sys.executable, "-m", "promptflow_lite.cli.main"]
_FLOW = """\
inputs:
  text: {type: string}
outputs:
  out: {type: string, reference: "${shout.output}"}
nodes:
- name: shout
  type: python
  source: {type: code, path: shout.py}
  inputs: {text: "${inputs.text}"}
"""
_SLOW_CODE = """\
import time
from promptflow.core import tool

@tool
def shout(text: str) -> str:
    time.sleep(0.02)
    return text.upper()
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    folder = tmp_path / "flow"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(_FLOW)
    (folder / "shout.py").write_text(_SLOW_CODE.replace("    time.sleep(0.02)\n", ""))
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": f"row {n}"}) + "\n" for n in range(_N_LINES)))
    return folder


def create(flow: Path, name: str) -> subprocess.Popen[str]:
    command = [*_PFL, "run", "create", "--flow", flow, "--data", flow / "rows.jsonl", "--name", name]
    command += ["--column-mapping", "text=${data.text}"]
    # Somebody who runs the tests in the background has children that ignore interrupts.
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def assert_complete(client: Client, name: str) -> None:
    run = client.runs.get(name)
    lines = list(client.runs.lines(name))
    assert [line.line_number for line in lines] == list(range(_N_LINES))
    assert all(line.output == {"out": f"ROW {line.line_number}"} for line in lines)
    assert (run.status, run.completed_lines, run.failed_lines) == (Status.COMPLETED, _N_LINES, 0)


def wait_for_lines(home: Path, count: int) -> None:
    """Until a run of this state folder has recorded so many lines."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with sqlite3.connect(f"file:{home / 'pfl.sqlite'}?mode=ro", uri=True) as database:
                found = database.execute("SELECT count(*) FROM lines").fetchone()[0]
            database.close()
        except sqlite3.OperationalError:
            found = 0
        if found >= count:
            return

        time.sleep(0.02)
    raise AssertionError("The run recorded nothing")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_runs_lose_no_line_and_double_none(flow: Path, home: Path) -> None:
    (flow / "shout.py").write_text(_SLOW_CODE.replace("0.02", "0.0002"))
    started = time.monotonic()
    create(flow, "whole").communicate()
    whole_s = time.monotonic() - started
    n_interrupted = 0
    for attempt in range(20):
        name = f"killed{attempt}"
        child = create(flow, name)
        time.sleep(random.uniform(0.3, 0.95) * whole_s)

        child.kill()
        child.communicate()

        with sqlite3.connect(home / "pfl.sqlite") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        with Client() as client:
            if not client.store.runs.exists(name):
                continue

            run = client.runs.get(name)
            assert run.status in (Status.FAILED, Status.COMPLETED)
            assert run.completed_lines == len(client.store.runs.completed_line_numbers(name))
            n_interrupted += run.status is Status.FAILED
            if attempt % 2:
                client.runs.resume(name)
                assert_complete(client, name)
            else:
                client.runs.resume_from(name, name=f"{name}_again")
                assert_complete(client, f"{name}_again")
    assert n_interrupted >= 5


def test_interrupt_keeps_finished_lines_and_can_be_resumed(flow: Path, home: Path) -> None:
    (flow / "shout.py").write_text(_SLOW_CODE)
    child = create(flow, "stopped")
    wait_for_lines(home, 1)

    child.send_signal(signal.SIGINT)
    _, messages = child.communicate(timeout=30)

    assert child.returncode == 130
    assert "Traceback" not in messages
    with Client() as client:
        run = client.runs.get("stopped")
        assert run.status is Status.CANCELED
        assert run.error is not None
        assert run.error["errorCode"] == "run.canceled"
        assert 0 < run.completed_lines < _N_LINES
        (flow / "shout.py").write_text(_SLOW_CODE.replace("    time.sleep(0.02)\n", ""))
        client.runs.resume("stopped")
        assert_complete(client, "stopped")


def test_cancel_from_another_process_stops_the_run(flow: Path, home: Path) -> None:
    (flow / "shout.py").write_text(_SLOW_CODE)
    child = create(flow, "stopped")
    wait_for_lines(home, 1)

    with Client() as client:
        client.store.runs.request_cancel("stopped")
        child.communicate(timeout=30)

        assert child.returncode == 1
        assert client.runs.get("stopped").status is Status.CANCELED


def test_run_that_fills_the_disk_says_so_and_can_be_resumed(flow: Path, home: Path) -> None:
    program = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
from promptflow_lite.cli.main import main
sys.exit(main(["run", "create", "--flow", {str(flow)!r}, "--data", {str(flow / "rows.jsonl")!r}, "--name", "full"]))
"""

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)

    assert ended.returncode == 1
    assert "Check the disk" in ended.stderr
    assert "Traceback" not in ended.stderr
    with Client() as client:
        run = client.runs.get("full")
        assert run.status is Status.FAILED
        assert run.error is not None
        assert run.error["errorCode"] in ("store.full", "run.interrupted")
        assert run.completed_lines == len(client.store.runs.completed_line_numbers("full"))
        client.runs.resume("full")
        assert_complete(client, "full")


def test_state_folder_that_cannot_be_read_is_explained(flow: Path, home: Path) -> None:
    (home / "pfl.sqlite").mkdir()

    child = create(flow, "nowhere")
    _, messages = child.communicate(timeout=30)

    assert child.returncode == 1
    assert "code: store.read_only" in messages
    assert "Traceback" not in messages
