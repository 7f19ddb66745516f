"""Aggregation nodes over succeeded lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptflow_lite.records import Status
from promptflow_lite.runtime import AggregationResult
from tests.support.flow_files import executor_of, tool_source, write_files

YAML = """
    inputs:
      x: {type: int}
      tag: {type: string, default: none}
    outputs:
      y: {type: object, reference: "${double.output}"}
    nodes:
    - {name: double, type: python, source: {type: code, path: double.py}, inputs: {x: "${inputs.x}"}}
    - name: total
      type: python
      source: {type: code, path: total.py}
      inputs: {values: "${double.output.value}", tags: "${inputs.tag}"}
      aggregation: true
    - name: after
      type: python
      source: {type: code, path: after.py}
      inputs: {total: "${total.output}"}
      aggregation: true
    """
FILES = {
    "flow.dag.yaml": YAML,
    "double.py": tool_source("def double(x):\n    return {'value': 2 * x}"),
    "total.py": tool_source(
        "def total(values, tags):\n    log_metric('tags', ''.join(tags))\n    log_metric('total', sum(values))\n"
        "    return sum(values)",
        imports="from promptflow.core import log_metric\n",
    ),
    "after.py": tool_source("def after(total):\n    return total + 1"),
}


def aggregate(folder: Path, rows: list[dict[str, Any]]) -> AggregationResult:
    executor = executor_of(folder)
    lines = [executor.run_line(row, line_number=number) for number, row in enumerate(rows)]
    done = [executor.aggregation_values(line) for line in lines if line.status is Status.COMPLETED]
    return executor.run_aggregation(done)


def test_lists_hold_the_succeeded_lines_in_order(tmp_path: Path) -> None:
    result = aggregate(write_files(tmp_path, FILES), [{"x": 1, "tag": "a"}, {"x": "bad"}, {"x": 3}])

    assert result.metrics == {"tags": "anone", "total": 8}
    assert result.outputs == {"total": 8, "after": 9}


def test_a_failing_aggregation_keeps_earlier_metrics_and_cancels_the_rest(tmp_path: Path) -> None:
    broken = tool_source(
        "def total(values, tags):\n    log_metric('seen', len(values))\n    raise ValueError('no')",
        imports="from promptflow.core import log_metric\n",
    )
    result = aggregate(write_files(tmp_path, {**FILES, "total.py": broken}), [{"x": 1}])

    assert result.metrics == {"seen": 1}
    assert [(node.node, node.status) for node in result.nodes] == [
        ("total", Status.FAILED),
        ("after", Status.CANCELED),
    ]


def test_without_succeeded_lines_aggregation_sees_empty_lists(tmp_path: Path) -> None:
    result = aggregate(write_files(tmp_path, FILES), [{"x": "bad"}])

    assert result.metrics == {"tags": "", "total": 0}
