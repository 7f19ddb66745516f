"""Which nodes run and which are bypassed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.records import Status
from tests.support.flow_files import executor_of, tool_source, write_files

IDENTITY = tool_source("def s(v=None):\n    return v")


@dataclass(frozen=True)
class Case:
    id: str
    nodes: str
    inputs: dict[str, Any]
    statuses: dict[str, str]
    outputs: dict[str, Any]


CASES = [
    Case(
        "condition met",
        "- {name: s, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${inputs.a}', is: yes}}",
        {"a": "yes"},
        {"s": "Completed"},
        {"o": "yes"},
    ),
    Case(
        "condition not met bypasses and outputs null",
        "- {name: s, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${inputs.a}', is: yes}}",
        {"a": "no"},
        {"s": "Bypassed"},
        {"o": None},
    ),
    Case(
        "comparison is untyped",
        "- {name: s, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${inputs.a}', is: 1}}",
        {"a": "1"},
        {"s": "Bypassed"},
        {"o": None},
    ),
    Case(
        "all node inputs bypassed, flow inputs do not count",
        "- {name: b, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${inputs.a}', is: yes}}\n"
        "- {name: s, type: python, source: {type: code, path: two.py}, inputs: {v: '${b.output}', w: '${inputs.a}'}}",
        {"a": "no"},
        {"b": "Bypassed", "s": "Bypassed"},
        {"o": None},
    ),
    Case(
        "one live node input is enough, the bypassed one is None",
        "- {name: b, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${inputs.a}', is: yes}}\n"
        "- {name: live, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'}}\n"
        "- {name: s, type: python, source: {type: code, path: two.py},"
        " inputs: {v: '${b.output}', w: '${live.output}'}}",
        {"a": "no"},
        {"b": "Bypassed", "live": "Completed", "s": "Completed"},
        {"o": [None, "no"]},
    ),
    Case(
        "met condition runs even when every input is bypassed",
        "- {name: b, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${inputs.a}', is: yes}}\n"
        "- {name: s, type: python, source: {type: code, path: two.py}, inputs: {v: '${b.output}', w: 1},"
        " activate: {when: '${inputs.a}', is: no}}",
        {"a": "no"},
        {"b": "Bypassed", "s": "Completed"},
        {"o": [None, "1"]},
    ),
    Case(
        "when that reads a bypassed node bypasses",
        "- {name: b, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${inputs.a}', is: yes}}\n"
        "- {name: s, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${b.output}', is: null}}",
        {"a": "no"},
        {"b": "Bypassed", "s": "Bypassed"},
        {"o": None},
    ),
    Case(
        "a parameter with a default takes it when its node is bypassed",
        "- {name: b, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${inputs.a}', is: yes}}\n"
        "- {name: live, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'}}\n"
        "- {name: s, type: python, source: {type: code, path: two.py},"
        " inputs: {v: '${live.output}', w: '${b.output}'}}",
        {"a": "no"},
        {"s": "Completed"},
        {"o": ["no", "default"]},
    ),
    Case(
        "extended conditions",
        "- {name: s, type: python, source: {type: code, path: s.py}, inputs: {v: '${inputs.a}'},"
        " activate: {when: '${inputs.a}', in: [x, y]}}",
        {"a": "y"},
        {"s": "Completed"},
        {"o": "y"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_activation(tmp_path: Path, case: Case) -> None:
    folder = write_files(
        tmp_path,
        {
            "flow.dag.yaml": "inputs: {a: {type: string}}\n"
            "outputs: {o: {type: string, reference: '${s.output}'}}\nnodes:\n" + case.nodes,
            "s.py": IDENTITY,
            "two.py": tool_source("def two(v, w='default'):\n    return [v, w]"),
        },
    )

    line = executor_of(folder).run_line(case.inputs)

    assert line.status is Status.COMPLETED, line.error
    assert line.output == case.outputs
    assert {node.node: node.status.value for node in line.nodes}.items() >= case.statuses.items()
