"""Files of a flow's folder: nothing outside is reached, nothing is overwritten unseen, undo knows of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import load_yaml
from promptflow_lite.sdk.studio import FlowDocument, FlowFiles


@pytest.fixture
def files(tmp_path: Path) -> FlowFiles:
    (tmp_path / "outside.txt").write_text("secret")
    folder = tmp_path / "flow"
    (folder / "sub").mkdir(parents=True)
    (folder / "notes.md").write_text("old\r\n")
    (folder / "sub" / "rows.jsonl").write_text("{}\n")
    (folder / ".promptflow").mkdir()
    (folder / ".promptflow" / "hidden.json").write_text("{}")
    (folder / "image.png").write_bytes(b"\x89PNG")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    return FlowFiles(folder)


def test_text_files_are_listed_and_nothing_hidden(files: FlowFiles) -> None:
    assert files.names() == ["link.txt", "notes.md", "sub/rows.jsonl"]


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/etc/passwd", "sub/../../outside.txt", "link.txt", ".promptflow/x.json", "", "a\\..\\b"]
)
def test_paths_out_of_the_folder_are_refused(files: FlowFiles, name: str, tmp_path: Path) -> None:
    for attempt in (files.open, files.create, files.delete, lambda bad: files.rename("notes.md", bad)):
        with pytest.raises(UserErrorException):
            attempt(name)

    assert (tmp_path / "outside.txt").read_text() == "secret"
    assert (files.root / "notes.md").exists()


def test_a_file_is_made_saved_renamed_and_deleted(files: FlowFiles) -> None:
    files.create("deep/new.txt", "a")
    assert files.open("deep/new.txt").text == "a"
    assert files.save("deep/new.txt", "b\n")
    files.rename("deep/new.txt", "moved.txt")
    assert (files.root / "moved.txt").read_text() == "b\n"
    files.delete("moved.txt")

    assert files.names() == ["link.txt", "notes.md", "sub/rows.jsonl"]
    with pytest.raises(UserErrorException, match="exists already"):
        files.create("notes.md")


def test_a_change_on_disk_is_not_overwritten_unseen(files: FlowFiles) -> None:
    notes = files.root / "notes.md"
    files.open("notes.md")
    notes.write_text("theirs")

    assert not files.save("notes.md", "mine")
    assert notes.read_text() == "theirs"
    assert files.open("notes.md").conflict == "mine"

    files.overwrite("notes.md")
    assert notes.read_text() == "mine"
    notes.write_text("theirs again")
    assert not files.save("notes.md", "mine again")
    files.reload("notes.md")
    assert files.open("notes.md").text == "theirs again"


def test_sources_of_an_open_flow_change_with_undo_and_references(flow_folder: Path) -> None:
    document = FlowDocument(flow_folder)

    document.files.rename("clean.py", "lib/tidy.py")
    node = next(node for node in load_yaml(document.file).value["nodes"] if node["name"] == "clean")
    assert node["source"]["path"] == "lib/tidy.py"
    assert (flow_folder / "lib" / "tidy.py").is_file()
    assert not (flow_folder / "clean.py").exists()

    document.files.delete("lib/tidy.py")
    document.apply({"op": "undo"})
    document.apply({"op": "undo"})
    assert (flow_folder / "clean.py").is_file()
    assert not document.problems

    document.files.create("extra.py", "x = 1\n")
    assert document.files.open("extra.py").text == "x = 1\n"
    with pytest.raises(UserErrorException, match="the flow itself"):
        document.files.delete("flow.dag.yaml")


def test_undo_never_takes_back_what_others_made(flow_folder: Path) -> None:
    document = FlowDocument(flow_folder)
    document.apply({"op": "add", "kind": "python"})
    (flow_folder / "by_hand.py").write_text("x = 1\n")

    document.reload()
    document.apply({"op": "undo"})

    assert (flow_folder / "by_hand.py").exists()


def test_an_edit_cannot_write_out_of_the_folder(flow_folder: Path) -> None:
    document = FlowDocument(flow_folder)

    assert not document.apply({"op": "set_text", "path": "../../escaped.py", "text": "x"})
    assert not (flow_folder.parent.parent / "escaped.py").exists()
    assert document.apply({"op": "add", "kind": "python"}), "the next edit works"
