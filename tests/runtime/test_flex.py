"""Flex flows: entries of every kind, signatures, init values and aggregation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.connections import AzureOpenAIConnection, DictConnectionSource, OpenAIConnection
from promptflow_lite.errors import (
    FlowEntryInitializationError,
    InvalidAggregationFunction,
    InvalidModelConfigValueType,
    PythonLoadError,
)
from promptflow_lite.flow import FlexFlow, InputSpec
from promptflow_lite.records import Status
from promptflow_lite.runtime import PlainOutput, finish_streams, streamed_outputs, unwrap_output
from promptflow_lite.runtime.flex import FlexExecutor

CODE = """
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, TypedDict, Union

from promptflow.connections import OpenAIConnection
from promptflow.core import AzureOpenAIModelConfiguration, OpenAIModelConfiguration, log_metric
from promptflow.tracing import trace


@trace
def double(x: int) -> int:
    return 2 * x


def typed(a: str, n: int = 2, flag: Optional[bool] = None) -> List[str]:
    return [a, double(n), flag]


def any_keyword(a, **rest):
    return {"a": a, "rest": rest}


async def asynchronous(a: str) -> dict:
    return {"x": a}


async def asynchronous_failure(a: str):
    raise KeyError(a)


def letters(a: str):
    yield from a


async def async_letters(a: str):
    for letter in a:
        yield letter


def broken_letters(a: str):
    yield "x"
    raise RuntimeError("mid stream")


def broken(a: str):
    raise RuntimeError("no " + a)


@dataclass
class Answer:
    text: str
    score: float


def as_dataclass(a: str) -> Answer:
    return Answer(a, 0.5)


class Reply(TypedDict):
    text: str
    tags: List[str]


def as_typed_dict(a: Dict[str, Any], b: Union[int, str]) -> Reply:
    return {"text": str(b), "tags": sorted(a)}


class Greeter:
    def __init__(
        self,
        p: str,
        q: int = 3,
        conn: Optional[OpenAIConnection] = None,
        config: Union[AzureOpenAIModelConfiguration, OpenAIModelConfiguration, None] = None,
    ):
        self.p, self.q, self.conn, self.config = p, q, conn, config

    def __call__(self, a: str, n: int = 2) -> str:
        return f"{self.p} {self.q!r} {a} {n!r}"

    def __aggregate__(self, line_results):
        log_metric("logged", 1)
        return {"count": len(line_results), "first": line_results[0]}


class AsyncGreeter:
    async def __call__(self, a: str):
        return {"said": a}

    async def __aggregate__(self, results):
        return {"both": results[0].said + results[1]["said"]}


class FailingAggregate(AsyncGreeter):
    def __aggregate__(self, results):
        raise RuntimeError("no metrics")


class WrongAggregate(AsyncGreeter):
    def __aggregate__(self, results, extra):
        return {}


@trace
class TracedClass:
    def __init__(self, end: str):
        self.end = end

    def __call__(self, a: str):
        return a + self.end


class Picky:
    def __init__(self, a):
        raise ValueError("not today")

    def __call__(self, a: str):
        return a
"""

CONNECTIONS = DictConnectionSource(
    {"oc": OpenAIConnection("key-o", base_url="http://o"), "az": AzureOpenAIConnection("http://a", "key-a")}
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "entries.py").write_text(CODE)
    return tmp_path


def flow_of(root: Path, entry: str, **fields: Any) -> FlexFlow:
    return FlexFlow(path=root / "flow.flex.yaml", root=root, name="f", entry=f"entries:{entry}", **fields)


def executor_of(root: Path, entry: str, init: dict[str, Any] | None = None, **fields: Any) -> FlexExecutor:
    return FlexExecutor(flow_of(root, entry, **fields), CONNECTIONS, init=init)


@pytest.mark.parametrize(
    ("entry", "inputs", "returned"),
    [
        ("typed", {"a": 3, "n": "4"}, ["3", 8, None]),
        ("typed", {"a": "x", "flag": "true"}, ["x", 4, True]),
        ("typed", {"a": "x", "flag": None}, ["x", 4, None]),
        ("any_keyword", {"a": 1, "b": 2}, {"a": 1, "rest": {}}),
        ("asynchronous", {"a": "v"}, {"x": "v"}),
        ("letters", {"a": "abc"}, "abc"),
        ("async_letters", {"a": "abc"}, "abc"),
        ("as_dataclass", {"a": "t"}, {"text": "t", "score": 0.5}),
        ("as_typed_dict", {"a": '{"k": 1}', "b": 7}, {"text": "7", "tags": ["k"]}),
        ("AsyncGreeter", {"a": "hi"}, {"said": "hi"}),
    ],
)
def test_every_kind_of_entry_returns_its_value(root: Path, entry: str, inputs: dict[str, Any], returned: Any) -> None:
    line = executor_of(root, entry).run_line(inputs)

    assert line.status is Status.COMPLETED, line.error
    assert unwrap_output(line.output) == returned


def test_a_plain_value_is_recorded_under_output(root: Path) -> None:
    line = executor_of(root, "typed").run_line({"a": "x"})

    assert line.output == {"output": ["x", 4, None]}
    assert isinstance(line.output, PlainOutput)


def test_the_line_number_is_recorded_but_not_passed(root: Path) -> None:
    line = executor_of(root, "any_keyword").run_line({"a": 1, "line_number": 7}, line_number=7)

    assert line.inputs == {"a": 1, "line_number": 7}
    assert line.output == {"a": 1, "rest": {}}


@pytest.mark.parametrize(
    ("entry", "inputs", "codes", "message"),
    [
        ("broken", {"a": "x"}, ["UserError", "ToolExecutionError", "ScriptExecutionError"], "(RuntimeError) no x"),
        ("asynchronous_failure", {"a": "x"}, ["UserError", "ToolExecutionError", "ScriptExecutionError"], "KeyError"),
        ("broken_letters", {"a": "x"}, ["UserError", "ToolExecutionError", "ScriptExecutionError"], "mid stream"),
        ("typed", {}, ["UserError", "ValidationError", "InvalidFlowRequest", "InputNotFound"], "'a'"),
        (
            "typed",
            {"a": "x", "n": "y"},
            ["UserError", "ValidationError", "InvalidFlowRequest", "InputTypeError"],
            "'n'",
        ),
    ],
)
def test_a_failure_is_the_lines_record(
    root: Path, entry: str, inputs: dict[str, Any], codes: list[str], message: str
) -> None:
    line = executor_of(root, entry).run_line(inputs)

    assert line.status is Status.FAILED
    assert line.error is not None
    found, level = [], line.error
    while level:
        found.append(level["code"])
        level = level["innerError"]
    assert found == codes
    assert message in line.error["message"]


def test_a_failures_details_start_in_the_users_file(root: Path) -> None:
    line = executor_of(root, "broken").run_line({"a": "x"})

    assert line.error is not None
    details = line.error["additionalInfo"][0]
    assert details["type"] == "FlexFlowExecutionErrorDetails"
    assert details["info"]["filename"].endswith("entries.py")
    assert details["info"]["name"] == "broken"


def test_a_streaming_caller_gets_the_generator(root: Path) -> None:
    line = executor_of(root, "letters").run_line({"a": "abc"}, allow_stream=True)
    [(name, stream)] = streamed_outputs(line)

    assert name == "output"
    assert next(stream) == "a"
    finish_streams(line)
    assert line.output == {"output": "a"}


def test_traced_functions_are_spans_of_the_line(root: Path) -> None:
    line = executor_of(root, "typed").run_line({"a": "x", "n": 5})

    [span] = line.spans
    assert span.name == "typed"
    assert [(child.name, child.inputs, child.output) for child in span.children] == [("double", {"x": 5}, 10)]


def test_the_sample_is_used_when_no_inputs_are_given(root: Path) -> None:
    executor = executor_of(root, "any_keyword", sample={"inputs": {"a": "sampled"}})

    assert executor.run_line({}).output == {"a": "sampled", "rest": {}}
    assert executor.run_line({"line_number": 0}, line_number=0).status is Status.FAILED


def test_the_yaml_signature_types_and_defaults(root: Path) -> None:
    declared = {"a": InputSpec(name="a", type="int", default=5)}
    executor = executor_of(root, "any_keyword", inputs=declared)

    assert executor.run_line({}).output == {"a": 5, "rest": {}}
    assert executor.run_line({"a": "6"}).output == {"a": 6, "rest": {}}


def test_declared_inputs_without_default_may_have_one_in_python(root: Path) -> None:
    declared = {"a": InputSpec(name="a"), "n": InputSpec(name="n", type="int"), "flag": InputSpec(name="flag")}
    executor = executor_of(root, "typed", inputs=declared)

    assert list(executor.input_specs) == ["a"]
    assert executor.run_line({"a": "x"}).output == {"output": ["x", 4, None]}


def test_inferred_inputs_leave_out_what_may_stay_away(root: Path) -> None:
    specs = executor_of(root, "typed").input_specs

    assert {name: (spec.type, spec.default) for name, spec in specs.items()} == {"a": ("string", None), "n": ("int", 2)}


@pytest.mark.parametrize(
    ("init", "text"),
    [
        ({"p": "P"}, "P 3 x 2"),
        ({"p": "P", "q": "7"}, "P 7 x 2"),
        ({"p": "P", "q": 7}, "P 7 x 2"),
    ],
)
def test_init_texts_are_typed_by_annotation(root: Path, init: dict[str, Any], text: str) -> None:
    assert executor_of(root, "Greeter", init).run_line({"a": "x"}).output == {"output": text}


def test_a_decorated_class_is_still_a_class(root: Path) -> None:
    assert executor_of(root, "TracedClass", {"end": "!"}).run_line({"a": "x"}).output == {"output": "x!"}


def test_the_sample_init_is_used_when_none_is_given(root: Path) -> None:
    executor = executor_of(root, "Greeter", sample={"init": {"p": "S"}})

    assert executor.run_line({"a": "x"}).output == {"output": "S 3 x 2"}


def test_a_connection_name_becomes_the_connection(root: Path) -> None:
    greeter = executor_of(root, "Greeter", {"p": "P", "conn": "oc"})._instance

    assert greeter.conn.api_key == "key-o"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model": "m", "connection": "oc"}, ("OpenAIModelConfiguration", "m", "key-o")),
        ({"azure_deployment": "d", "connection": "az"}, ("AzureOpenAIModelConfiguration", "d", "key-a")),
        ({"model": "m", "api_key": "k"}, ("OpenAIModelConfiguration", "m", "k")),
    ],
)
def test_a_mapping_becomes_the_annotated_model_configuration(
    root: Path, config: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    greeter = executor_of(root, "Greeter", {"p": "P", "config": config})._instance
    made = greeter.config

    assert (type(made).__name__, getattr(made, made.model_key), made.api_key) == expected
    assert made.connection is None
    assert made.api_key not in repr(made)


def test_a_connection_of_the_wrong_kind_is_refused(root: Path) -> None:
    with pytest.raises(InvalidModelConfigValueType):
        executor_of(root, "Greeter", {"p": "P", "config": {"model": "m", "connection": "az"}})


@pytest.mark.parametrize(
    ("entry", "init", "message"),
    [("Picky", {"a": 1}, "not today"), ("Greeter", {}, "'p'"), ("Greeter", {"p": "P", "q": "many"}, "'q'")],
)
def test_init_that_fails_says_so(root: Path, entry: str, init: dict[str, Any], message: str) -> None:
    with pytest.raises(FlowEntryInitializationError, match=message):
        executor_of(root, entry, init)


def aggregate(executor: FlexExecutor, *values: str) -> dict[str, Any]:
    lines = [executor.run_line({"a": value}, line_number=i) for i, value in enumerate(values)]
    return executor.run_aggregation([executor.aggregation_values(line) for line in lines]).metrics


def test_aggregate_gets_plain_values_and_its_dict_becomes_metrics(root: Path) -> None:
    metrics = aggregate(executor_of(root, "Greeter", {"p": "P"}), "x", "y")

    assert metrics == {"logged": 1, "count": 2, "first": "P 3 x 2"}


def test_aggregate_reads_dicts_by_key_and_attribute_and_may_be_async(root: Path) -> None:
    assert aggregate(executor_of(root, "AsyncGreeter"), "a", "b") == {"both": "ab"}


def test_a_failing_aggregate_costs_only_the_metrics(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert aggregate(executor_of(root, "FailingAggregate"), "a") == {}
    assert "no metrics" in caplog.text


def test_an_aggregate_with_two_parameters_is_refused(root: Path) -> None:
    with pytest.raises(InvalidAggregationFunction):
        executor_of(root, "WrongAggregate")


@pytest.mark.parametrize("entry", ["missing_module:f", "entries:missing"])
def test_an_entry_that_does_not_exist_is_named(root: Path, entry: str) -> None:
    flow = FlexFlow(path=None, root=root, name="f", entry=entry)
    with pytest.raises(PythonLoadError, match="missing"):
        FlexExecutor(flow, CONNECTIONS)


def test_two_flows_may_have_modules_of_the_same_name(tmp_path: Path) -> None:
    answers = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "shared_name.py").write_text(f"def f(a: str):\n    return {name!r}\n")
        flow = FlexFlow(path=None, root=folder, name=name, entry="shared_name:f")
        answers.append(FlexExecutor(flow, CONNECTIONS).run_line({"a": "x"}).output)
    assert answers == [{"output": "one"}, {"output": "two"}]


def test_an_edit_is_seen_by_the_next_executor(tmp_path: Path) -> None:
    module = tmp_path / "edited_entry.py"
    flow = FlexFlow(path=None, root=tmp_path, name="f", entry="edited_entry:f")
    for text in ("before", "after it"):
        module.write_text(f"def f(a: str):\n    return {text!r}\n")
        assert FlexExecutor(flow, CONNECTIONS).run_line({"a": "x"}).output == {"output": text}


def test_a_callable_is_run_as_it_is_without_coercion(tmp_path: Path) -> None:
    class Adder:
        def __call__(self, a: int, b: int = 1) -> int:
            return a + b

    flow = FlexFlow(path=None, root=tmp_path, name="f", entry="here:Adder", target=Adder())
    executor = FlexExecutor(flow, CONNECTIONS)

    assert executor.run_line({"a": 2}).output == {"output": 3}
    failed = executor.run_line({"a": "2"})
    assert failed.error is not None
    assert "TypeError" in failed.error["message"]
