"""Files are whole or as they were: writers that fail, processes that change one file together, and what is said."""

import errno
import os
import subprocess
import sys

import pytest

from promptflow_lite._utils.files import changing, replace_file, replacing
from promptflow_lite.cli import render
from promptflow_lite.errors import DiskFullError, FileAccessError, PromptflowException, file_error
from promptflow_lite.records import LineResult, Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.export import export_lines


@pytest.fixture
def full_disk(monkeypatch):
    """Every flush to disk says that there is no room."""

    def refuse(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", refuse)


def _replace(path):
    replace_file(path, "new")


def _stop_half_way(path):
    with replacing(path) as draft:
        draft.write_text("ne")
        raise KeyboardInterrupt


def _export(path):
    export_lines([LineResult(0, Status.COMPLETED, inputs={}, output={"a": "new"})], path)


@pytest.mark.parametrize("write", [_replace, _stop_half_way, _export])
def test_what_cannot_be_written_leaves_the_old_file_and_no_draft(write, tmp_path, full_disk):
    path = tmp_path / "x.csv"
    path.write_text("old")
    full_disk()

    with pytest.raises((OSError, KeyboardInterrupt, PromptflowException)):
        write(path)

    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x.csv", "old")]


def test_a_new_version_of_a_data_set_that_finds_no_room_keeps_the_others(full_disk):
    with Client() as client:
        client.datasets.add("set", [{"a": 1}], source="x")
        before = client.datasets.versions("set")
        full_disk()

        with pytest.raises(OSError, match="No space"):
            client.datasets.add("set", [{"a": 2}], source="x")

        assert client.datasets.versions("set") == before


def test_replacing_keeps_permissions_links_and_devices(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)

    replace_file(link, "new")
    replace_file(tmp_path / "fresh", b"x")

    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("new", 0o600)
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o644
    with replacing(tmp_path / "/dev/null") as draft:
        assert str(draft) == "/dev/null"


def test_processes_that_change_one_file_lose_no_change(tmp_path):
    file = tmp_path / "n"
    file.write_text("0")
    code = (
        "import sys, pathlib; from promptflow_lite._utils.files import changing, replace_file\n"
        "f = pathlib.Path(sys.argv[1])\n"
        "for _ in range(50):\n"
        "    with changing(f): replace_file(f, str(int(f.read_text()) + 1))"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(file)]) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]

    assert file.read_text() == "150"


def test_a_failed_change_frees_the_file(tmp_path):
    with pytest.raises(ValueError, match="x"), changing(tmp_path / "f"):
        raise ValueError("x")

    with changing(tmp_path / "f"):
        pass


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, DiskFullError, "file.disk_full"),
        (errno.EDQUOT, DiskFullError, "file.disk_full"),
        (errno.EFBIG, DiskFullError, "file.disk_full"),
        (errno.EACCES, FileAccessError, "file.file_access"),
        (errno.EROFS, FileAccessError, "file.file_access"),
    ],
)
def test_refusals_of_the_system_have_codes_and_hints(number, kind, code, capsys):
    error = OSError(number, os.strerror(number), "/some/file")

    assert isinstance(file_error(error), kind)
    render.error("pfl.x", error)

    printed = capsys.readouterr().err
    assert f"code: {code}" in printed
    assert "/some/file" in printed
    assert "hint: " in printed


@pytest.mark.parametrize("error", [OSError("odd"), OSError(errno.EIO, "odd"), ValueError("x")])
def test_other_failures_stay_unexpected(error):
    assert file_error(error) is None
