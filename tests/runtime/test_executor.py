"""Lines through DAG flows: order, concurrency, failures, timeouts, streams."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.errors import (
    FlowOutputUnserializable,
    InvalidReferenceProperty,
    NodeTimeoutError,
    ResolveToolError,
)
from promptflow_lite.records import LineResult, Status
from promptflow_lite.runtime import captured_prints, finish_streams, streamed_outputs
from tests.support.flow_files import executor_of, graph_flow, tool_source, write_files


def run(folder: Path, **inputs: Any) -> LineResult:
    return executor_of(folder).run_line(inputs)


def test_nodes_run_in_dependency_order_and_outputs_follow_the_yaml(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a -> b, b -> c, a -> d")

    line = run(folder, x="1")

    assert line.status is Status.COMPLETED
    assert line.output == {"c": "1>a>b>c", "d": "1>a>d"}
    assert line.nodes[0].node == "a"


def test_ready_nodes_run_at_the_same_time(tmp_path: Path) -> None:
    meet = "def {name}(x):\n    import sys\n    sys.modules['pfl_test_barrier'].barrier.wait(5)\n    return x"
    folder = graph_flow(tmp_path, "a, b, c", code={name: meet.format(name=name) for name in "abc"})
    import sys
    import types

    module = types.ModuleType("pfl_test_barrier")
    module.barrier = threading.Barrier(3)  # type: ignore[attr-defined]
    sys.modules["pfl_test_barrier"] = module
    try:
        line = run(folder, x="1")
    finally:
        del sys.modules["pfl_test_barrier"]

    assert line.status is Status.COMPLETED, line.error


def test_a_successor_starts_before_slower_siblings_finish(tmp_path: Path) -> None:
    slow = "def slow(x):\n    import time\n    time.sleep(0.3)\n    return time.time()"
    after = "def after(i_quick):\n    import time\n    return time.time()"
    folder = graph_flow(tmp_path, "slow, quick -> after", code={"slow": slow, "after": after})

    line = run(folder)

    assert line.output["after"] < line.output["slow"]  # type: ignore[index]


def test_a_failing_node_fails_the_line_and_points_at_the_users_line(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a -> b", code={"a": "def a(x):\n    text = x\n    return text.nope()"})

    line = run(folder)

    assert line.status is Status.FAILED
    assert line.output is None
    assert line.error is not None
    info = line.error["additionalInfo"][0]
    assert info["type"] == "ToolExecutionErrorDetails"
    assert Path(info["info"]["filename"]).name == "a.py"
    assert info["info"]["lineno"] == 7
    assert "promptflow_lite" not in info["info"]["traceback"]
    assert line.error["innerError"]["code"] == "ToolExecutionError"
    assert [node.node for node in line.nodes] == ["a"]


def test_a_tools_own_package_error_is_passed_on_unwrapped(tmp_path: Path) -> None:
    code = "def a(x):\n    from promptflow.exceptions import UserErrorException as E\n    raise E('my message')"
    folder = graph_flow(tmp_path, "a", code={"a": code})

    line = run(folder)

    assert line.error is not None
    assert line.error["message"] == "my message"
    assert line.error["innerError"] is None


def test_a_missing_property_of_an_output_is_a_clear_error(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a", code={"a": "def a(x):\n    return {'b': 1}"})
    yaml = (folder / "flow.dag.yaml").read_text()
    (folder / "flow.dag.yaml").write_text(yaml.replace("${a.output}", "${a.output.c}"))

    line = run(folder)

    assert isinstance(line.exception, InvalidReferenceProperty)


def test_async_tools_run_together_and_keep_their_context(tmp_path: Path) -> None:
    code = (
        "async def {name}(x):\n    import asyncio\n    await asyncio.sleep(0.2)\n    print('from {name}')\n    return x"
    )
    folder = graph_flow(tmp_path, "a, b, c", code={name: code.format(name=name) for name in "abc"})
    executor = executor_of(folder)

    started = time.monotonic()
    with captured_prints(echo=False):
        line = executor.run_line({"x": "1"})

    assert line.output == {"a": "1", "b": "1", "c": "1"}
    assert time.monotonic() - started < 0.55
    assert {node.node: node.stdout.split("] ")[1] for node in line.nodes} == {n: f"from {n}\n" for n in "abc"}


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_generator_outputs_are_joined_unless_the_caller_streams(tmp_path: Path, kind: str) -> None:
    folder = graph_flow(tmp_path, "a", code={"a": f"{kind} a(x):\n    yield x\n    yield '!'"})
    executor = executor_of(folder)

    joined = executor.run_line({"x": "hi"})
    streamed = executor.run_line({"x": "hi"}, allow_stream=True)

    assert joined.output == {"a": "hi!"}
    assert joined.nodes[0].output.items == ["hi", "!"]
    assert [list(stream) for _, stream in streamed_outputs(streamed)] == [["hi", "!"]]
    finish_streams(streamed)
    assert streamed.output == {"a": "hi!"}


def test_an_error_inside_a_stream_fails_the_finished_line(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a", code={"a": "def a(x):\n    yield x\n    raise ValueError('cut')"})
    line = executor_of(folder).run_line({"x": "hi"}, allow_stream=True)
    ((_, stream),) = streamed_outputs(line)

    with pytest.raises(ValueError, match="cut"):
        list(stream)
    finish_streams(line)

    assert line.status is Status.FAILED
    assert line.output == {"a": "hi"}


def test_an_output_without_json_form_is_refused_but_nodes_may_exchange_it(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path / "bad", "a", code={"a": "def a(x):\n    return object()"})
    fine = graph_flow(
        tmp_path / "fine",
        "a -> b",
        code={"a": "def a(x):\n    return object()", "b": "def b(i_a):\n    return type(i_a).__name__"},
    )

    assert isinstance(run(folder).exception, FlowOutputUnserializable)
    assert run(fine).output == {"b": "object"}


def test_a_line_over_its_time_limit_is_given_up(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a", code={"a": "def a(x):\n    import time\n    time.sleep(2)"})

    line = executor_of(folder).run_line({"x": "1"}, line_number=3, timeout_s=0.1)

    assert line.status is Status.FAILED
    assert line.error is not None
    assert line.error["innerError"]["code"] == "LineExecutionTimeoutError"
    assert "0.1 seconds" in line.error["message"]


def test_a_nodes_time_limit_costs_that_node(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a", code={"a": "def a(x):\n    import time\n    time.sleep(2)"})
    yaml = (folder / "flow.dag.yaml").read_text()
    (folder / "flow.dag.yaml").write_text(yaml + "  timeout_s: 0.1\n")

    line = run(folder)

    assert isinstance(line.exception, NodeTimeoutError)


def test_a_node_is_tried_again_as_its_retry_says(tmp_path: Path) -> None:
    code = (
        "def a(x, calls=[]):\n    calls.append(1)\n    if len(calls) < 3:\n        raise OSError\n    return len(calls)"
    )
    folder = graph_flow(tmp_path, "a", code={"a": code})
    yaml = (folder / "flow.dag.yaml").read_text()
    (folder / "flow.dag.yaml").write_text(yaml + "  retry: {max_attempts: 3, delay_s: 0}\n")

    line = run(folder)

    assert line.output == {"a": 3}
    assert line.nodes[0].attempts == 3


def test_a_cancelled_line_starts_no_further_node(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a -> b")
    cancel = threading.Event()
    cancel.set()

    line = executor_of(folder).run_line({"x": "1"}, cancel=cancel)

    assert line.status is Status.CANCELED
    assert line.nodes == []


def test_two_flows_with_equally_named_helpers_do_not_mix(tmp_path: Path) -> None:
    for name in ("one", "two"):
        graph_flow(tmp_path / name, "a", code={"a": "def a(x):\n    import helper\n    return helper.NAME"})
        (tmp_path / name / "a.py").write_text(
            tool_source("def a(x):\n    return helper.NAME", imports="import helper\n")
        )
        (tmp_path / name / "helper.py").write_text(f"NAME = {name!r}\n")

    assert [run(tmp_path / name).output for name in ("one", "two", "one")] == [{"a": "one"}, {"a": "two"}, {"a": "one"}]


def test_each_node_has_its_own_copy_of_a_shared_file(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "flow.dag.yaml": """
                inputs: {x: {type: string, default: v}}
                outputs:
                  a: {type: int, reference: "${a.output}"}
                  b: {type: int, reference: "${b.output}"}
                nodes:
                - {name: a, type: python, source: {type: code, path: n.py}, inputs: {x: "${inputs.x}"}}
                - {name: b, type: python, source: {type: code, path: n.py}, inputs: {x: "${a.output}"}}
                """,
            "n.py": tool_source("def n(x):\n    COUNT.append(x)\n    return len(COUNT)", imports="COUNT = []\n"),
        },
    )

    assert run(tmp_path).output == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("code", "inner"),
    [
        ("x = 1\n", "NoToolDefined"),
        ("from promptflow.core import tool\n@tool\ndef a(): ...\n@tool\ndef b(): ...\n", "MultipleToolsDefined"),
        ("def a(:\n", "PythonLoadError"),
        ("raise RuntimeError('at import')\n", "PythonLoadError"),
    ],
    ids=["no tool", "two tools", "syntax error", "import error"],
)
def test_a_file_that_gives_no_tool_is_a_clear_error(tmp_path: Path, code: str, inner: str) -> None:
    folder = graph_flow(tmp_path, "a")
    (folder / "a.py").write_text(code)

    with pytest.raises(ResolveToolError) as caught:
        executor_of(folder)

    assert caught.value.error_codes[-1] == inner
    assert caught.value.where is not None
    assert caught.value.where.path.endswith("a.py")


def test_flows_of_one_process_keep_their_modules_apart_without_packages_and_inside_each_other(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "one" / "inner"]
    for folder in folders:
        (folder / "words").mkdir(parents=True)
        (folder / "words" / "part.py").write_text(f"WORD = {folder.name!r}\n")
        (folder / "helper.py").write_text(f"WORD = {folder.name!r}\n")
    code = {"a": "def a(x):\n    return [near, far]"}
    for folder in folders:
        graph_flow(folder, "a", code=code)
        (folder / "a.py").write_text(
            "from helper import WORD as near\nfrom words.part import WORD as far\n" + (folder / "a.py").read_text()
        )

    answers = [run(folder).output for folder in [*folders, folders[0]]]

    assert [next(iter(answer.values())) for answer in answers] == [[n, n] for n in ("one", "two", "inner", "one")]


@pytest.mark.parametrize("is_flex", [False, True])
def test_a_plain_folder_is_found_although_another_flow_has_a_module_of_its_name(tmp_path: Path, is_flex: bool) -> None:
    other = graph_flow(tmp_path / "other", "a")
    (other / "shared.py").write_text("def answer(x: str) -> str:\n    return x\n")
    if is_flex:
        (other / "flow.dag.yaml").unlink()
        (other / "flow.flex.yaml").write_text("entry: shared:answer\n")
    flow = graph_flow(tmp_path / "flow", "a", code={"a": "def a(x):\n    return part.WORD"})
    (flow / "shared").mkdir()
    (flow / "shared" / "part.py").write_text("WORD = 'part'\n")
    (flow / "a.py").write_text("from shared import part\n" + (flow / "a.py").read_text())
    executor_of(other)

    assert run(flow).output == {"a": "part"}


def test_a_module_that_is_not_installed_is_named_with_what_to_do(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a")
    (folder / "a.py").write_text("import surely_not_installed.part\n")

    with pytest.raises(ResolveToolError) as caught:
        executor_of(folder)

    assert caught.value.hint is not None
    assert "'surely_not_installed' is not installed" in caught.value.hint


def test_a_tool_that_does_not_take_its_inputs_is_told_so(tmp_path: Path) -> None:
    line = run(graph_flow(tmp_path, "a", code={"a": "def a(x, needed):\n    return x"}))

    assert line.error is not None
    assert "'needed'" in line.error["message"]
    assert "compare the node's inputs" in line.error["hint"]


def test_a_tool_that_exits_costs_its_line_only(tmp_path: Path) -> None:
    folder = graph_flow(tmp_path, "a", code={"a": "def a(x):\n    raise SystemExit(3)"})

    line = run(folder)

    assert line.status is Status.FAILED
    assert line.error is not None
    assert line.error["innerError"]["code"] == "ToolExecutionError"
