"""Names under which things are kept stay inside their folder."""

import pytest

from promptflow_lite._utils.files import check_name
from promptflow_lite.cli.main import main
from promptflow_lite.errors import InvalidNameError
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.experiments import load_experiment
from promptflow_lite.settings import home

LEADING_OUT = [
    "../../evil",
    "/tmp/evil",
    "a/b",
    "..",
    ".",
    ".hidden",
    "a\\b",
    "c:x",
    "a\nb",
    "a\x00b",
    "a\x1b[2J",
    "",
    " ",
    "x" * 300,
]


@pytest.mark.parametrize("name", LEADING_OUT)
def test_names_that_lead_out_of_their_folder_are_refused(name):
    with pytest.raises(InvalidNameError, match="is no name for a run"):
        check_name(name, "a run")


@pytest.mark.parametrize("name", ["a", "my run", "flow_20260101_120000", "grüße", "a.b-c_d", "日本", "a;rm -rf $HOME"])
def test_other_names_are_kept_as_they_are(name):
    assert check_name(name, "a run") == name


FLOW = """\
inputs: {text: {type: string}}
outputs: {o: {type: string, reference: "${p.output}"}}
nodes:
- {name: p, type: prompt, source: {type: code, path: p.jinja2}, inputs: {text: "${inputs.text}"}}
"""


@pytest.mark.parametrize("name", ["../../evil", "..", "a/b"])
def test_nothing_is_written_under_such_a_name(name, tmp_path, capsys):
    flow = tmp_path / "flow"
    flow.mkdir()
    (flow / "flow.dag.yaml").write_text(FLOW)
    (flow / "p.jinja2").write_text("{{text}}")
    (tmp_path / "rows.jsonl").write_text('{"text": "x"}\n')
    data = str(tmp_path / "rows.jsonl")

    assert main(["run", "create", "--flow", str(flow), "--data", data, "--name", name]) == 1
    assert "code: user.invalid_name" in capsys.readouterr().err
    assert not (home() / ".runs").exists()
    with Client() as client, pytest.raises(InvalidNameError):
        client.datasets.add(name, [{"a": 1}], source="x")
    with Client() as client, pytest.raises(InvalidNameError):
        client.experiments.get(name)


def test_nodes_of_an_experiment_cannot_lead_out_of_its_folder(tmp_path):
    file = tmp_path / "x.exp.yaml"
    file.write_text("nodes:\n- {name: ../../../victim, type: command, command: 'true'}\n")

    with pytest.raises(InvalidNameError, match="a node"):
        load_experiment(file)
