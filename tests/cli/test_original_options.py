"""Habits of the original's command line: its options are accepted, and commands that fell away name what to use."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.cli.main import build_parser, main
from tests.support.flow_files import write_files

OPTIONS = {
    "flow init": "--flow --type --entry --function --prompt-template --yes -y --assume-yes",
    "flow save": "--entry --code --path",
    "flow test": "--flow --inputs --input --node --variant --environment-variables --init --interactive --ui --detail "
    "--multi-modal --collection --config --skip-open-browser --url-params --port",
    "flow serve": "--source --port --host --engine --environment-variables --init --config --skip-open-browser "
    "--static_folder",
    "flow build": "--source --output -o --format -f --variant -v --flow-only",
    "flow validate": "--source",
    "run create": "--file -f --flow --source --resume-from --data --column-mapping --run --variant --connections "
    "--environment-variables --init --name -n --stream -s --set",
    "run update": "--name -n --set",
    "run stream": "--name -n",
    "run list": "--max-results -r --all-results --archived-only --include-archived --output -o",
    "run show": "--name -n",
    "run show-details": "--name -n --max-results -r --all-results",
    "run show-metrics": "--name -n",
    "run archive": "--name -n",
    "run restore": "--name -n",
    "run delete": "--name -n --yes -y --assume-yes",
    "connection create": "--file -f --name -n --set",
    "connection update": "--name -n --set",
    "connection show": "--name -n",
    "connection list": "--max-results -r --all-results",
    "connection delete": "--name -n --yes -y --assume-yes",
    "config set": "--path",
    "config show": "",
    "tool init": "--package --tool --set",
    "tool list": "--flow",
    "tool validate": "--source",
    "trace delete": "--run --collection --started-before --yes -y --assume-yes",
    "experiment create": "--template --name -n",
    "experiment list": "",
    "experiment show": "--name -n",
    "experiment start": "--name -n --template --inputs --stream",
    "experiment stop": "--name -n",
    "experiment test": "--template --inputs",
}
"""Command of the original -> its options; all take the common ones too."""
COMMON = "--help -h --verbose --debug -d --user-agent"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def _parsers(parser: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name.strip(), parser
    for action in parser._actions:
        if hasattr(action, "choices") and isinstance(action.choices, dict):
            for verb, below in action.choices.items():
                yield from _parsers(below, f"{name} {verb}")


@pytest.fixture(scope="module")
def accepted() -> dict[str, set[str]]:
    return {name: set(parser._option_string_actions) for name, parser in _parsers(build_parser())}


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_of_the_original_is_accepted(command: str, accepted: dict[str, set[str]]) -> None:
    assert {*OPTIONS[command].split(), *COMMON.split()} <= accepted[command]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["service", "start", "--port", "1"], "pfl ui"),
        (["service", "status"], "pfl trace list"),
        (["upgrade", "-y"], "pip install --upgrade promptflow-lite"),
        (["run", "visualize", "-n", "a,b"], "pfl run compare"),
        (["trace", "delete", "--run", "r", "-y"], "pfl run delete"),
        (["trace", "delete", "--started-before", "yesterday", "-y"], "2026-01-31T12:00:00"),
    ],
)
def test_what_fell_away_names_what_to_use(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert hint in capsys.readouterr().err


def test_image_outputs_of_a_test_are_valid_inputs_of_the_flow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = write_files(
        tmp_path / "flow",
        {
            "flow.dag.yaml": """
                inputs:
                  picture: {type: image, default: {data:image/png;path: dot.png}}
                outputs:
                  copy: {type: image, reference: "${same.output}"}
                nodes:
                - {name: same, type: python, source: {type: code, path: same.py}, inputs: {x: "${inputs.picture}"}}
                """,
            "same.py": "from promptflow.core import tool\n@tool\ndef same(x):\n    return x\n",
        },
    )
    (flow / "dot.png").write_bytes(base64.b64decode(PIXEL))

    assert main(["flow", "test", "--flow", str(flow)]) == 0
    printed = json.loads(capsys.readouterr().out)["copy"]["data:image/png;path"]
    written = json.loads((flow / ".promptflow" / "flow.output.json").read_text())["copy"]
    inputs = tmp_path / "inputs.json"
    inputs.write_text(json.dumps({"picture": written}))

    assert (flow / written["data:image/png;path"]).samefile(printed)
    assert main(["flow", "test", "--flow", str(flow), "--inputs", str(inputs)]) == 0
