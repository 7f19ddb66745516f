"""A real model behind the OpenAI API, asked by the OpenAI client and by a client that knows nothing of it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pydantic
import pytest
import uvicorn

from promptflow_lite.catalog import resolve_model
from promptflow_lite.engine import EngineSettings
from promptflow_lite.errors import SetupError
from promptflow_lite.providers.local import LocalClient
from promptflow_lite.serving.models import ModelServerSettings
from promptflow_lite.serving.models.app import create_model_app

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

KEY = "test-key"
QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
MODEL = "smollm2-135m"


@pytest.fixture(scope="module")
def local() -> LocalClient:
    return LocalClient(resolve_model(MODEL), EngineSettings(), name=MODEL)


@pytest.fixture(scope="module")
def address(local: LocalClient) -> Iterator[str]:
    app = create_model_app(local, ModelServerSettings(keys=(KEY,), max_requests=4, max_body_bytes=100_000))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def http(address: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=address, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as http:
        yield http


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, max_tokens=12)

    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.total_tokens > 12


def test_stream_ends_with_usage_only_when_asked(client: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 8, "stream": True}

    plain = list(client.chat.completions.create(**request))
    counted = list(client.chat.completions.create(**request, stream_options={"include_usage": True}))

    assert all(chunk.choices for chunk in plain)
    assert counted[-1].usage.completion_tokens > 0
    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in plain)


def test_tools_schema_and_logprobs(client: openai.OpenAI) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": parameters}}

    called = client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[tool], tool_choice="required")
    shaped = client.chat.completions.create(model=MODEL, messages=QUESTION, response_format=form, max_tokens=40)
    scored = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=2, logprobs=True, top_logprobs=2)

    assert called.choices[0].message.tool_calls[0].function.name == "get_weather"  # type: ignore[index,union-attr]
    assert set(json.loads(shaped.choices[0].message.content or "")) == {"city"}
    assert len(scored.choices[0].logprobs.content[0].top_logprobs) == 2  # type: ignore[index,union-attr]


def test_structured_answer_that_does_not_fit_finishes_by_length(client: openai.OpenAI) -> None:
    class City(pydantic.BaseModel):
        name: str
        population: int

    with pytest.raises(openai.LengthFinishReasonError) as raised:
        client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=City, max_tokens=3)

    [choice] = raised.value.completion.choices
    assert (choice.message.content or "").startswith("{")


def test_completions_embeddings_and_models(client: openai.OpenAI) -> None:
    text = client.completions.create(model=MODEL, prompt="Paris is the capital of", max_tokens=3, temperature=0)
    vectors = client.embeddings.create(model=MODEL, input=["one", "two"])

    assert text.choices[0].text
    assert [len(item.embedding) for item in vectors.data] == [576, 576]
    assert [model.id for model in client.models.list()] == [MODEL]


def test_errors_are_the_clients_own_classes(client: openai.OpenAI, address: str) -> None:
    long: Any = [{"role": "user", "content": "x " * 9000}]

    with pytest.raises(openai.BadRequestError, match="tokens of context"):
        client.chat.completions.create(model=MODEL, messages=long)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=QUESTION)
    with (
        openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_plain_http_client_scores_choices(http: httpx2.Client) -> None:
    answer = http.post("/v1/chat/completions", json={"messages": QUESTION, "choices": ["Paris", "Rome"]}).json()

    assert answer["label_probabilities"]["Paris"] > 0.9


def test_another_program_talks_to_it(address: str, tmp_path: Path) -> None:
    """The `llm` command, set up as its documentation says for any OpenAI-compatible server."""
    settings = f"- model_id: ours\n  model_name: {MODEL}\n  api_base: {address}/v1\n  api_key_name: ours\n"
    (tmp_path / "extra-openai-models.yaml").write_text(settings, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "llm",
        "-m",
        "ours",
        "-o",
        "max_tokens",
        "8",
        "--key",
        KEY,
        "--no-log",
        "Say hello.",
    ]

    done = subprocess.run(command, env={"LLM_USER_PATH": str(tmp_path)}, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("content", "status"), [(b"{", 400), (b"[]", 400), (b'{"messages": "x"}', 400), (b'{"a": "' + b"x" * 200_000, 400)]
)
def test_malformed_request_is_refused(http: httpx2.Client, content: bytes, status: int) -> None:
    answer = http.post("/v1/chat/completions", content=content)

    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_metrics_count_requests_and_tokens(http: httpx2.Client) -> None:
    http.post("/v1/chat/completions", json={"messages": QUESTION, "max_tokens": 2})

    text = http.get("/metrics").text

    assert 'pfl_model_requests_total{route="chat",status="200"}' in text
    assert 'pfl_model_tokens_total{kind="completion"}' in text
    assert "pfl_engine_cells_used" in text


def test_client_that_goes_away_takes_its_rows_off_the_engine(local: LocalClient, address: str) -> None:
    body = {"messages": QUESTION, "max_tokens": 4000, "stream": True, "logit_bias": {"2": -100}}
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx2.Client(base_url=address, headers=headers, timeout=60) as http:
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())
        with pytest.raises(httpx2.ReadTimeout):
            http.post("/v1/chat/completions", json={**body, "stream": False}, timeout=0.3)

    deadline = time.monotonic() + 20
    while local.engine().stats.running_rows and time.monotonic() < deadline:
        time.sleep(0.05)

    assert local.engine().stats.running_rows == 0


def test_too_many_requests_are_refused_with_429(address: str) -> None:
    body = {"messages": QUESTION, "max_tokens": 100, "logit_bias": {"2": -100}}
    headers = {"Authorization": f"Bearer {KEY}"}
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(
            httpx2.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=60).status_code
        )

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(set(statuses)) == [200, 429]


def test_open_address_needs_a_key() -> None:
    with pytest.raises(SetupError, match="without an API key"):
        ModelServerSettings(host="0.0.0.0").check()

    ModelServerSettings(host="0.0.0.0", keys=("k",)).check()
