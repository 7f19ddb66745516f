"""A chat flow as an OpenAI model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.errors import BadRequest
from promptflow_lite.flow import InputSpec, OutputSpec
from promptflow_lite.serving.chat import parse_chat_request
from promptflow_lite.serving.schema import Interface

from .conftest import AsgiClient, MakeClient


def interface(kind: Any = "dag", **more: InputSpec) -> Interface:
    inputs = {
        "question": InputSpec(name="question", is_chat_input=True),
        "chat_history": InputSpec(name="chat_history", type="list", default=[]),
    } | more
    return Interface(
        name="talk",
        kind=kind,
        inputs=inputs,
        outputs={"answer": OutputSpec(name="answer", reference=None, is_chat_output=True)},
        chat_input="question",
        chat_history="chat_history",
        chat_output="answer",
    )


def body(*messages: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in messages], **more}


@pytest.mark.parametrize(
    ("messages", "question", "history"),
    [
        ([("user", "hi")], "hi", []),
        ([("system", "be nice"), ("user", "hi")], "hi", []),
        (
            [("user", "a"), ("assistant", "b"), ("user", "c")],
            "c",
            [{"inputs": {"question": "a"}, "outputs": {"answer": "b"}}],
        ),
        (
            [("assistant", "welcome"), ("user", "c")],
            "c",
            [{"inputs": {"question": ""}, "outputs": {"answer": "welcome"}}],
        ),
        ([("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], "a\nb", []),
    ],
)
def test_messages_become_the_flows_inputs(messages: Any, question: str, history: Any) -> None:
    inputs = parse_chat_request(body(*messages), interface()).inputs

    assert inputs == {"question": question, "chat_history": history}


def test_other_kinds_of_flows_get_messages_as_history() -> None:
    asked = body(("user", "a"), ("assistant", "b"), ("user", "c"))

    assert parse_chat_request(asked, interface("prompty")).inputs["chat_history"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]


def test_system_messages_reach_a_system_input() -> None:
    asked = body(("system", "be"), ("developer", "nice"), ("user", "c"))

    inputs = parse_chat_request(asked, interface(system=InputSpec(name="system", default="x"))).inputs
    assert inputs["system"] == "be\nnice"


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": ["x"]},
        body(("assistant", "x")),
        body(("user", 3)),
        body(("user", [{"type": "image_url", "image_url": {"url": "data:"}}])),
        body(("user", "x"), n=2),
    ],
)
def test_what_a_flow_cannot_answer_is_refused(bad: Any) -> None:
    with pytest.raises(BadRequest):
        parse_chat_request(bad, interface())


def test_inputs_that_chat_cannot_carry_must_have_defaults() -> None:
    with pytest.raises(BadRequest, match="language"):
        parse_chat_request(body(("user", "x")), interface(language=InputSpec(name="language")))


@pytest.fixture
def chat(serve: MakeClient, chat_flow: Path) -> AsgiClient:
    return serve(chat_flow)


def test_a_completion_has_openais_shape(chat: AsgiClient) -> None:
    reply = chat.post(
        "/v1/chat/completions", body(("system", "sys"), ("user", "a"), ("assistant", "b"), ("user", "c d"), model="m")
    )

    value = reply.json()
    assert value["choices"][0]["message"] == {"role": "assistant", "content": "sys 1 c d ", "refusal": None}
    assert (value["object"], value["model"], value["choices"][0]["finish_reason"]) == ("chat.completion", "m", "stop")
    assert set(value["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_a_streamed_completion_ends_with_done(chat: AsgiClient) -> None:
    reply = chat.post(
        "/v1/chat/completions", body(("user", "a b"), stream=True, stream_options={"include_usage": True})
    )

    *chunks, last = [value for _, value in reply.events()]
    assert last == "[DONE]"
    deltas = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(deltas) == "none 0 a b "
    assert chunks[-1]["choices"] == []
    assert "usage" in chunks[-1]


def test_errors_have_openais_shape(chat: AsgiClient) -> None:
    error = chat.post("/v1/chat/completions", {"messages": []}).json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "serving.bad_request")

    failed = chat.post("/v1/chat/completions", body(("user", "explode")))
    assert failed.status == 400
    assert "boom" in failed.json()["error"]["message"]
    streamed = chat.post("/v1/chat/completions", body(("user", "a explode"), stream=True)).events()
    assert "boom" in streamed[-1][1]["error"]["message"]


def test_models_lists_the_flow(chat: AsgiClient) -> None:
    assert [model["id"] for model in chat.get("/v1/models").json()["data"]] == ["talker"]
    assert chat.get("/v1/models/talker").status == 200
    assert chat.get("/v1/models/other").status == 404
