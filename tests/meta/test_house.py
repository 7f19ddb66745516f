"""Rules of the whole package that no single part can keep."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import promptflow_lite
from promptflow_lite.cli import main as cli

_ROOT = Path(__file__).parents[2]
_SOURCES = sorted((_ROOT / "promptflow_lite").rglob("*.py"))
_HEAVY = (
    "sqlalchemy", "openai", "pydantic", "jinja2", "yaml", "rich", "numpy", "pandas", "pyarrow", "scipy",
    "llama_cpp", "streamlit", "fastapi", "uvicorn", "opentelemetry", "cryptography", "asyncio",
)  # fmt: skip


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import sys, promptflow_lite; print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert set(_HEAVY).isdisjoint(modules)


def test_layers_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]

    ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stdout


def test_modules_say_what_they_own() -> None:
    silent = [p for p in _SOURCES if p.stat().st_size and not ast.get_docstring(ast.parse(p.read_text("utf-8")))]

    assert silent == []


def test_environment_is_read_in_one_place() -> None:
    readers = [path.name for path in _SOURCES if re.search(r"\bos\.(environ|getenv)\b", path.read_text("utf-8"))]

    assert readers == ["settings.py"]


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    newest = re.search(r"^## \[?([\d.]+)", (_ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)

    assert newest is not None
    assert project["version"] == promptflow_lite.__version__ == newest[1]


def test_every_module_of_the_command_line_is_a_known_group() -> None:
    frame = {"__init__", "main", "render", "arguments"}
    for path in (_ROOT / "promptflow_lite" / "cli").glob("*.py"):
        registers = "def register(" in path.read_text("utf-8")
        assert registers == (path.stem in cli.GROUPS) or path.stem in frame, path.name
