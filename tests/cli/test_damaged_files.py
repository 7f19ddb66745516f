"""Files of ours that somebody damaged: an error with a code that names the file, never a traceback."""

import json

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.settings import home

DAMAGED = [
    ("models.json", ["model", "list"], "sdk.error"),
    ("datasets/set/versions.json", ["data", "list"], "data.unreadable"),
    (".exps/x/experiment.json", ["experiment", "list"], "experiment"),
    (".exps/x/experiment.json", ["experiment", "show", "--name", "x"], "experiment"),
    ("config.yaml", ["config", "show"], "config.unusable"),
]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1]", b'{"models": [], "unknown": 1}'])
@pytest.mark.parametrize(("name", "command", "code"), DAMAGED)
def test_a_damaged_file_is_named(name, command, code, content, capsys):
    path = home() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

    result = main(command)

    printed = capsys.readouterr().err
    assert "system.unexpected" not in printed
    if result:
        assert f"code: {code}" in printed
        assert path.name in printed


@pytest.mark.parametrize(
    "record",
    [[1], {"run_info": 7, "line_number": "x"}, {"run_info": {"index": []}}, {"run_info": {"inputs": 3, "status": []}}],
)
def test_a_foreign_run_of_another_form_is_refused_whole_or_read(record, tmp_path, capsys):
    (tmp_path / "run_metadata.json").write_text('{"name": "foreign"}')
    (tmp_path / "flow_artifacts").mkdir()
    (tmp_path / "flow_artifacts" / "0.jsonl").write_text(json.dumps(record) + "\n")

    main(["run", "create", "--source", str(tmp_path)])

    printed = capsys.readouterr().err
    assert "system.unexpected" not in printed
    is_refused = "code: run.invalid" in printed
    assert main(["run", "show", "--name", "foreign"]) == int(is_refused)
