"""Operations of components are applied once and in order, whatever Streamlit does with its runs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamlit.proto.WidgetStates_pb2 import WidgetState

from promptflow_lite.flow import load_yaml
from promptflow_lite.sdk.resources import bundled
from tests.ui.test_pages import components, open_page

sys.path.insert(0, str(bundled("ui")))
from parts.ops import Inbox


def test_overlapping_deliveries_apply_each_operation_once_and_in_order() -> None:
    applied: list[int] = []

    def slow(op: Mapping[str, Any]) -> None:
        time.sleep(0.01)
        applied.append(op["seq"])

    inbox = Inbox(slow)
    sent = [[{"seq": number} for number in range(1, last + 1)] for last in range(1, 9)]
    threads = [threading.Thread(target=inbox.take, args=(ops,)) for ops in [*sent, *reversed(sent)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert applied == list(range(1, 9))
    assert inbox.ack == 8


def test_an_operation_that_fails_is_not_repeated() -> None:
    calls: list[int] = []

    def fail(op: Mapping[str, Any]) -> None:
        calls.append(op["seq"])
        raise RuntimeError

    inbox = Inbox(fail)
    for _ in range(2):
        try:
            inbox.take([{"seq": 1}])
        except RuntimeError:
            continue

    assert calls == [1]


def test_an_edit_arrives_with_the_click_that_leaves_the_page(flow_folder: Path) -> None:
    at = open_page("author", flow="tickets")
    canvas = next(item for item in at.get("bidi_component") if "nodes" in json.loads(item.proto.json))
    states = at._tree.get_widget_states()
    op = {"op": "add", "kind": "python", "seq": 1}
    states.widgets.append(WidgetState(id=canvas.proto.id, json_value=json.dumps({"ops": [op]})))
    at.switch_page("screens/models.py")
    at._run(states)

    assert not any("nodes" in data for data in components(at)), "another page is drawn"
    assert "new_python" in [node["name"] for node in load_yaml(flow_folder / "flow.dag.yaml").value["nodes"]]
