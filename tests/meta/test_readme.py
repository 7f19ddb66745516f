"""The README's blocks, run from top to bottom as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w/.-]+\.(?:yaml|jinja2))`")
_INTERPRETERS = {"bash": ["bash", "-euc"], "python": [sys.executable, "-c"]}


@pytest.mark.model
@pytest.mark.timeout(300)
def test_blocks_run_from_top_to_bottom(tmp_path: Path) -> None:
    readme = (_ROOT / "README.md").read_text("utf-8")
    for folder in ("flows", "evaluators"):
        (tmp_path / folder).symlink_to(_ROOT / folder)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MY_KEY": "k"}
    printed = ""
    for block in _BLOCK.finditer(readme):
        language, text = block.groups()
        if language in ("yaml", "jinja"):
            path = tmp_path / _FILE.findall(readme[: block.start()])[-1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
        elif language in _INTERPRETERS:
            command = [*_INTERPRETERS[language], text]
            ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert ended.returncode == 0, f"{text}\n{ended.stdout}\n{ended.stderr}"
            printed += ended.stdout

    for expected in ('"result": "Succeeded"', '"accuracy":', "rows needed", "mine", "{'mood': "):
        assert expected in printed
