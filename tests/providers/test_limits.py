"""Rate limits, settings of clients, the table of foreign errors."""

from __future__ import annotations

import threading

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptflow_lite.connections import CustomConnection, OpenAIConnection, load_connection_file
from promptflow_lite.errors import InvalidConfigValue, InvalidConnectionType, LLMError
from promptflow_lite.providers import RateLimiter, client_for, default_model, fake_model
from promptflow_lite.providers.mapping import MEANING_BY_CLASS, Endpoint, map_error
from promptflow_lite.providers.resolve import settings_of
from promptflow_lite.providers.retry import WINDOW_S
from promptflow_lite.providers.usage import count_tokens


class FakeClock:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    monotonic = now

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def starts(limiter: RateLimiter, clock: FakeClock, tokens: list[float]) -> list[tuple[float, float]]:
    found = []
    for amount in tokens:
        limiter.acquire(amount)
        found.append((clock.time, amount))
    return found


@given(st.integers(1, 5), st.lists(st.floats(0, 120), min_size=1, max_size=40))
def test_no_minute_holds_more_than_the_limits(requests, tokens):
    clock = FakeClock()
    found = starts(RateLimiter(requests, 100, clock=clock), clock, tokens)
    for time, _ in found:
        window = [min(amount, 100) for start, amount in found if time - WINDOW_S < start <= time]
        assert len(window) <= requests
        assert sum(window) <= 100 + 1e-6


def test_without_limits_nobody_waits():
    clock = FakeClock()
    starts(RateLimiter(clock=clock), clock, [1000.0] * 100)
    assert clock.time == 100.0


def test_used_tokens_replace_expected_ones():
    clock = FakeClock()
    limiter = RateLimiter(None, 100, clock=clock)
    limiter.settle(limiter.acquire(90), 10)
    limiter.acquire(90)
    assert clock.time == 100.0
    limiter.acquire(1)
    assert clock.time > 100.0


def test_a_hold_stops_everybody():
    clock = FakeClock()
    limiter = RateLimiter(clock=clock)
    limiter.hold(30)
    limiter.acquire()
    assert clock.time == 130.0


def test_threads_share_a_limiter_without_losing_requests():
    limiter = RateLimiter(1000, 10_000)
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: [limiter.acquire(1) and done.append(1) for _ in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 400


def test_every_class_of_the_client_library_has_a_meaning():
    unrelated = ("Webhook", "WebSocket")
    names = [name for name in openai.__all__ if name.endswith("Error") and not any(word in name for word in unrelated)]
    classes = {name: getattr(openai, name) for name in names}
    assert len(classes) > 10
    endpoint = Endpoint(provider="OpenAI", address="http://h")
    for name, cls in classes.items():
        assert name in MEANING_BY_CLASS
        error = cls.__new__(cls)
        error.args = ("text",)
        error.__dict__.update(body=None, message="text")
        mapped = map_error(error, endpoint)
        assert not isinstance(mapped, LLMError)
        assert mapped.hint


def test_other_failures_are_llm_errors():
    mapped = map_error(KeyError("x"), Endpoint(provider="OpenAI", address="a"))
    assert isinstance(mapped, LLMError)
    assert mapped.error_codes == ["UserError", "LLMError"]


def test_settings_come_from_the_connection_then_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PFL_REQUESTS_PER_MINUTE", "30")
    monkeypatch.setenv("PFL_RETRY_PATIENCE_S", "12.5")
    (tmp_path / "c.yaml").write_text("name: c\ntype: open_ai\napi_key: k\nrequests_per_minute: 5\nstream_usage: true\n")
    settings = settings_of(load_connection_file(tmp_path / "c.yaml"))
    assert (settings.requests_per_minute, settings.retry.patience_s, settings.stream_usage) == (5, 12.5, True)
    assert settings_of(OpenAIConnection("k")).requests_per_minute == 30
    monkeypatch.setenv("PFL_REQUEST_TIMEOUT_S", "soon")
    with pytest.raises(InvalidConfigValue, match="PFL_REQUEST_TIMEOUT_S"):
        settings_of()


def test_limits_are_no_keys_unless_they_are_set():
    assert "requests_per_minute" not in dict(**OpenAIConnection("k"))
    assert OpenAIConnection("k").requests_per_minute is None


def test_equal_connections_share_a_client_and_others_do_not():
    first = client_for(OpenAIConnection("k", base_url="http://127.0.0.1:9/v1", name="a"))
    assert client_for(OpenAIConnection("k", base_url="http://127.0.0.1:9/v1", name="a")) is first
    assert client_for(OpenAIConnection("other", base_url="http://127.0.0.1:9/v1", name="a")) is not first
    with pytest.raises(InvalidConnectionType):
        client_for(CustomConnection({}))


def test_the_fake_echo_model_needs_no_code(monkeypatch):
    monkeypatch.setenv("PFL_DEFAULT_MODEL", "fake:echo")
    found = default_model()
    answer = found.client.chat({"messages": [{"role": "user", "content": "say it"}]})
    assert answer["choices"][0]["message"]["content"] == "say it"
    assert answer["usage"]["total_tokens"] > 0
    assert fake_model("echo").calls == []
    connection = OpenAIConnection("k", base_url="fake:echo")
    chunks = list(client_for(connection).stream_chat({"messages": [{"role": "user", "content": "a b"}]}))
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]) == "a b"


def test_fake_vectors_are_the_same_for_the_same_text():
    answer = fake_model("echo").embed({"input": ["a", "b", "a"]})
    vectors = [item["embedding"] for item in answer["data"]]
    assert vectors[0] == vectors[2] != vectors[1]


def test_tokens_are_estimated_for_texts_and_messages():
    assert count_tokens("abcdefgh") == 2
    assert count_tokens([{"role": "user", "content": "abcdefgh"}]) > 2
