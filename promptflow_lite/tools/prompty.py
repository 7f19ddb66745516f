"""Calling a prompty: inputs to messages, messages to a request, and the answer to what the caller expects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from promptflow_lite.connections import AzureOpenAIConnection, ConnectionSource
from promptflow_lite.errors import (
    CoreError,
    InvalidOutputKeyError,
    MissingRequiredInputError,
    UserErrorException,
)
from promptflow_lite.flow import PromptyFlow, image_files
from promptflow_lite.providers import ModelClient, client_for, default_model, takes_choices
from promptflow_lite.providers.usage import estimate_request_tokens
from promptflow_lite.tools.llm_apis import check_functions, check_tools, whole_message
from promptflow_lite.tools.model_configuration import ModelConfiguration, connection_of

_AZURE_HEADERS = {"ms-azure-ai-promptflow-called-from": "promptflow-core"}
_NOT_IN_BODY = ("timeout", "stream")

Body = dict[str, Any]


class PromptyCall:
    """A prompty with its model, ready to be called any number of times.

    Args:
        flow: The prompty, overrides merged in.
        connections: Where the connection that it names is looked up.
        client: The model to ask instead of the configured one.

    Raises:
        PromptflowException: the configuration names no usable model. It is looked at when a model is first asked.
    """

    def __init__(self, flow: PromptyFlow, connections: ConnectionSource, *, client: ModelClient | None = None) -> None:
        self.flow = flow
        self._connections = connections
        self._client = client
        self._target: tuple[ModelClient, str] | None = None
        self._is_azure = False
        """Whether requests go to an Azure server, which is told who asks."""

    def select_inputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The declared inputs: given, else default, else sample; anything undeclared is dropped.

        Raises:
            MissingRequiredInputError: a declared input has no value.
        """
        given = dict(values) if values else dict(self.flow.sample or {})
        selected: dict[str, Any] = {}
        missing = []
        for name, spec in self.flow.inputs.items():
            if name in given:
                selected[name] = self._with_image(given[name])
            elif spec.default is not None:
                with image_files(allowed=True):
                    selected[name] = self._with_image(spec.default)
            else:
                missing.append(name)
        if missing:
            raise MissingRequiredInputError(
                f"Missing required inputs: {missing}.",
                hint=f"Pass {', '.join(f'{name}=…' for name in missing)}, or give defaults in {self.flow.path.name}.",
                missing=missing,
            )

        return selected

    def _with_image(self, value: Any) -> Any:
        from promptflow_lite.flow import item_of_text, load_image, load_media

        if not isinstance(value, str):
            return load_media(value, root=self.flow.root)

        item = item_of_text(value)
        return value if item is None else load_image(item, root=self.flow.root)

    def messages(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The chat messages of a call; text inputs cannot start messages of their own."""
        from promptflow_lite.flow import render_chat

        inputs = self.select_inputs(values)
        texts = [name for name, value in inputs.items() if isinstance(value, str)]
        return render_chat(self.flow.template, inputs, escape=texts, for_prompty=True)

    def prompt(self, values: Mapping[str, Any]) -> str:
        """The rendered text of a completion prompty."""
        from promptflow_lite.flow import render_template

        return render_template(self.flow.template, self.select_inputs(values), target="Core")

    def render(self, values: Mapping[str, Any]) -> str:
        """What would be sent: the messages as Python text, or the rendered text of a completion prompty."""
        return str(self.messages(values)) if self.flow.api == "chat" else self.prompt(values)

    def body(self, values: Mapping[str, Any]) -> Body:
        """The request that a call would send, without `stream`."""
        parameters = {key: value for key, value in self.flow.parameters.items() if key not in _NOT_IN_BODY}
        model = {"model": self.model} if self.model else {}
        if self.flow.api == "completion":
            return {**parameters, **model, "prompt": self.prompt(values)}

        return {**_checked_tools(parameters), **model, "messages": self.messages(values)}

    def estimate_token_count(self, values: Mapping[str, Any]) -> int:
        """Tokens of the rendered prompt plus `max_tokens`: an upper bound of what a call may use.

        Raises:
            CoreError: `max_tokens` is not a whole number.
        """
        max_tokens = self.flow.parameters.get("max_tokens")
        if max_tokens is not None and (not isinstance(max_tokens, int) or isinstance(max_tokens, bool)):
            raise CoreError("Max_token needs to be integer.", hint="Correct `max_tokens` in the front matter.")

        is_chat = self.flow.api == "chat"
        request = {"messages": self.messages(values)} if is_chat else {"prompt": self.prompt(values)}
        return estimate_request_tokens(request) + (max_tokens or 0)

    def __call__(self, values: Mapping[str, Any], *, timeout_s: float | None = None) -> Any:
        """Ask the model and shape its answer as `response`, `response_format` and `outputs` say."""
        client = self._resolved()[0]
        body = self.body(values)
        if self._is_azure:
            body["extra_headers"] = {**_AZURE_HEADERS, **body.get("extra_headers", {})}

        limit = timeout_s if timeout_s is not None else self.flow.parameters.get("timeout")
        is_chat = self.flow.api == "chat"
        if self.flow.parameters.get("stream"):
            chunks = (client.stream_chat if is_chat else client.stream_complete)(body, timeout_s=limit)
            return self._streamed(chunks)

        answer = (client.chat if is_chat else client.complete)(body, timeout_s=limit)
        return self._shaped(answer)

    # --- the answer -------------------------------------------------------------------------------------------------

    def _streamed(self, chunks: Iterator[Body]) -> Any:
        if self.flow.response == "all":
            return (_as_object(chunk, is_chat=self.flow.api == "chat", is_chunk=True) for chunk in chunks)

        texts = _chunk_texts(chunks)
        return self._parsed_json("".join(texts)) if self._wants_json() else texts

    def _shaped(self, answer: Body) -> Any:
        if self.flow.response == "all":
            return _as_object(answer, is_chat=self.flow.api == "chat", is_chunk=False)

        choice = answer["choices"][0]
        if self.flow.api == "completion":
            return choice["text"]

        if self._wants_json():
            return self._parsed_json(choice["message"].get("content"))

        if choice.get("finish_reason") == "tool_calls":
            return whole_message(choice["message"])

        return choice["message"].get("content")

    def _wants_json(self) -> bool:
        response_format = self.flow.parameters.get("response_format")
        return isinstance(response_format, Mapping) and response_format.get("type") == "json_object"

    def _parsed_json(self, content: str | None) -> Any:
        try:
            answer = json.loads(content or "")
        except ValueError as error:
            raise UserErrorException(
                f"The model's answer is not JSON: {error}",
                hint="Ask for JSON in the prompt as well, or remove response_format.",
                answer=content,
            ) from error

        if not self.flow.outputs:
            return answer

        missing = [name for name in self.flow.outputs if not isinstance(answer, dict) or name not in answer]
        if missing:
            raise InvalidOutputKeyError(
                f"Cannot find {missing[0]!r} in response {sorted(answer) if isinstance(answer, dict) else answer!r}.",
                hint="Name the keys of the JSON answer in the prompt, or correct `outputs` in the front matter.",
            )

        return {name: answer[name] for name in self.flow.outputs}

    # --- the model --------------------------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """Name of the model or deployment that requests name; empty when the client knows only one."""
        return self._resolved()[1]

    def _resolved(self) -> tuple[ModelClient, str]:
        """The model to ask and its name, looked up when it is first needed."""
        if self._target is None:
            given = self.flow.configuration.get("__object__", self.flow.configuration)
            configuration = given.to_dict() if isinstance(given, ModelConfiguration) else dict(given)
            if _names_credentials(configuration):
                connection, model = connection_of(configuration, self._connections)
                self._is_azure = isinstance(connection, AzureOpenAIConnection) and not takes_choices(connection)
                self._target = (self._client or client_for(connection), model)
            else:
                found = default_model(self._connections, model=configuration.get("model"))
                self._target = (self._client or found.client, found.model)

        return self._target


def _names_credentials(configuration: Mapping[str, Any]) -> bool:
    """Whether a configuration says where the model is; one that names just a model leaves it to the default."""
    return any(value for key, value in configuration.items() if key not in ("model", "azure_deployment"))


def _checked_tools(parameters: Body) -> Body:
    """`tools` win over `functions`; either is checked before it is sent."""
    if parameters.get("tools"):
        check_tools(parameters["tools"], parameters.get("tool_choice"))
        kept = {key: value for key, value in parameters.items() if key not in ("functions", "function_call")}
        return {**kept, "tool_choice": parameters.get("tool_choice") or "auto"}

    if parameters.get("functions"):
        check_functions(parameters["functions"], parameters.get("function_call"))
        return {**parameters, "function_call": parameters.get("function_call") or "auto"}

    return parameters


def _chunk_texts(chunks: Iterator[Body]) -> Iterator[str]:
    for chunk in chunks:
        for choice in chunk.get("choices", [])[:1]:
            text = choice.get("text") if "text" in choice else (choice.get("delta") or {}).get("content")
            if text is not None:
                yield text


def _as_object(body: Body, *, is_chat: bool, is_chunk: bool) -> Any:
    """The answer as the client library's object, so that attribute access works as it did."""
    from openai.types import Completion
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    kinds: dict[tuple[bool, bool], Callable[..., Any]] = {
        (True, False): ChatCompletion.construct,
        (True, True): ChatCompletionChunk.construct,
        (False, False): Completion.construct,
        (False, True): Completion.construct,
    }
    return kinds[is_chat, is_chunk](**body)
