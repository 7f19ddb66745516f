"""What `@trace` records, for every kind of function."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from promptflow_lite.records import Span
from promptflow_lite.tracing import Scope, ThreadPoolExecutorWithContext, start_trace, stop_trace, trace


class Collected:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[tuple[Span, str, str | None]] = []

    def emit(self, span: Span, *, collection: str, session: str | None, resource: dict[str, Any]) -> None:
        self.spans.append((span, collection, session))


@pytest.fixture
def sink() -> Any:
    collected = Collected()
    start_trace(collection="tests", session="s1", sink=collected)
    yield collected
    stop_trace()


@trace
def double(x: int, factor: int = 2) -> int:
    return x * factor


@trace(args_to_ignore=["secret"])
def with_secret(secret: str, name: str) -> str:
    return name


@trace
async def later(x: int) -> int:
    await asyncio.sleep(0)
    return double(x)


@trace
def numbers(n: int) -> Any:
    for i in range(n):
        yield double(i)


@trace
async def async_numbers(n: int) -> Any:
    for i in range(n):
        yield await later(i)


@trace
def broken() -> None:
    raise ValueError("boom")


def test_without_a_listener_the_function_just_runs() -> None:
    assert double(4) == 8
    assert list(numbers(3)) == [0, 2, 4]


def test_a_call_inside_a_node_becomes_a_span_with_defaults_filled_in() -> None:
    with Scope("node") as scope:
        double(3)

    (span,) = scope.spans
    assert (span.name, span.kind, span.inputs, span.output) == ("double", "Function", {"x": 3, "factor": 2}, 6)
    assert span.end_time is not None
    assert span.end_time >= span.start_time


def test_ignored_arguments_are_not_recorded() -> None:
    with Scope("node") as scope:
        with_secret("s3cret", name="n")

    assert scope.spans[0].inputs == {"name": "n"}


def test_methods_do_not_record_self() -> None:
    class Greeter:
        @trace
        def greet(self, name: str) -> str:
            return f"hi {name}"

    with Scope("node") as scope:
        Greeter().greet("you")

    assert scope.spans[0].inputs == {"name": "you"}
    assert scope.spans[0].name.endswith("Greeter.greet")


def test_nested_calls_form_a_tree() -> None:
    with Scope("node") as scope:
        assert asyncio.run(later(5)) == 10

    (span,) = scope.spans
    assert span.name == "later"
    assert [child.name for child in span.children] == ["double"]


def test_an_exception_is_recorded_and_raised() -> None:
    with Scope("node") as scope, pytest.raises(ValueError, match="boom"):
        broken()

    assert scope.spans[0].error == {"type": "ValueError", "message": "boom"}


def test_a_generator_span_ends_when_it_is_exhausted() -> None:
    with Scope("node") as scope:
        items = numbers(2)
        (span,) = scope.spans
        assert span.end_time is None
        assert next(items) == 0
        double(100)
        assert list(items) == [2]

    assert span.output == [0, 2]
    assert span.attributes == {"output_type": "iterated"}
    assert [child.inputs["x"] for child in span.children] == [0, 1]
    assert [s.name for s in scope.spans] == ["numbers", "double"]


def test_a_generator_left_early_keeps_what_it_gave() -> None:
    with Scope("node") as scope:
        items = numbers(5)
        next(items)
        items.close()

    assert scope.spans[0].output == [0]
    assert scope.spans[0].error is None


def test_an_async_generator_is_recorded_as_one_span() -> None:
    async def consume() -> list[int]:
        return [item async for item in async_numbers(3)]

    with Scope("node") as scope:
        assert asyncio.run(consume()) == [0, 2, 4]

    (span,) = scope.spans
    assert span.output == [0, 2, 4]
    assert [child.name for child in span.children] == ["later"] * 3


def test_threads_of_the_pool_report_into_the_submitting_span() -> None:
    @trace
    def fan_out() -> list[int]:
        with ThreadPoolExecutorWithContext(max_workers=2) as pool:
            return list(pool.map(double, [1, 2, 3]))

    with Scope("node") as scope:
        assert fan_out() == [2, 4, 6]

    assert len(scope.spans[0].children) == 3


def test_start_trace_keeps_root_calls_outside_a_flow(sink: Collected) -> None:
    double(1)
    list(numbers(2))

    assert [(span.name, collection, session) for span, collection, session in sink.spans] == [
        ("double", "tests", "s1"),
        ("numbers", "tests", "s1"),
    ]


def test_a_failing_sink_never_breaks_the_program(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def emit(self, span: Span, **_: Any) -> None:
            raise OSError("disk full")

    start_trace(sink=Broken())
    try:
        assert double(2) == 4
    finally:
        stop_trace()

    assert "could not be stored" in caplog.text
