"""Copies of flows: what is left out, and what becomes of the flow file."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.flow import load_flow
from promptflow_lite.sdk.flow_copy import IgnoreRules, copy_flow, flow_files


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "f"
    (folder / "home").mkdir(parents=True)
    monkeypatch.setenv("PFL_HOME", str(folder / "home"))
    (folder / "home" / "store.sqlite").write_text("db")
    (folder / "hello.py").write_text("def f(a: str):\n    return a\n")
    (folder / "flow.flex.yaml").write_text("entry: hello:f\n")
    return folder


@pytest.mark.parametrize(
    ("patterns", "path", "is_ignored"),
    [
        ("*.log", "a/b.log", True),
        ("/top.txt", "a/top.txt", False),
        ("/top.txt", "top.txt", True),
        ("a/*.txt", "a/b.txt", True),
        ("a/*.txt", "a/b/c.txt", False),
        ("a/**/c.txt", "a/b/x/c.txt", True),
        ("**/c.txt", "c.txt", True),
        ("file[0-2].txt", "file1.txt", True),
        ("file[!0-2].txt", "file1.txt", False),
        ("*.txt\n!keep.txt", "keep.txt", False),
        ("# *.txt\n\n", "a.txt", False),
        ("d/", "d", False),
        ("wh?t", "what", True),
    ],
)
def test_ignore_patterns(patterns: str, path: str, is_ignored: bool) -> None:
    assert IgnoreRules(patterns.splitlines()).ignores(Path(path), is_folder=False) is is_ignored


def test_folder_patterns_match_folders_only() -> None:
    rules = IgnoreRules(["build/"])

    assert rules.ignores(Path("build"), is_folder=True)
    assert not rules.ignores(Path("build"), is_folder=False)


def test_caches_and_the_state_folder_are_left_out(flow: Path, tmp_path: Path) -> None:
    for name in ("__pycache__", ".git", ".venv"):
        (flow / name).mkdir()
        (flow / name / "x").write_text("x")
    copy_flow(load_flow(flow), tmp_path / "copy")

    assert sorted(path.as_posix() for path in flow_files(tmp_path / "copy")) == ["flow.flex.yaml", "hello.py"]


def test_large_and_too_many_files_are_left_out_with_a_warning(
    flow: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (flow / "big.bin").write_bytes(b"x" * 3_000)
    (flow / "z.txt").write_text("z")
    copy_flow(load_flow(flow), tmp_path / "copy", max_files=3, max_file_bytes=2_000)

    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["flow.flex.yaml", "hello.py"]
    assert "big.bin" in caplog.text
    assert "first 3 files" in caplog.text


def test_an_entry_without_a_file_gets_one(flow: Path, tmp_path: Path) -> None:
    (flow / "flow.flex.yaml").unlink()
    file = copy_flow(load_flow("hello:f", code=flow), tmp_path / "copy")

    assert file.read_text() == "entry: hello:f\n"
