import os
import subprocess
import sys
import zipfile

import pytest

from promptflow_lite.errors import IncludeError
from promptflow_lite.flow import load_flow
from promptflow_lite.flow.includes import release


@pytest.fixture
def flow_file(tmp_path):
    folder = tmp_path / "flow"
    folder.mkdir()
    (tmp_path / "shared" / "sub").mkdir(parents=True)
    (tmp_path / "shared" / "util.py").write_text("x = 1")
    (tmp_path / "shared" / "sub" / "deep.txt").write_text("deep")
    (folder / "own.py").write_text("own")
    yield folder / "flow.dag.yaml"
    release(folder / "flow.dag.yaml")


def include(flow_file, *items):
    lines = "".join(f"- {item}\n" for item in items)
    flow_file.write_text(f"nodes: []\nadditional_includes:\n{lines}")
    return load_flow(flow_file)


def test_includes_are_merged_under_their_base_names(flow_file):
    flow = include(flow_file, "../shared", "../shared/util.py", "../shared/sub.zip")

    assert flow.root != flow_file.parent
    assert (flow.root / "own.py").read_text() == "own"
    assert (flow.root / "util.py").read_text() == "x = 1"
    assert (flow.root / "shared/sub/deep.txt").read_text() == "deep"
    with zipfile.ZipFile(flow.root / "sub.zip") as archive:
        assert archive.namelist() == ["sub/deep.txt"]


def test_flow_without_includes_stays_in_its_folder(flow_file):
    flow_file.write_text("nodes: []\n")

    assert load_flow(flow_file).root == flow_file.parent


def test_copy_is_reused_until_something_changes(flow_file, tmp_path):
    first = include(flow_file, "../shared/util.py").root
    again = load_flow(flow_file).root
    (tmp_path / "shared/util.py").write_text("x = 22")
    changed = load_flow(flow_file).root

    assert again == first
    assert changed != first
    assert (changed / "util.py").read_text() == "x = 22"
    assert not first.exists()


def test_released_copy_is_gone(flow_file):
    root = include(flow_file, "../shared/util.py").root

    release(flow_file)

    assert not root.exists()


@pytest.mark.parametrize("item", ["../missing.py", "../missing.zip", "'a\\0b'", "/"])
def test_include_that_cannot_be_found_is_refused(flow_file, item):
    with pytest.raises(IncludeError) as caught:
        include(flow_file, item)

    assert caught.value.where.line == 3


def test_link_out_of_an_included_folder_is_refused(flow_file, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    os.symlink(tmp_path / "secret.txt", tmp_path / "shared" / "link.txt")

    with pytest.raises(IncludeError, match=r"link\.txt"):
        include(flow_file, "../shared")


def test_link_inside_an_included_folder_is_followed(flow_file, tmp_path):
    os.symlink("util.py", tmp_path / "shared" / "alias.py")

    root = include(flow_file, "../shared").root

    assert (root / "shared/alias.py").read_text() == "x = 1"


def test_copies_of_killed_processes_are_swept(flow_file, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    abandoned = tmp_path / f"pfl-flow-{ended.pid}-x"
    kept = tmp_path / f"pfl-flow-{os.getpid()}-y"
    for folder in (abandoned, kept):
        folder.mkdir()

    include(flow_file, "../shared/util.py")

    assert not abandoned.exists()
    assert kept.exists()


def test_copy_ends_with_its_process_and_survives_forked_ones(flow_file):
    flow_file.write_text("nodes: []\nadditional_includes: [../shared/util.py]\n")
    program = (
        "import os, sys\nfrom promptflow_lite.flow import load_flow\n"
        f"root = load_flow({str(flow_file)!r}).root\n"
        "child = os.fork()\nif not child:\n    sys.exit(0)\n"
        "os.waitpid(child, 0)\nprint(root, root.is_dir())\n"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert printed[1] == "True"
    assert not os.path.exists(printed[0])
