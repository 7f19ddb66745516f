"""An open flow: saving, undo, conflicts with the disk, layout."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from promptflow_lite.sdk.studio import FlowDocument, Workspace, canvas_data, notebook_data
from promptflow_lite.sdk.studio.batch import auto_evaluation, auto_mapping, flow_graph
from promptflow_lite.sdk.studio.edits import Project


@pytest.fixture
def document(flow_folder: Path) -> FlowDocument:
    return FlowDocument(flow_folder)


def test_an_edit_is_on_disk_at_once(document: FlowDocument) -> None:
    assert document.apply({"op": "add", "kind": "llm"})

    assert "new_llm" in document.file.read_text()
    assert (document.folder / "new_llm.jinja2").is_file()


def test_undo_gives_back_every_file_and_redo_takes_it_again(document: FlowDocument) -> None:
    before = document.file.read_text()
    document.apply({"op": "add", "kind": "python"})
    after = document.file.read_text()

    document.apply({"op": "undo"})
    assert document.file.read_text() == before
    assert not (document.folder / "new_python.py").exists()

    document.apply({"op": "redo"})
    assert document.file.read_text() == after
    assert (document.folder / "new_python.py").exists()


def test_a_change_on_disk_is_noticed_before_it_is_overwritten(document: FlowDocument) -> None:
    mine = "# changed by hand\n" + document.file.read_text()
    document.file.write_text(mine)

    assert not document.apply({"op": "add", "kind": "llm"})
    assert document.conflict == ["flow.dag.yaml"]
    assert document.file.read_text() == mine

    document.reload()
    assert document.apply({"op": "add", "kind": "llm"})
    assert document.file.read_text().startswith("# changed by hand")


def test_overwriting_keeps_what_the_studio_has(document: FlowDocument) -> None:
    text = document.file.read_text()
    document.file.write_text("nodes: []\n")
    document.apply({"op": "add", "kind": "llm"})

    document.overwrite()

    assert document.file.read_text() == text
    assert document.conflict == []


def test_what_is_typed_while_a_file_changed_on_disk_is_kept_until_the_user_decides(document: FlowDocument) -> None:
    source = document.folder / "clean.py"
    typed = document.project.sources["clean.py"] + "# typed\n"
    source.write_text("# theirs\n")

    assert not document.apply({"op": "set_text", "path": "clean.py", "node": "clean", "text": typed})
    assert document.project.sources["clean.py"] == typed
    assert source.read_text() == "# theirs\n"

    document.overwrite()
    assert source.read_text() == typed


def test_a_refused_edit_says_why_and_changes_nothing(document: FlowDocument) -> None:
    before = document.file.read_text()

    assert not document.apply({"op": "connect", "source": "clean", "target": "classify"})
    assert "cycle" in document.message
    assert document.file.read_text() == before


def test_a_file_that_cannot_be_parsed_still_shows_the_last_graph(document: FlowDocument) -> None:
    nodes = list(document.graph.nodes)

    document.apply({"op": "set_text", "path": "flow.dag.yaml", "text": "nodes: ["})

    assert list(document.graph.nodes) == nodes
    assert document.problems


def test_positions_live_beside_the_flow(document: FlowDocument) -> None:
    before = document.file.read_text()
    document.apply({"op": "move", "positions": {"clean": [10, 20]}})

    assert document.file.read_text() == before
    again = FlowDocument(document.folder)
    node = next(item for item in canvas_data(again, {})["nodes"] if item["id"] == "clean")
    assert node["position"] == (10.0, 20.0)


def test_line_ends_are_kept(document: FlowDocument) -> None:
    document.file.write_bytes(document.file.read_bytes().replace(b"\n", b"\r\n"))
    document.reload()

    document.apply({"op": "set_default_variant", "node": "classify", "variant": "few_shot"})

    assert b"default_variant_id: few_shot\r\n" in document.file.read_bytes()


def test_the_shown_variant_is_the_one_edited(document: FlowDocument) -> None:
    document.apply({"op": "show_variant", "node": "classify", "variant": "few_shot"})

    cell = notebook_data(document, {}, inputs={})["cells"][0]

    assert cell["path"] == "classify_few_shot.jinja2"
    assert cell["variant"] == "few_shot"
    assert cell["default_variant"] == "zero_shot"


def test_an_error_of_a_node_stands_at_its_line(document: FlowDocument) -> None:
    error = {"message": "boom", "additionalInfo": [{"info": {"filename": "/x/clean.py", "lineno": 10}}]}

    cell = notebook_data(document, {"clean": {"status": "Failed", "error": error}}, inputs={})["cells"][1]

    assert cell["error"]["line"] == 10
    assert cell["error"]["where"] == "clean.py:10"


def test_mappings_are_matched_by_name(flow_folder: Path) -> None:
    graph = flow_graph(flow_folder)

    assert auto_mapping(graph, ["Message", "label"]) == {"message": "${data.Message}"}


@pytest.mark.parametrize(
    ("columns", "outputs", "expected"),
    [
        (["message", "label"], ["label"], {"answer": "${run.outputs.label}", "ground_truth": "${data.label}"}),
        (["q", "ground_truth"], ["text"], {"answer": "${run.outputs.text}", "ground_truth": "${data.ground_truth}"}),
        (["q"], ["answer", "other"], {"answer": "${run.outputs.answer}"}),
        (["q"], [], {}),
    ],
)
def test_evaluators_read_answers_from_the_run_and_truths_from_the_data(
    flow_folder: Path, columns: list[str], outputs: list[str], expected: dict[str, str]
) -> None:
    from promptflow_lite.sdk.resources import bundled

    evaluator = flow_graph(bundled("evaluators") / "accuracy")

    assert auto_evaluation(evaluator, columns, outputs) == expected


def test_a_workspace_lists_flows_and_refuses_what_is_outside(flow_folder: Path, workspace_folder: Path) -> None:
    space = Workspace(workspace_folder)

    assert [card.name for card in space.flows()] == ["tickets"]
    made = space.create_empty("fresh")
    assert FlowDocument(made).apply({"op": "add", "kind": "llm"})
    for name in ("fresh", "../out", "", "a/b"):
        with pytest.raises(Exception, match=r"exists|usable"):
            space.create_empty(name)


def test_edits_of_two_threads_are_all_kept(document: FlowDocument, monkeypatch: pytest.MonkeyPatch) -> None:
    write = FlowDocument._write

    def slow_write(self: FlowDocument, project: Project) -> None:
        time.sleep(0.05)
        write(self, project)

    monkeypatch.setattr(FlowDocument, "_write", slow_write)
    before = set(document.graph.nodes)
    threads = [threading.Thread(target=document.apply, args=({"op": "add", "kind": "python"},)) for _ in range(6)]
    for thread in threads:
        thread.start()
        assert document.problems is not None
    for thread in threads:
        thread.join()

    assert len(set(document.graph.nodes) - before) == 6
    assert not document.conflict
