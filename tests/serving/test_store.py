"""What endpoints keep survives the way into the database and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.errors import EndpointNotFoundError
from promptflow_lite.records import (
    AlertRecord,
    AuditEntry,
    DeploymentSpec,
    EndpointSpec,
    Feedback,
    NodeResult,
    RequestScore,
    Role,
    ServedRequest,
    Span,
    Status,
    TraceRecord,
)
from promptflow_lite.serving.keys import new_key
from promptflow_lite.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "pfl.sqlite")


def served(request_id: str, **changes: object) -> ServedRequest:
    values = {"request_id": request_id, "endpoint": "e", "deployment": "a", "start_time": 1.0} | changes
    return ServedRequest(**values)  # type: ignore[arg-type]


def test_requests_come_back_as_they_were_recorded(store: Store) -> None:
    node = NodeResult("n", Status.COMPLETED, inputs={"x": 1}, output="y", start_time=1.0, end_time=2.0)
    store.requests.add(
        [served("r1", inputs={"q": "é"}, output={"a": [1]}, nodes=[node], session="s", prompt_tokens=3, cost=0.5)],
        usage=(7, {"k": 4}),
    )

    found = store.requests.get("r1")

    assert found is not None
    assert (found.inputs, found.output, found.session, found.prompt_tokens, found.cost) == (
        {"q": "é"},
        {"a": [1]},
        "s",
        3,
        0.5,
    )
    assert found.nodes[0]["output"] == "y"
    assert store.requests.usage(7) == {"k": 4}


def test_requests_are_found_by_their_facts(store: Store) -> None:
    store.requests.add(
        [
            served("r1"),
            served("r2", deployment="b", status_code=400, start_time=5.0),
            served("r1", is_shadow=True, deployment="b"),
            served("r3", endpoint="other"),
        ]
    )
    requests = store.requests

    assert [r.request_id for r in requests.list("e")] == ["r1", "r2", "r1"]
    assert [r.request_id for r in requests.list("e", deployment="b", is_shadow=False)] == ["r2"]
    assert [r.request_id for r in requests.list(only_failed=True)] == ["r2"]
    assert [r.request_id for r in requests.list("e", since=2.0)] == ["r2"]
    assert requests.count("e", is_shadow=True) == 1
    assert requests.delete_before(2.0) == 3


def test_feedback_scores_and_alerts_are_kept(store: Store) -> None:
    store.requests.add([served("r1")])
    row = store.requests.list("e")[0].id
    assert row is not None
    store.requests.add_feedback(Feedback(at=1.0, endpoint="e", request_id="r1", body={"thumbs": "down"}))
    store.requests.add_scores([RequestScore(request_row=row, evaluator="f1", metric="f1", value=0.2, at=1.0)])
    store.requests.add_scores([RequestScore(request_row=row, evaluator="f1", metric="f1", value=0.9, at=2.0)])
    store.requests.add_alert(AlertRecord(at=1.0, endpoint="e", rule="errors > 1%", value=0.5, message="m"))

    assert [f.is_dislike for f in store.requests.feedback("e")] == [True]
    assert [(r.request_id, s.value) for r, s in store.requests.scores("e")] == [("r1", 0.9)]
    assert store.requests.alerts("e")[0].rule == "errors > 1%"


@pytest.mark.parametrize(
    ("body", "is_dislike"),
    [
        ({"rating": 1}, True),
        ({"rating": 5}, False),
        ({"thumbs": "up"}, False),
        ({"liked": False}, True),
        ({"score": 0}, True),
        ({"score": 0.8}, False),
        ({"comment": "bad"}, False),
        ("bad", False),
    ],
)
def test_dislikes_are_read_from_the_usual_fields(body: object, is_dislike: bool) -> None:
    assert Feedback(at=0, endpoint="e", body=body).is_dislike is is_dislike


def test_keys_and_audit_entries_are_kept(store: Store) -> None:
    key, _ = new_key(Role.OPERATOR, now=1.0, name="ops", rate_per_minute=3)
    store.keys.add(key)

    def make(last: AuditEntry | None) -> AuditEntry:
        return AuditEntry(seq=1 + (last.seq if last else 0), at=1.0, actor="a", action="x", target="t", after={"k": 1})

    store.audit.append(make)
    store.audit.append(make)

    assert store.keys.get(key.id) == key
    assert store.keys.list() == [key]
    assert [entry.seq for entry in store.audit.list()] == [1, 2]


def test_endpoints_keep_every_version(store: Store) -> None:
    first = store.endpoints.put(EndpointSpec(name="e", deployments=(DeploymentSpec(name="a", flow="f", weight=1),)))
    store.endpoints.put(EndpointSpec(name="e"))

    assert store.endpoints.get("e").version == 2
    assert store.endpoints.get("e", version=1) == first
    assert [spec.name for spec in store.endpoints.list()] == ["e"]
    store.endpoints.put(EndpointSpec(name="e"), is_deleted=True)
    assert store.endpoints.list() == []
    with pytest.raises(EndpointNotFoundError):
        store.endpoints.get("e")


def test_traces_of_user_code_keep_their_tree(store: Store) -> None:
    span = Span("f", "Function", 1.0, 2.0, inputs={"x": 1}, children=[Span("g", "LLM", 1.0, 1.5)])
    store.traces.add(
        [
            TraceRecord(
                trace_id="ab" * 16,
                collection="c",
                name="f",
                kind="Function",
                start_time=1.0,
                duration_ms=1000.0,
                is_error=False,
                spans=span,
            )
        ]
    )

    (trace,) = store.traces.get("abab")
    assert trace.spans["children"][0]["name"] == "g"
    assert [t.name for t in store.traces.list(collection="c")] == ["f"]
