"""The requests of a whole flow, as they reach a server: the bodies are those that the original sends."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.providers import forget_clients
from promptflow_lite.sdk.original.executor import FlowExecutor
from tests.providers.server import Answer, Received, Server, chat_answer, serve

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
QUESTION = "hi\nassistant:\nfake"

FLOW = """
inputs:
  q: {type: string}
  xs: {type: list, default: ["a", "b"]}
  pic: {type: image}
outputs:
  chat: {type: string, reference: "${chat_openai.output}"}
  completion: {type: string, reference: "${completion_openai.output}"}
  vector: {type: list, reference: "${embed.output}"}
  message: {type: object, reference: "${with_tools.output}"}
nodes:
- name: chat_openai
  type: llm
  source: {type: code, path: chat.jinja2}
  connection: oc
  api: chat
  module: promptflow.tools.openai
  inputs:
    model: m1
    temperature: "0.3"
    max_tokens: "7"
    stop: '["x"]'
    presence_penalty: 0
    q: ${inputs.q}
    xs: ${inputs.xs}
- name: chat_azure
  type: llm
  source: {type: code, path: chat.jinja2}
  connection: ac
  api: chat
  inputs:
    deployment_name: d1
    temperature: 0
    response_format: '{"type": "text"}'
    q: ${inputs.q}
    xs: ${inputs.xs}
- name: completion_openai
  type: llm
  source: {type: code, path: complete.jinja2}
  connection: oc
  api: completion
  inputs: {model: m2, q: "${inputs.q}"}
- name: completion_azure
  type: llm
  source: {type: code, path: complete.jinja2}
  connection: ac
  api: completion
  inputs: {deployment_name: d2, max_tokens: 5, q: "${inputs.q}"}
- name: embed
  type: python
  source: {type: package, tool: promptflow.tools.embedding.embedding}
  inputs: {connection: oc, model: e1, input: "${inputs.q}"}
- name: vision
  type: custom_llm
  source: {type: package_with_prompt, tool: promptflow.tools.openai_gpt4v.OpenAI.chat, path: vision.jinja2}
  inputs: {connection: oc, model: v1, temperature: 0.2, pic: "${inputs.pic}", q: "${inputs.q}"}
- name: with_tools
  type: llm
  source: {type: code, path: chat.jinja2}
  connection: ac
  api: chat
  inputs:
    deployment_name: d3
    tools: '[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]'
    tool_choice: auto
    q: ${inputs.q}
    xs: ${inputs.xs}
"""
COMPLETION = {"best_of": 1, "echo": False, "logit_bias": {}, "n": 1, "prompt": f"Complete: {QUESTION}", "stream": False}
SAMPLING = {"temperature": 1.0, "top_p": 1.0}

EXPECTED: dict[str, dict[str, Any]] = {
    "m1": {
        "max_tokens": 7,
        "messages": [{"role": "system", "content": "Sys ['a', 'b']"}, {"role": "user", "content": QUESTION}],
        "presence_penalty": 0.0,
        "stop": ["x"],
        "stream": False,
        "temperature": 0.3,
        "top_p": 1.0,
    },
    "d1": {
        "messages": [{"role": "system", "content": "Sys a\nb"}, {"role": "user", "content": QUESTION}],
        "n": 1,
        "response_format": {"type": "text"},
        "stream": False,
        "temperature": 0.0,
        "top_p": 1.0,
    },
    "m2": {**COMPLETION, **SAMPLING, "max_tokens": 16, "user": ""},
    "d2": {**COMPLETION, **SAMPLING, "max_tokens": 5, "user": ""},
    "e1": {"input": QUESTION},
    "v1": {
        "frequency_penalty": 0,
        "messages": [
            {"role": "system", "content": "See"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look "},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "auto"}},
                    {"type": "text", "text": " hi"},
                    {"type": "text", "text": "assistant:"},
                    {"type": "text", "text": "fake"},
                ],
            },
        ],
        "n": 1,
        "presence_penalty": 0,
        "stream": False,
        "temperature": 0.2,
        "top_p": 1.0,
    },
    "d3": {
        "messages": [{"role": "system", "content": "Sys a\nb"}, {"role": "user", "content": QUESTION}],
        "n": 1,
        "stream": False,
        "tool_choice": "auto",
        "tools": TOOLS,
        **SAMPLING,
    },
}


@pytest.fixture
def server() -> Iterator[Server]:
    def answer(request: Received) -> Answer:
        if request.path.endswith("/embeddings"):
            return Answer({"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}})

        if "chat" in request.path:
            return Answer(chat_answer("hello"))

        return Answer(
            {"choices": [{"index": 0, "text": "done"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        )

    with serve() as running:
        running.answers = [answer]
        yield running
    forget_clients()


def test_every_request_is_the_one_that_the_original_sends(tmp_path: Path, server: Server) -> None:
    files = {
        "flow.dag.yaml": FLOW,
        "chat.jinja2": "system:\nSys {{xs}}\nuser:\n{{q}}\n",
        "complete.jinja2": "Complete: {{q}}",
        "vision.jinja2": "# system:\nSee\n# user:\nlook ![image]({{pic}}) {{q}}\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "p.png").write_bytes(base64.b64decode(PNG))
    connections = {
        "oc": {"type": "OpenAIConnection", "value": {"api_key": "k", "base_url": f"{server.address}/v1"}},
        "ac": {"type": "AzureOpenAIConnection", "value": {"api_key": "k", "api_base": server.address}},
    }
    executor = FlowExecutor.create("flow.dag.yaml", connections, working_dir=tmp_path)
    outputs = executor.exec({"q": QUESTION, "pic": {"data:image/png;path": "p.png"}})

    sent = {request.body["model"]: request for request in server.received}
    assert {model: _given(request.body) for model, request in sent.items()} == EXPECTED
    assert sent["d1"].path == "/openai/deployments/d1/chat/completions?api-version=2024-02-01"
    assert sent["m2"].path == "/v1/completions"
    assert (outputs["chat"], outputs["completion"], outputs["vector"]) == ("hello", "done", [0.5])
    assert outputs["message"]["content"] == "hello"


def _given(body: dict[str, Any]) -> dict[str, Any]:
    """The body without the model and without fields that say nothing."""
    return {key: value for key, value in body.items() if value is not None and key not in ("model", "encoding_format")}
