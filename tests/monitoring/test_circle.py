"""The documented way from served traffic to a better flow, run as it is written."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "circle.sh"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_whole_circle_closes(tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    pfl = commands / "pfl"
    pfl.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m promptflow_lite.cli.main "$@"\n')
    pfl.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shell = shutil.which("sh")
    assert shell is not None

    done = subprocess.run(
        [shell, str(SCRIPT), str(tmp_path / "work"), str(port)],
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate: pass" in done.stdout
    assert "19+3 = 22" in done.stdout
    verdict = json.loads((tmp_path / "work" / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["test"]["n"]) == ("better", 500)
    worst = [json.loads(line) for line in (tmp_path / "work" / "worst.jsonl").read_text().splitlines()]
    assert len(worst) > 100
    assert all(row["_answer"]["answer"] != row["ground_truth"] for row in worst)
