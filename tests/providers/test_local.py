"""The local model as a client: OpenAI-shaped bodies answered by a real GGUF model."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from promptflow_lite.catalog import resolve_model
from promptflow_lite.engine import EngineSettings
from promptflow_lite.engine.sampling import SamplerFactory, SamplingSettings
from promptflow_lite.errors import (
    ContextFullError,
    EngineRequestError,
    GrammarError,
    ModelNotFoundError,
    OutputCutError,
)
from promptflow_lite.providers.base import ModelClient
from promptflow_lite.providers.local import LocalClient, local_client
from promptflow_lite.providers.local_request import structure_of

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]


@pytest.fixture(scope="module")
def client() -> LocalClient:
    return LocalClient(resolve_model(), EngineSettings())


def test_chat_answers_and_counts_tokens(client: ModelClient) -> None:
    body = client.chat({"messages": QUESTION, "temperature": 0, "max_tokens": 12})

    assert "Paris" in body["choices"][0]["message"]["content"]
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]


def test_streamed_text_equals_the_whole(client: ModelClient) -> None:
    request = {"messages": QUESTION, "temperature": 0, "max_tokens": 12, "reproducible": True}

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


PREFERRED = ["\n", "\t", "\\", '"', ",", "}", "\u00e9"]


def structured_text(client: LocalClient, schema: Any, preferred: str, budget: int) -> str:
    """What a model writes that wants one token above all, and anything else by chance."""
    engine = client.engine()
    wanted = {"type": "json_schema", "json_schema": {"name": "any", "schema": schema}}
    structure = structure_of(engine, {"response_format": wanted})
    settings = SamplingSettings(seed=3, grammar=structure.grammar, n_closing=structure.n_closing)
    sampler = SamplerFactory(engine.model).build(settings)
    draw = np.random.default_rng(4)
    text = b""
    for n_left in range(budget, 0, -1):
        logits = draw.normal(scale=4, size=engine.model.n_vocab).astype(np.float32)
        logits[engine.model.tokenize(preferred)[-1]] += draw.choice([0, 40])
        token = sampler.pick(logits, n_left=n_left)
        if token in engine.model.end_tokens:
            break
        text += engine.model.piece(token)
    sampler.close()
    return text.decode("utf-8", "replace")


@pytest.mark.parametrize("preferred", PREFERRED)
def test_structured_text_parses_whatever_the_model_prefers(client: LocalClient, preferred: str) -> None:
    answer = json.loads(structured_text(client, SCHEMA, preferred, 48))

    assert {"city": str, "population": int, "tags": list} == {key: type(value) for key, value in answer.items()}


@pytest.mark.parametrize("preferred", PREFERRED)
@pytest.mark.parametrize("pattern", ["^[^a]*$", "^x.*$", r"^\[[^\]]{2,4}\]$"])
def test_patterns_let_nothing_into_strings_that_is_no_json(client: LocalClient, pattern: str, preferred: str) -> None:
    text = json.loads(structured_text(client, {"type": "string", "pattern": pattern}, preferred, 60))

    assert re.fullmatch(pattern, text)


def test_labels_and_names_with_marks_are_written_as_json(client: LocalClient) -> None:
    labels = ["line\nbreak", 'say "x"', "back\\slash", "[^a]", "caf\u00e9"]
    properties = {name: {"const": name} for name in labels}
    schema = {"type": "object", "properties": properties, "required": labels}

    answer = json.loads(structured_text(client, schema, " ", 200))

    assert answer == {name: name for name in labels}


def test_structured_answer_that_cannot_fit_is_an_error_that_says_so(client: LocalClient) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}

    with pytest.raises(OutputCutError, match="max_tokens"):
        client.chat({"messages": QUESTION, "max_tokens": 3, "response_format": wanted})


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
