"""OTLP export against a collector stand-in, W3C context, and the local trace store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.records import NodeResult, ServedRequest, Span, Status, Usage
from promptflow_lite.sdk.traces import start_trace
from promptflow_lite.store import Store
from promptflow_lite.tracing import parse_traceparent, stop_trace, trace
from promptflow_lite.tracing.context import TraceContext, parse_baggage
from promptflow_lite.tracing.export import SpanExporter, exporter_from_environment
from tests.support.otlp import Collector, attributes


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


def served() -> ServedRequest:
    call = Span(
        "openai_chat",
        "LLM",
        10.1,
        10.9,
        inputs={"m": 1},
        output="hi",
        usage=Usage(7, 3, 1),
        attributes={"model": "gpt"},
    )
    node = NodeResult("chat", Status.COMPLETED, inputs={}, output="hi", start_time=10.0, end_time=11.0, spans=[call])
    bypassed = NodeResult("other", Status.BYPASSED, start_time=11.0, end_time=11.0)
    return ServedRequest(
        request_id="r",
        endpoint="talk",
        deployment="v1",
        start_time=10.0,
        duration_ms=1000,
        trace_id="ab" * 16,
        parent_span_id="cd" * 8,
        nodes=[node, bypassed],
        inputs={"q": "secret question"},
        output={"a": "hi"},
        prompt_tokens=7,
        completion_tokens=3,
        error={"message": "boom", "errorCode": "tool.failed"},
    )


def test_a_request_arrives_as_a_tree_in_the_callers_trace(collector: Collector) -> None:
    exporter = SpanExporter(f"{collector.url}/v1/traces")
    exporter.export_requests([served()])
    exporter.close()

    spans = collector.spans()
    assert set(spans) == {"talk", "chat", "openai_chat"}
    root, node, call = spans["talk"], spans["chat"], spans["openai_chat"]
    assert {s.trace_id.hex() for s in spans.values()} == {"ab" * 16}
    assert (root.parent_span_id.hex(), node.parent_span_id, call.parent_span_id) == (
        "cd" * 8,
        root.span_id,
        node.span_id,
    )
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (10 * 10**9, 11 * 10**9)
    assert (root.status.message, attributes(root)["error.type"]) == ("boom", "tool.failed")


def test_model_calls_follow_the_genai_conventions(collector: Collector) -> None:
    exporter = SpanExporter(f"{collector.url}/v1/traces")
    exporter.export_requests([served()])
    exporter.close()

    found = attributes(collector.spans()["openai_chat"])
    assert {k: v for k, v in found.items() if k.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.response.model": "gpt",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
    }
    assert (found["span_type"], found["llm.usage.total_tokens"]) == ("LLM", 10)


def test_content_stays_here_if_asked(collector: Collector) -> None:
    exporter = SpanExporter(f"{collector.url}/v1/traces", with_content=False)
    exporter.export_requests([served()])
    exporter.close()

    assert all("inputs" not in attributes(s) and "output" not in attributes(s) for s in collector.spans().values())


@pytest.mark.parametrize("off", ["PF_BUILTIN_TRACE_EXPORTERS_DISABLE", "PF_TRACING_SKIP_EXPORTER_SETUP"])
def test_the_standard_variables_name_the_collector(off: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exporter_from_environment() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1/")
    monkeypatch.setenv(off, "true")
    assert exporter_from_environment() is None


@pytest.mark.parametrize(
    ("header", "is_valid"),
    [
        (f"00-{'ab' * 16}-{'cd' * 8}-01", True),
        (f"00-{'AB' * 16}-{'cd' * 8}-00", True),
        (f"cc-{'ab' * 16}-{'cd' * 8}-01-future", True),
        (f"ff-{'ab' * 16}-{'cd' * 8}-01", False),
        (f"00-{'00' * 16}-{'cd' * 8}-01", False),
        (f"00-{'ab' * 16}-{'00' * 8}-01", False),
        ("00-ab-cd-01", False),
        ("", False),
        (None, False),
    ],
)
def test_trace_parents_are_read_by_the_standard(header: str | None, is_valid: bool) -> None:
    context = parse_traceparent(header)

    assert (context is not None) is is_valid
    if context is not None:
        assert parse_traceparent(context.to_headers()["traceparent"]) == context


def test_baggage_travels() -> None:
    assert parse_baggage("a=1, b=two%20words;prop=x,broken, =y") == {"a": "1", "b": "two words"}
    context = TraceContext(trace_id="ab" * 16, span_id="cd" * 8, baggage={"k ey": "v,1"})
    assert parse_baggage(context.to_headers()["baggage"]) == {"k ey": "v,1"}
    assert context.child().trace_id == context.trace_id


def test_user_code_is_traced_into_the_local_store_and_the_collector(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)

    @trace
    def inner(x: int) -> int:
        return x + 1

    @trace
    def outer(x: int) -> int:
        return inner(x)

    sink = start_trace(collection="c", session="s")
    assert sink is not None
    try:
        outer(1)
    finally:
        stop_trace()
        sink.close()

    with Store.open() as store:
        (record,) = store.traces.list(collection="c")
    assert record.spans["children"][0]["inputs"] == {"x": 1}
    assert len(collector.spans()) == 2
    assert main(["trace", "show", record.trace_id[:8]]) == 0
    assert "inner  Function" in capsys.readouterr().out
    assert main(["trace", "delete", "--collection", "c", "--yes"]) == 0
    assert main(["trace", "list", "-o", "json"]) == 0
    assert capsys.readouterr().out.strip() == "[]"


def test_an_unusable_store_never_stops_the_program(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PFL_DATABASE_URL", "nonsense://x")

    assert start_trace() is None
    assert "not kept" in caplog.text
