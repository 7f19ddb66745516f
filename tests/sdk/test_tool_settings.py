"""Drop-downs and dependent inputs of tools, read without running them."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.errors import UserErrorException
from promptflow_lite.sdk.tool_metadata import code_tools
from promptflow_lite.sdk.tool_settings import dynamic_choices

FLOW = """
inputs:
  kind: {type: string}
outputs:
  o: {type: string, reference: "${pick.output}"}
nodes:
- name: pick
  type: python
  source: {type: code, path: pick.py}
  inputs: {kind: "${inputs.kind}", item: a}
"""
PICK = """
from enum import Enum
from promptflow.core import tool
from promptflow.entities import DynamicList, InputSetting
from promptflow._core.tool import GeneratedBy

class Kind(str, Enum):
    FRUIT = "fruit"
    TOOL = "tool"

def items(prefix: str = "", size: int = 2):
    return [{"value": f"{prefix}{n}"} for n in range(size)]

def join(kind, item):
    return kind + item

@tool(
    input_settings={
        "item": InputSetting(
            dynamic_list=DynamicList(function=items, input_mapping={"prefix": "kind"}),
            allow_manual_entry=True,
            enabled_by="kind",
            enabled_by_value=[Kind.FRUIT, "other"],
        ),
        "label": InputSetting(generated_by=GeneratedBy(function=join, input_mapping={"kind": "kind", "item": "item"})),
    }
)
def pick(kind: Kind, item: str, label: str = ""):
    return item

raise RuntimeError("this file must not be executed")
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "flow.dag.yaml").write_text(FLOW)
    (tmp_path / "pick.py").write_text(PICK)
    return tmp_path


def test_settings_are_part_of_a_tools_metadata_without_running_it(flow: Path) -> None:
    inputs = code_tools(flow)["pick.py"]["inputs"]

    assert inputs["item"]["dynamic_list"] == {
        "func_path": "items",
        "func_kwargs": [{"name": "prefix", "reference": "${inputs.kind}"}],
    }
    assert inputs["item"]["allow_manual_entry"] is True
    assert (inputs["item"]["enabled_by"], inputs["item"]["enabled_by_value"]) == ("kind", ["fruit", "other"])
    assert inputs["label"]["generated_by"]["func_path"] == "join"
    assert inputs["kind"]["enum"] == ["fruit", "tool"]


def test_the_items_of_a_drop_down_come_from_its_function(flow: Path) -> None:
    text = (flow / "pick.py").read_text()
    (flow / "pick.py").write_text(text.replace('raise RuntimeError("this file must not be executed")', ""))

    assert dynamic_choices(flow, "pick", "item", {"kind": "k"}) == [{"value": "k0"}, {"value": "k1"}]
    with pytest.raises(UserErrorException, match="no dynamic list"):
        dynamic_choices(flow, "pick", "kind")
    with pytest.raises(UserErrorException, match="no node"):
        dynamic_choices(flow, "other", "item")
