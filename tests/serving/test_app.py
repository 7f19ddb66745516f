"""The contract's routes over a flow of two Python nodes and over a chat flow that streams."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptflow_lite.serving.endpoint import ServingSettings
from promptflow_lite.store import Store

from .conftest import AsgiClient, MakeClient, write_flow


@pytest.fixture
def plain(serve: MakeClient, plain_flow: Path) -> AsgiClient:
    return serve(plain_flow)


@pytest.fixture
def chat(serve: MakeClient, chat_flow: Path) -> AsgiClient:
    return serve(chat_flow)


def recorded(client: AsgiClient, store: Store) -> Any:
    """The last recorded request, waited for."""
    deadline = time.monotonic() + 5
    while client.app.endpoint.recorder.n_waiting and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(100):
        found = store.requests.list()
        if found:
            return found[0]
        time.sleep(0.02)
    raise AssertionError("nothing was recorded")


def test_score_runs_the_flow_and_hides_evaluation_outputs(plain: AsgiClient) -> None:
    reply = plain.post("/score", {"text": "hi", "times": "2"})

    assert (reply.status, reply.json()) == (200, {"answer": "HIHI"})
    assert reply.headers["content-type"] == "application/json"


def test_fast_flows_give_the_same_answers_once_they_run_inline(plain: AsgiClient) -> None:
    for i in range(40):
        assert plain.post("/score", {"text": f"t{i}"}).json() == {"answer": f"T{i}"}

    assert plain.app.endpoint.main.is_fast


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        (b'{"times": 2}', 400, "Required input fields ['text'] are missing"),
        (b"[1, 2]", 400, "an array"),
        (b"3", 400, "a number"),
        (b"null", 400, "null"),
        (b"{nonsense", 400, "must be in JSON format"),
        (b"", 400, "must be in JSON format"),
        (b"\xff\xfe", 400, "must be in JSON format"),
        (b'{"text": "x", "times": "many"}', 400, "expected type 'int'"),
        (b'{"text": "explode"}', 400, "boom"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(plain: AsgiClient, body: bytes, status: int, part: str) -> None:
    reply = plain.post("/score", body=body)

    assert reply.status == status
    assert reply.json()["error"]["code"] == "UserError"
    assert part in reply.json()["error"]["message"]


def test_a_body_too_large_is_refused(serve: MakeClient, plain_flow: Path) -> None:
    client = serve(plain_flow, settings=ServingSettings(max_body_bytes=100))

    assert client.post("/score", {"text": "x" * 200}).status == 413
    assert client.post("/score", body=b"x" * 200, headers={"content-length": ""}).status == 413
    assert client.post("/score", {"text": "x"}).status == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        ("*/*", 200),
        ("application/*", 200),
        ("application/json, text/event-stream", 200),
        ("text/event-stream", 406),
        ("text/html", 406),
        ("text/*", 406),
    ],
)
def test_flows_without_a_stream_answer_json_only(plain: AsgiClient, accept: str | None, status: int) -> None:
    reply = plain.post("/score", {"text": "x"}, headers={"accept": accept} if accept else {})

    assert reply.status == status
    if status == 406:
        assert "is not acceptable" in reply.json()["error"]["message"]


def test_request_ids_are_echoed_and_recorded(plain: AsgiClient, store: Store) -> None:
    assert plain.post("/score", {"text": "a"}, headers={"x-request-id": "r-1"}).headers["x-request-id"] == "r-1"
    reply = plain.post("/score", {"text": "a"}, headers={"x-ms-client-request-id": "r-2"})
    assert reply.headers["x-request-id"] == "r-2"

    found = recorded(plain, store)
    assert found.request_id == "r-2"
    assert (found.status_code, found.inputs["text"], found.output["answer"]) == (200, "a", "A")
    assert [node["node"] for node in found.nodes] == ["shout", "measure"]


def test_odd_request_ids_are_replaced(plain: AsgiClient) -> None:
    reply = plain.post("/score", {"text": "a"}, headers={"x-request-id": "x" * 500})

    assert len(reply.headers["x-request-id"]) == 36


def test_failed_requests_are_recorded_with_their_error(plain: AsgiClient, store: Store) -> None:
    plain.post("/score", {"text": "explode"})

    found = recorded(plain, store)
    assert found.status_code == 400
    assert "boom" in found.error["message"]


def test_the_callers_trace_is_continued(plain: AsgiClient, store: Store) -> None:
    plain.post("/score", {"text": "a"}, headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})

    found = recorded(plain, store)
    assert (found.trace_id, found.parent_span_id) == ("ab" * 16, "cd" * 8)


def test_inputs_are_left_out_of_records_if_asked(serve: MakeClient, plain_flow: Path, store: Store) -> None:
    client = serve(plain_flow, settings=ServingSettings(redact_inputs=True))
    client.post("/score", {"text": "private"})

    found = recorded(client, store)
    assert "private" not in repr(found).lower()


def test_a_durable_answer_is_committed_before_it_is_sent(serve: MakeClient, plain_flow: Path, store: Store) -> None:
    client = serve(plain_flow, settings=ServingSettings(is_durable=True))
    for i in range(30):
        client.post("/score", {"text": "x"}, headers={"x-request-id": f"d{i}"})
        assert store.requests.get(f"d{i}") is not None


def test_health_version_and_documents(plain: AsgiClient) -> None:
    assert plain.get("/health").json()["status"] == "Healthy"
    assert set(plain.get("/version").json()) == {"status", "build_info", "version"}
    assert plain.get("/swagger.json").json()["openapi"] == "3.0.0"
    assert plain.get("/openapi.json").json()["openapi"] == "3.1.0"
    for path in ("/", "/docs"):
        page = plain.get(path)
        assert page.status == 200
        assert b"<!doctype html>" in page.body
        assert b"https://" not in page.body


def test_the_build_number_is_the_version(serve: MakeClient, plain_flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_INFO", '{"build_number": "42"}')

    assert serve(plain_flow).get("/version").json()["version"] == "42"


def test_response_fields_can_be_chosen(serve: MakeClient, plain_flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTFLOW_RESPONSE_INCLUDED_FIELDS", '["length"]')

    assert serve(plain_flow).post("/score", {"text": "abc"}).json() == {"length": 3}


def test_unknown_paths_and_methods_get_the_contracts_text(plain: AsgiClient) -> None:
    reply = plain.get("/nowhere")
    assert reply.status == 404
    assert reply.body.startswith(b"The requested api '/nowhere' with GET is not supported by current app")
    assert plain.get("/score").status in (404, 405)


def test_feedback_is_recorded(plain: AsgiClient, store: Store) -> None:
    assert plain.post("/feedback", {"request_id": "r", "thumbs": "down"}).json() == {"status": "Feedback received."}
    plain.post("/feedback?flatten=true", {"a": 1}, headers={"x-request-id": "r2"})
    assert plain.post("/feedback?flatten=true", [1]).status == 400

    first, second = store.requests.feedback()
    assert (first.request_id, first.is_dislike, second.request_id) == ("r", True, "r2")


def test_metrics_are_prometheus_text(plain: AsgiClient, store: Store) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    plain.post("/score", {"text": "a"})
    plain.post("/score", {"text": "explode"})
    recorded(plain, store)
    time.sleep(0.05)

    families = {f.name: f for f in text_string_to_metric_families(plain.get("/metrics").body.decode())}

    counts = {
        s.labels["response_code"]: s.value for s in families["pfl_flow_requests"].samples if s.name.endswith("_total")
    }
    assert counts == {"200": 1.0, "400": 1.0}
    assert {s.labels["node"] for s in families["pfl_node_requests"].samples} == {"shout", "measure"}
    assert families["pfl_requests_in_flight"].samples[0].value == 0


def test_slow_flows_do_not_hold_up_others(plain: AsgiClient) -> None:
    async def both() -> tuple[float, float]:
        started = time.monotonic()

        async def timed(text: str) -> float:
            await plain.asend("POST", "/score", body=b'{"text": "%s"}' % text.encode())
            return time.monotonic() - started

        slow, quick = await asyncio.gather(timed("sleep 0.5"), timed("x"))
        return slow, quick

    slow, quick = plain.loop.run_until_complete(both())

    assert quick < 0.3 < slow


def test_a_flow_that_takes_too_long_is_given_up(serve: MakeClient, plain_flow: Path, store: Store) -> None:
    client = serve(plain_flow, settings=ServingSettings(timeout_s=0.1))

    assert client.post("/score", {"text": "sleep 0.4"}).status == 504
    assert recorded(client, store).status_code == 504
    assert store.requests.count() == 1


def test_a_client_that_leaves_cancels_its_flow(plain: AsgiClient, store: Store) -> None:
    plain.request("POST", "/score", body=b'{"text": "sleep 0.4"}', leave_after_s=0.1)

    assert recorded(plain, store).status_code == 499


def test_too_many_requests_are_refused_rather_than_queued_forever(serve: MakeClient, plain_flow: Path) -> None:
    client = serve(plain_flow, settings=ServingSettings(n_threads=1, n_waiting=1))

    async def three() -> list[int]:
        body = b'{"text": "sleep 0.2"}'
        replies = await asyncio.gather(*(client.asend("POST", "/score", body=body) for _ in range(3)))
        return sorted(reply.status for reply in replies)

    assert client.loop.run_until_complete(three()) == [200, 200, 503]


# --- streams ----------------------------------------------------------------------------------------------------------


def test_streams_are_events_in_the_contracts_form(chat: AsgiClient) -> None:
    reply = chat.post("/score", {"question": "a b"}, headers={"accept": "text/event-stream"})

    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.events() == [("message", {"answer": f"{word} "}) for word in ("none", "0", "a", "b")]


def test_streams_are_joined_for_json_clients(chat: AsgiClient) -> None:
    assert chat.post("/score", {"question": "a b"}).json() == {"answer": "none 0 a b "}


def test_v1_streams_say_how_they_ended(chat: AsgiClient, store: Store) -> None:
    reply = chat.post("/v1/run", {"question": "a"}, headers={"accept": "text/event-stream", "x-request-id": "s1"})
    name, value = reply.events()[-1]
    assert (name, value["request_id"]) == ("end", "s1")

    failed = chat.post("/v1/run", {"question": "a explode"}, headers={"accept": "text/event-stream"})
    name, value = failed.events()[-1]
    assert name == "error"
    assert "boom" in value["error"]["message"]

    found = recorded(chat, store)
    assert found.status_code >= 400
    assert found.output == {"answer": "none 0 a "}
    assert store.requests.get("s1").first_token_ms is not None


def test_quickly_begun_streams_do_not_make_a_flow_count_as_fast(chat: AsgiClient) -> None:
    for _ in range(30):
        chat.post("/score", {"question": "a"}, headers={"accept": "text/event-stream"})

    assert not chat.app.endpoint.main.is_fast


def test_a_reader_who_leaves_stops_the_stream(chat: AsgiClient, store: Store) -> None:
    chat.request(
        "POST",
        "/v1/run",
        body=b'{"question": "a wait wait wait wait wait wait"}',
        headers={"accept": "text/event-stream"},
        leave_after_parts=3,
    )

    found = recorded(chat, store)
    assert found.status_code == 499
    assert found.output["answer"].count("wait") < 6


def test_cors_is_closed_by_default_and_opens_to_named_origins(serve: MakeClient, plain_flow: Path) -> None:
    closed = serve(plain_flow).post("/score", {"text": "a"}, headers={"origin": "https://a.example"})
    assert "access-control-allow-origin" not in closed.headers

    client = serve(plain_flow, settings=ServingSettings(allowed_origins=("https://a.example",)))
    allowed = client.post("/score", {"text": "a"}, headers={"origin": "https://a.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://a.example"
    foreign = client.post("/score", {"text": "a"}, headers={"origin": "https://b.example"})
    assert "access-control-allow-origin" not in foreign.headers
    preflight = client.request(
        "OPTIONS",
        "/score",
        headers={"origin": "https://a.example", "access-control-request-method": "POST"},
    )
    assert preflight.headers["access-control-allow-origin"] == "https://a.example"


def test_aggregation_nodes_never_run_in_serving(serve: MakeClient, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "flow.dag.yaml").write_text(
        "inputs: {text: {type: string}}\n"
        "outputs: {o: {type: string, reference: '${a.output}'}}\n"
        "nodes:\n"
        "- {name: a, type: python, source: {type: code, path: a.py}, inputs: {text: '${inputs.text}'}}\n"
        "- {name: b, type: python, source: {type: code, path: b.py}, inputs: {all: '${a.output}'}, aggregation: true}\n"
    )
    tool = "from promptflow_lite.tools import tool\n\n\n@tool\n"
    (tmp_path / "flow" / "a.py").write_text(tool + "def a(text):\n    return text\n")
    (tmp_path / "flow" / "b.py").write_text(tool + f"def b(all):\n    open({str(trace)!r}, 'w').close()\n")

    reply = serve(tmp_path / "flow").post("/score", {"text": "hi"})

    assert (reply.status, reply.json()) == (200, {"o": "hi"})
    assert not trace.exists()


IMAGES = {
    "flow.dag.yaml": """\
inputs:
  picture: {type: image, default: {"data:image/png;path": mine.png}}
  more: {type: object, default: {}}
  text: {type: string, default: ""}
outputs:
  size: {type: string, reference: "${look.output}"}
nodes:
- name: look
  type: python
  source: {type: code, path: look.py}
  inputs: {picture: "${inputs.picture}", more: "${inputs.more}"}
- name: ask
  type: prompt
  source: {type: code, path: ask.jinja2}
  inputs: {text: "${inputs.text}"}
""",
    "look.py": """\
from promptflow_lite.tools import tool


@tool
def look(picture, more: dict) -> str:
    return bytes(picture).decode("latin-1")[-6:]
""",
    "ask.jinja2": "{{text}}",
    "mine.png": "PNG my own",
}


@pytest.fixture
def pictures(serve: MakeClient, tmp_path: Path) -> AsgiClient:
    return serve(write_flow(tmp_path / "pictures", IMAGES))


@pytest.mark.parametrize(
    "inputs",
    [
        {"picture": {"data:image/png;path": "{file}"}},
        {"picture": {"data:image/png;path": "../secret.txt"}},
        {"picture": {"type": "image_file", "image_file": {"path": "{file}"}}},
        {"picture": "{file}"},
        {"more": {"deep": [{"data:image/png;path": "{file}"}]}},
        {"picture": "mine.png"},
    ],
)
def test_a_request_cannot_name_files_of_the_server(pictures: AsgiClient, tmp_path: Path, inputs: Any) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    body = orjson.dumps(inputs).replace(b"{file}", str(secret).encode())

    reply = pictures.post("/score", body=body)

    assert (reply.status, reply.json()["error"]["errorCode"]) == (400, "data.multimedia")
    assert b"Images cannot be given by path here" in reply.body


def test_a_served_flow_reads_the_images_that_it_names_itself(pictures: AsgiClient) -> None:
    assert pictures.post("/score", {}).json() == {"size": "my own"}


def test_a_prompty_inside_a_served_flow_reads_no_file_for_a_caller(serve: MakeClient, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_text("secret")
    head = "name: p\nmodel: {configuration: {model: fake:echo}}\ninputs: {text: {type: string}}"
    prompty = f"---\n{head}\n---\nuser:\n{{{{text}}}}\n"
    client = serve(write_flow(tmp_path / "prompty", {"ask.prompty": prompty}))

    reply = client.post("/score", {"text": f"data:image/png;path:{secret}"})

    assert (reply.status, reply.json()["error"]["errorCode"]) == (400, "flow.invalid_image_input")
