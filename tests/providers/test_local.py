"""The local model as a client: OpenAI-shaped bodies answered by a real GGUF model."""

from __future__ import annotations

import json

import pytest

from promptflow_lite.errors import ContextFullError, EngineRequestError, GrammarError, ModelNotFoundError
from promptflow_lite.providers.base import ModelClient
from promptflow_lite.providers.local import local_client

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]


@pytest.fixture(scope="module")
def client() -> ModelClient:
    return local_client()


def test_chat_answers_and_counts_tokens(client: ModelClient) -> None:
    body = client.chat({"messages": QUESTION, "temperature": 0, "max_tokens": 12})

    assert "Paris" in body["choices"][0]["message"]["content"]
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]


def test_streamed_text_equals_the_whole(client: ModelClient) -> None:
    request = {"messages": QUESTION, "temperature": 0, "max_tokens": 12}

    chunks = list(client.stream_chat(request))

    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert text == client.chat(request)["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"]["completion_tokens"] > 0


def test_choices_are_scored_without_generating(client: ModelClient) -> None:
    body = client.chat({"messages": QUESTION, "choices": ["Paris", "London", "New York"]})

    probabilities = body["choices"][0]["label_probabilities"]
    assert body["choices"][0]["message"]["content"] == "Paris"
    assert sum(probabilities.values()) == pytest.approx(1.0)
    assert body["usage"]["completion_tokens"] == 0


def test_prior_correction_divides_by_the_neutral_prompt(client: ModelClient) -> None:
    labels = ["Paris", "London", "Rome"]

    def probabilities(messages: object, **options: object) -> dict[str, float]:
        body = {"messages": messages, "choices": labels, "reproducible": True, **options}
        found: dict[str, float] = client.chat(body)["label_probabilities"]
        return found

    plain = probabilities(QUESTION)
    neutral = probabilities([{"role": "user", "content": "N/A"}])

    corrected = probabilities(QUESTION, prior_correction=True)

    ratios = {label: plain[label] / neutral[label] for label in labels}
    expected = {label: ratio / sum(ratios.values()) for label, ratio in ratios.items()}
    assert corrected == pytest.approx(expected, rel=1e-6)


SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "population": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city", "population", "tags"],
}


@pytest.mark.parametrize("max_tokens", [24, 40, 100])
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_structured_answer_parses_whatever_the_budget(client: ModelClient, max_tokens: int, temperature: float) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}

    body = client.chat(
        {
            "messages": QUESTION,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": 5,
            "response_format": wanted,
        }
    )

    answer = json.loads(body["choices"][0]["message"]["content"])
    assert {"city": str, "population": int, "tags": list} == {key: type(value) for key, value in answer.items()}


def test_forced_tool_is_called_with_arguments_that_parse(client: ModelClient) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}

    body = client.chat({"messages": QUESTION, "tools": [tool], "tool_choice": "required", "temperature": 0})

    [call] = body["choices"][0]["message"]["tool_calls"]
    assert body["choices"][0]["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "get_weather"
    assert set(json.loads(call["function"]["arguments"])) == {"city"}


def test_logprobs_come_with_alternatives_best_first(client: ModelClient) -> None:
    body = client.chat({"messages": QUESTION, "temperature": 0, "max_tokens": 3, "logprobs": True, "top_logprobs": 3})

    for token in body["choices"][0]["logprobs"]["content"]:
        values = [other["logprob"] for other in token["top_logprobs"]]
        assert values == sorted(values, reverse=True)
        assert token["logprob"] == pytest.approx(values[0])


def test_samples_share_one_prefill(client: ModelClient) -> None:
    prompt = [{"role": "user", "content": "Tell me about the number seventeen, please."}]

    body = client.chat({"messages": prompt, "n": 4, "temperature": 1.0, "seed": 3, "max_tokens": 6})

    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert len({choice["message"]["content"] for choice in body["choices"]}) > 1


def test_stop_string_ends_the_text_before_it(client: ModelClient) -> None:
    prompt = {"prompt": "1, 2, 3, 4, 5,", "temperature": 0, "max_tokens": 30}
    whole = client.complete(prompt)["choices"][0]["text"]
    stop = whole[6:9]

    body = client.complete({**prompt, "stop": [stop]})

    assert body["choices"][0]["text"] == whole[: whole.index(stop)]
    assert body["choices"][0]["finish_reason"] == "stop"


def test_embeddings_are_closer_for_closer_texts(client: ModelClient) -> None:
    texts = ["a cat sat on the mat", "a kitten sat on the mat", "stock markets crashed today"]

    vectors = [item["embedding"] for item in client.embed({"input": texts})["data"]]

    def likeness(left: list[float], right: list[float]) -> float:
        return sum(a * b for a, b in zip(left, right, strict=True))

    assert likeness(vectors[0], vectors[1]) > likeness(vectors[0], vectors[2])
    assert likeness(vectors[0], vectors[0]) == pytest.approx(1.0)


def test_too_long_a_prompt_says_need_and_have(client: ModelClient) -> None:
    with pytest.raises(ContextFullError) as caught:
        client.chat({"messages": [{"role": "user", "content": "x " * 9000}]})

    assert caught.value.facts["need"] > caught.value.facts["have"] == 8192


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"messages": QUESTION, "temprature": 1}, EngineRequestError),
        ({"messages": QUESTION, "temperature": -1}, EngineRequestError),
        ({"messages": []}, EngineRequestError),
        ({"messages": QUESTION, "logit_bias": {"99999999": 1}}, EngineRequestError),
        ({"messages": QUESTION, "choices": ["only"]}, EngineRequestError),
        ({"messages": ["text"]}, EngineRequestError),
        ({"messages": QUESTION, "stop": 5}, EngineRequestError),
        ({"messages": QUESTION, "tools": ["look"]}, EngineRequestError),
        ({"messages": QUESTION, "tools": [], "tool_choice": {"function": {"name": "x"}}}, EngineRequestError),
        ({"messages": QUESTION, "logprobs": True, "top_logprobs": -1}, EngineRequestError),
        ({"messages": QUESTION[:0], "choices": ["a", "b"]}, EngineRequestError),
        ({"messages": QUESTION, "grammar": 'root ::= "unclosed'}, GrammarError),
        (
            {
                "messages": QUESTION,
                "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}},
            },
            GrammarError,
        ),
    ],
)
def test_bad_request_is_refused_by_name(client: ModelClient, body: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        client.chat(body)


def test_unknown_model_suggests_a_known_one() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        local_client("smollm2-135")

    assert "smollm2-135m" in str(caught.value.hint)
