"""Traffic summaries, judged samples, verdicts between deployments, alerts and the way back into data."""

from __future__ import annotations

import json
import random
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.errors import EvaluatorError, ServingError
from promptflow_lite.monitoring import (
    AlertBook,
    Watch,
    WatchSettings,
    channels_from,
    compare_deployments,
    data_rows,
    drift_against_run,
    judge_endpoint,
    load_evaluator,
    parse_rule,
    save_as_run,
    summarize_scores,
    summarize_traffic,
    worst_requests,
)
from promptflow_lite.monitoring.judging import sample_requests
from promptflow_lite.records import Feedback, LineResult, NodeResult, RunRecord, ServedRequest, Status
from promptflow_lite.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "pfl.sqlite") as opened:
        yield opened


def request(i: int, deployment: str = "a", **more: Any) -> ServedRequest:
    node = NodeResult("n", Status.COMPLETED, inputs={}, output="x", start_time=1000.0, end_time=1000.01 + i / 1e5)
    values: dict[str, Any] = {
        "request_id": f"r{i}",
        "endpoint": "e",
        "deployment": deployment,
        "start_time": 1000.0 + i,
        "duration_ms": float(i + 1),
        "inputs": {"question": f"q{i}", "ground_truth": "yes"},
        "output": {"answer": "yes"},
        "nodes": [node],
    }
    return ServedRequest(**(values | more))


def test_traffic_is_summarised_per_deployment_and_node() -> None:
    records = [request(i, status_code=400 if i < 5 else 200, prompt_tokens=2, cost=0.5) for i in range(100)]
    records += [request(i, "b", is_shadow=True, first_token_ms=3.0) for i in range(10)]

    a, b = summarize_traffic(records)

    assert (a.n, a.n_failed, a.error_rate, a.prompt_tokens, a.cost) == (100, 5, 0.05, 200, 50.0)
    assert (a.p50_ms, a.p95_ms, a.p99_ms) == (50.0, 95.0, 99.0)
    assert a.error_interval is not None
    assert a.error_interval.low < 0.05 < a.error_interval.high
    assert (a.nodes[0].node, a.nodes[0].n) == ("n", 100)
    assert (b.is_shadow, b.first_token_p50_ms) == (True, 3.0)


def test_evaluators_find_their_arguments_by_name_or_mapping(store: Store) -> None:
    store.requests.add([request(0), request(1, output={"answer": "no"}), request(2, status_code=500)])

    judge_endpoint(store, "e", load_evaluator("match", "exact_match"))
    judge_endpoint(store, "e", load_evaluator("swapped", "exact_match", mapping={"answer": "${inputs.question}"}))

    scores = store.requests.scores("e")
    assert [(r.request_id, s.metric, s.value) for r, s in scores if s.metric == "match"] == [
        ("r0", "match", 1.0),
        ("r1", "match", 0.0),
    ]
    assert {s.value for _, s in scores if s.metric == "swapped"} == {0.0}


def test_requests_are_judged_once(store: Store) -> None:
    store.requests.add([request(0)])
    evaluator = load_evaluator("match", "exact_match")

    assert len(judge_endpoint(store, "e", evaluator)) == 1
    assert judge_endpoint(store, "e", evaluator) == []


def test_a_failing_judgement_is_counted_and_stops_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.requests.add([request(0), request(1, output={"answer": 3})])
    judge_endpoint(store, "e", load_evaluator("f1", "f1"))

    (summary,) = summarize_scores(store.requests.scores("e"))
    assert (summary.n, summary.n_failed) == (1, 1)


def test_an_evaluation_flow_is_an_evaluator(store: Store, tmp_path: Path) -> None:
    (tmp_path / "flow.dag.yaml").write_text(
        "inputs:\n  answer: {type: string}\noutputs:\n  length: {type: int, reference: '${n.output}'}\n"
        "nodes:\n- name: n\n  type: python\n  source: {path: n.py}\n  inputs: {answer: '${inputs.answer}'}\n"
    )
    (tmp_path / "n.py").write_text(
        "from promptflow_lite.tools import tool\n\n\n@tool\ndef n(answer: str) -> int:\n    return len(answer)\n"
    )
    store.requests.add([request(0)])

    (score,) = judge_endpoint(store, "e", load_evaluator("len", str(tmp_path)))
    assert (score.metric, score.value) == ("length", 3.0)


@pytest.mark.parametrize("target", ["exact_mach", "no.such.module:x", "math:nothing"])
def test_unknown_evaluators_are_explained(target: str) -> None:
    with pytest.raises(EvaluatorError):
        load_evaluator("x", target)


def test_a_sample_keeps_a_request_and_its_shadow_together() -> None:
    records = [request(i, d) for i in range(1000) for d in "ab"]
    sampled = sample_requests(records, 0.2)

    by_deployment = [{r.request_id for r in sampled if r.deployment == d} for d in "ab"]
    assert by_deployment[0] == by_deployment[1]
    assert 150 < len(by_deployment[0]) < 250


def scored(store: Store, share_a: float, share_b: float, n: int = 200) -> list[Any]:
    rng = random.Random(3)
    rows = []
    for i in range(n):
        rows.append(request(i, "a", output={"answer": "yes" if rng.random() < share_a else "no"}))
        rows.append(request(i, "b", is_shadow=True, output={"answer": "yes" if rng.random() < share_b else "no"}))
    store.requests.add(rows)
    judge_endpoint(store, "e", load_evaluator("match", "exact_match"))
    return store.requests.scores("e")


@pytest.mark.parametrize(("a", "b", "verdict"), [(0.9, 0.6, "worse"), (0.6, 0.9, "better"), (0.8, 0.8, "inconclusive")])
def test_shadow_and_primary_are_compared_on_the_same_requests(store: Store, a: float, b: float, verdict: str) -> None:
    found = compare_deployments(scored(store, a, b), "a", "b", "match")

    assert (found.verdict, found.test.n, found.test.method) == (verdict, 200, "McNemar exact")


def test_deployments_without_common_requests_cannot_be_compared(store: Store) -> None:
    store.requests.add([request(0, "a"), request(1, "b")])
    judge_endpoint(store, "e", load_evaluator("match", "exact_match"))

    with pytest.raises(EvaluatorError, match="same request"):
        compare_deployments(store.requests.scores("e"), "a", "b", "match")


def test_live_traffic_becomes_runs_that_line_up(store: Store) -> None:
    scored(store, 0.9, 0.6, n=30)

    assert save_as_run(store, "e", "a", "live_a", beside="b") == 30
    assert save_as_run(store, "e", "b", "live_b", beside="a") == 30
    lines = [list(store.runs.iter_lines(name)) for name in ("live_a", "live_b")]
    assert [line.inputs["question"] for line in lines[0]] == [line.inputs["question"] for line in lines[1]]  # type: ignore[index]
    assert set(lines[0][0].output or {}) == {"answer", "match"}
    with pytest.raises(ServingError):
        save_as_run(store, "e", "nobody", "x")


def test_failing_disliked_and_low_scoring_requests_become_rows(store: Store) -> None:
    store.requests.add(
        [
            request(0),
            request(1, status_code=400, error={"message": "boom"}),
            request(2, output={"answer": "no"}),
            request(3),
        ]
    )
    store.requests.add_feedback(Feedback(at=2000.0, endpoint="e", request_id="r3", body={"thumbs": "down"}))
    judge_endpoint(store, "e", load_evaluator("match", "exact_match"))

    rows = data_rows(worst_requests(store, "e", metric="match", below=0.5))

    assert [(row["question"], row["_about"]["reason"]) for row in rows] == [
        ("q1", "failed: boom"),
        ("q2", "match is 0"),
        ("q3", "disliked"),
    ]


def test_drift_is_measured_against_a_run(store: Store) -> None:
    store.runs.create(RunRecord(name="ref", flow="f", status=Status.COMPLETED, created_on=1.0))
    lines = [
        LineResult(i, Status.COMPLETED, inputs={"question": "x" * (i % 30)}, output={"answer": "yes"})
        for i in range(100)
    ]
    store.runs.add_lines("ref", lines)
    store.requests.add([request(i, inputs={"question": "x" * (i % 30 + 50)}) for i in range(100)])

    verdicts = {drift.field: drift.verdict for drift in drift_against_run(store, "e", "ref")}
    assert verdicts == {"inputs.question": "drifted", "outputs.answer": "stable"}


def test_texts_of_one_length_about_other_things_drift_by_their_embeddings(store: Store) -> None:
    store.runs.create(RunRecord(name="ref", flow="f", status=Status.COMPLETED, created_on=1.0))
    asked = [f"cats {'x' * (i % 30)}" for i in range(60)]
    store.runs.add_lines(
        "ref", [LineResult(i, Status.COMPLETED, inputs={"q": q}, output={"a": "yes"}) for i, q in enumerate(asked)]
    )
    store.requests.add(
        [request(i, inputs={"q": q.replace("cats", "dogs")}, output={"a": "yes"}) for i, q in enumerate(asked)]
    )

    found = drift_against_run(
        store, "e", "ref", embed=lambda texts: [[1.0, 0.0] if text.startswith("cats") else [0.0, 1.0] for text in texts]
    )

    assert [(d.field, d.kind, d.verdict) for d in found] == [
        ("inputs.q", "text", "stable"),
        ("inputs.q", "embedding", "drifted"),
        ("outputs.a", "category", "stable"),
    ]


# --- alerts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "measure", "limit", "window_s", "deployment"),
    [
        ("error_rate > 5% over 10m", "error_rate", 0.05, 600, None),
        ("p95_ms >= 2000", "p95_ms", 2000, 300, None),
        ("score(quality) < 0.7 over 1h on v2", "score", 0.7, 3600, "v2"),
    ],
)
def test_rules_are_read(text: str, measure: str, limit: float, window_s: float, deployment: str | None) -> None:
    rule = parse_rule(text)

    assert (rule.measure, rule.limit, rule.window_s, rule.deployment) == (measure, limit, window_s, deployment)


@pytest.mark.parametrize("text", ["", "errors > 5", "error_rate 5", "error_rate > x", "p95_ms > 5 over 3 weeks"])
def test_other_texts_are_no_rules(text: str) -> None:
    with pytest.raises(ServingError, match="no alert rule"):
        parse_rule(text)


def test_an_alert_is_told_when_it_breaks_and_when_it_is_over(store: Store) -> None:
    book = AlertBook("e", [parse_rule("error_rate > 10%")], [], on_alert=store.requests.add_alert)
    bad = [request(i, status_code=500) for i in range(10)]

    assert [a.state for a in book.check(bad, now=1010.0)] == ["firing"]
    assert book.check(bad, now=1010.0) == []
    assert [a.state for a in book.check([request(i) for i in range(10)], now=1010.0)] == ["resolved"]
    assert book.check([], now=1010.0) == []
    assert [a.state for a in store.requests.alerts("e")] == ["resolved", "firing"]


@pytest.mark.parametrize(
    ("rule", "is_broken"),
    [
        ("requests > 9", True),
        ("requests > 10", False),
        ("p50_ms > 4", True),
        ("p99_ms < 11", True),
        ("tokens > 99", False),
        ("cost > 0", False),
        ("requests > 5 on b", False),
    ],
)
def test_each_measure_reads_its_window(rule: str, is_broken: bool) -> None:
    alerts = AlertBook("e", [parse_rule(rule)], []).check([request(i) for i in range(10)], now=1010.0)

    assert bool(alerts) is is_broken


class _Post(BaseHTTPRequestHandler):
    bodies: list[Any] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class _Smtp(socketserver.StreamRequestHandler):
    mails: list[str] = []  # noqa: RUF012

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = []
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(part.decode())
                self.mails.append("".join(lines))
            if line.upper().startswith(b"QUIT"):
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")


def test_alerts_reach_log_webhook_and_mail_and_a_dead_channel_stops_none(caplog: pytest.LogCaptureFixture) -> None:
    with HTTPServer(("127.0.0.1", 0), _Post) as web, socketserver.TCPServer(("127.0.0.1", 0), _Smtp) as smtp:
        for server in (web, smtp):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        dead = "http://127.0.0.1:1/hook"
        live = f"http://127.0.0.1:{web.server_address[1]}/hook"
        options = {"host": "127.0.0.1", "port": smtp.server_address[1]}
        channels = channels_from([dead, "log", live, "mailto:ops@example.com"], options)
        AlertBook("e", [parse_rule("requests > 0")], channels).check([request(1)], now=1010.0)
        for server in (web, smtp):
            server.shutdown()

    assert _Post.bodies[0]["rule"] == "requests > 0"
    assert "Subject: [firing] e: requests > 0" in _Smtp.mails[0]
    assert "firing on e" in caplog.text
    assert "could not be sent" in caplog.text


def test_unknown_channels_are_refused() -> None:
    with pytest.raises(ServingError):
        channels_from(["pigeon"])


def test_a_round_of_watching_judges_and_alerts(store: Store) -> None:
    store.requests.add([request(i, output={"answer": "no"}) for i in range(20)])
    book = AlertBook("e", [parse_rule("score(match) < 0.5 over 1h")], [])
    watch = Watch(
        store,
        "e",
        evaluators=[load_evaluator("match", "exact_match")],
        alerts=book,
        settings=WatchSettings(fraction=1.0),
    )

    found = watch.look(now=1100.0)

    assert (found.n_judged, [alert.rule for alert in found.alerts]) == (20, ["score(match) < 0.5 over 1h"])
