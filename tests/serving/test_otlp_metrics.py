"""Metrics and spans of a served flow at a collector stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptflow_lite.connections import DictConnectionSource
from promptflow_lite.sdk.endpoints import EndpointOperations, ServeRequest
from promptflow_lite.serving.otlp_metrics import metric_exporter_from_environment
from promptflow_lite.store import Store
from tests.serving.conftest import AsgiClient, write_flow
from tests.support.otlp import Collector

MODEL_FLOW = {
    "flow.dag.yaml": """\
inputs:
  question: {type: string}
outputs:
  answer: {type: string, reference: "${reply.output}"}
nodes:
- name: reply
  type: llm
  source: {type: code, path: reply.jinja2}
  inputs: {question: "${inputs.question}"}
- name: unused
  type: llm
  source: {type: code, path: reply.jinja2}
  inputs: {question: "${inputs.question}"}
  activate: {when: "${inputs.question}", is: never}
""",
    "reply.jinja2": "user:\n{{question}}\n",
}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    started = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", started.url)
    yield started
    started.close()


def serve(flow: Path, store: Store) -> AsgiClient:
    return AsgiClient(EndpointOperations(store, DictConnectionSource()).app(ServeRequest(flow=str(flow))))


def test_requests_nodes_calls_and_tokens_are_counted_under_the_contracts_names(
    collector: Collector, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PF_SERVING_METRICS_COMMON_DIMENSIONS", '{"region": "north"}')
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:echo")
    flow = write_flow(tmp_path / "answers", MODEL_FLOW)

    client = serve(flow, store)
    assert client.post("/score", {"question": "How are you?"}).status == 200
    assert client.post("/score", {}).status == 400
    client.close()

    named = {"region": "north", "flow": "answers"}
    metrics = collector.metrics()
    requests = {(facts["response_code"], facts["exception"]): n for facts, n in metrics["flow_request"]}
    assert requests == {("200", ""): 1, ("400", "serving.missing_required_flow_input"): 1}
    assert all(facts.items() >= named.items() for facts, _ in metrics["flow_request"])
    assert [(f["node"], f["run_status"], n) for f, n in metrics["node_request"]] == [("reply", "Completed", 1)]
    assert [(f["node"], n) for f, n in metrics["rpc_request"]] == [("reply", 1)]
    tokens = {facts["token_type"]: n for facts, n in metrics["token_consumption"]}
    assert tokens["prompt_tokens"] > 0 < tokens["completion_tokens"]
    assert {f["response_type"] for f, _ in metrics["flow_latency"]} == {"default"}
    assert sum(n for _, n in metrics["flow_latency"]) == 2


def test_streamed_answers_have_a_first_and_a_last_byte(collector: Collector, store: Store, chat_flow: Path) -> None:
    client = serve(chat_flow, store)
    client.post("/score", {"question": "one two"}, headers={"accept": "text/event-stream"})
    client.close()

    metrics = collector.metrics()
    assert {facts["response_type"]: n for facts, n in metrics["flow_latency"]} == {"firstbyte": 1, "lastbyte": 1}
    assert sum(n for _, n in metrics["flow_streaming_response_duration"]) == 1


def test_spans_that_are_queued_are_sent_before_the_server_ends(
    collector: Collector, store: Store, plain_flow: Path
) -> None:
    client = serve(plain_flow, store)
    client.post("/score", {"text": "hi"})
    client.close()

    assert {"plain", "shout", "measure"} <= set(collector.spans())


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_dimensions_that_are_no_object_are_ignored_with_a_warning(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    monkeypatch.setenv("PF_SERVING_METRICS_COMMON_DIMENSIONS", text)

    exporter = metric_exporter_from_environment()

    assert exporter is not None
    exporter.close()
    assert "PF_SERVING_METRICS_COMMON_DIMENSIONS" in caplog.text


def test_without_a_collector_nothing_is_exported() -> None:
    assert metric_exporter_from_environment() is None
