"""LLM nodes: a template, an API and a connection become a callable (contract 4.9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.connections import (
    AzureOpenAIConnection,
    Connection,
    OpenAIConnection,
    ServerlessConnection,
)
from promptflow_lite.errors import (
    APINotFound,
    ConnectionNotFoundError,
    FunctionCallNotSupportedInStreamMode,
    GetConnectionError,
    InvalidConnectionType,
    InvalidSource,
    NodeInputValidationError,
)
from promptflow_lite.flow import (
    NodeSpec,
    PromptResult,
    Reference,
    coerce_literal,
    is_dropped_literal,
    render_chat,
    render_template,
    template_variables,
)
from promptflow_lite.providers import Body, ModelClient, client_for, default_model, is_local_connection, takes_choices
from promptflow_lite.tools.base import NO_DEFAULT, Parameter, ResolvedTool, ToolContext
from promptflow_lite.tools.choices import LABEL, choose
from promptflow_lite.tools.literals import prepare_literals
from promptflow_lite.tools.llm_apis import (
    APIS,
    AZURE,
    CHAT,
    OPENAI,
    LlmApi,
    check_functions,
    check_tools,
    engine_body,
    whole_message,
)

__all__ = ["check_functions", "check_tools", "resolve_llm_tool", "send"]

_PROVIDER_BY_KIND: tuple[tuple[type[Connection], str], ...] = (
    (AzureOpenAIConnection, AZURE),
    (OpenAIConnection, OPENAI),
    (ServerlessConnection, OPENAI),
)
_OWN_OPTIONS = {
    "choices": Parameter(name="choices", types=("list",), default=None),
    "choices_output": Parameter(name="choices_output", types=("string",), default=LABEL),
}
"""Options of this package; a template that reads a variable of such a name keeps it as a variable."""
_ENGINE_OPTIONS = {
    name: Parameter(name=name, types=(kind,), default=None)
    for name, kind in {
        "top_k": "int",
        "min_p": "double",
        "repeat_penalty": "double",
        "grammar": "string",
        "adapter": "string",
        "prior_correction": "object",
        "reproducible": "bool",
    }.items()
}
"""Further options of nodes that run on the local engine; they go into the request as they are."""


class Backend(NamedTuple):
    """Where a node's requests go."""

    client: ModelClient
    api: LlmApi
    is_local: bool
    """Whether the engine in this process answers."""
    takes_choices: bool
    """Whether a request may hold `choices`."""
    default_model: str = ""
    """Sent when the node names no model, or none that the client knows."""
    keeps_model: bool = True
    """Whether the model that the node names is sent."""


def resolve_llm_tool(node: NodeSpec, context: ToolContext) -> ResolvedTool:
    """Prepare an LLM node.

    Raises:
        InvalidSource: the template is missing.
        JinjaParsingError: its syntax is wrong.
        GetConnectionError, InvalidConnectionType, APINotFound: the connection or API cannot be used.
        NodeInputValidationError: an input does not fit, or a variable has the name of an API parameter.
    """
    node = apply_overrides(node, context)
    path, template = read_template(node, context.root)
    variables = template_variables(template)
    connection = find_connection(node, context)
    backend = _backend(node, connection, context)
    offered = {**_OWN_OPTIONS, **_ENGINE_OPTIONS} if backend.is_local else _OWN_OPTIONS
    options = {name: parameter for name, parameter in offered.items() if name not in variables}
    check_reserved_names(node, variables, backend.api)

    parameters = {**backend.api.parameters, **options}
    runner = _Runner(template, backend, escaped_inputs(node), frozenset(parameters))
    literals = _literals(node, parameters, variables, context)
    return ResolvedTool(
        name=f"{backend.api.provider}.{backend.api.name}",
        call=runner,
        parameters={**parameters, **variable_parameters(variables)},
        literals=literals,
        stream_parameter="stream",
        cache_parts=(*_cache_parts(template, backend, connection), sorted(runner.escape)),
        user_file=path,
    )


def apply_overrides(node: NodeSpec, context: ToolContext) -> NodeSpec:
    """The node with the overrides of a run: `connection` replaces its connection, other keys its inputs."""
    overrides = dict(context.connection_overrides.get(node.name, {}))
    if not overrides:
        return node

    connection = overrides.pop("connection", node.connection)
    return dataclasses.replace(node, connection=connection, inputs={**node.inputs, **overrides})


def read_template(node: NodeSpec, root: Path) -> tuple[Path, str]:
    """The template that the node's source names.

    Raises:
        InvalidSource: there is none, or it cannot be read.
    """
    if node.source is None or not node.source.path:
        raise InvalidSource(
            f"Node {node.name} does not have source defined.",
            hint="Add `source: {type: code, path: <template>.jinja2}` to the node.",
            where=node.where,
        )

    path = root / node.source.path
    try:
        return path, path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InvalidSource(
            f"Node source path {node.source.path!r} is invalid on node {node.name!r}.",
            hint=f"No UTF-8 text can be read at {path}.",
            where=node.where,
        ) from error


def find_connection(node: NodeSpec, context: ToolContext) -> Connection | None:
    """The connection that the node names; None when it names none.

    Raises:
        GetConnectionError: there is no such connection.
    """
    named: Any = node.connection
    if not named or isinstance(named, Connection):
        return named or None

    try:
        return context.connections.get(named)
    except ConnectionNotFoundError as error:
        raise GetConnectionError(
            f"Get connection {node.connection!r} for node {node.name!r} error: {error}",
            hint=f"{error.hint or ''} Or remove `connection:` from the node to use the default model.".strip(),
            where=node.where,
        ) from error


def escaped_inputs(node: NodeSpec) -> frozenset[str]:
    """Inputs bound directly to flow inputs; roles in their text must not start messages."""
    return frozenset(
        name for name, value in node.inputs.items() if isinstance(value, Reference) and value.kind == "input"
    )


def check_reserved_names(node: NodeSpec, variables: Collection[str], api: LlmApi) -> None:
    """Raise `NodeInputValidationError` when the template uses the name of an API parameter for a variable."""
    duplicates = [name for name in variables if name in api.parameters]
    if duplicates:
        raise NodeInputValidationError(
            f"Invalid inputs {set(duplicates)!r} in prompt template of node {node.name}. "
            f"These inputs are duplicated with the parameters of {api.provider}.{api.name}.",
            hint=f"Rename {{{{{duplicates[0]}}}}} in the template and in the node's inputs.",
            where=node.where,
        )


def variable_parameters(variables: Mapping[str, str]) -> dict[str, Parameter]:
    """Template variables as declared inputs; they have no default, so a bypassed dependency gives them None."""
    return {name: Parameter(name=name, types=(kind,), default=NO_DEFAULT) for name, kind in variables.items()}


def _backend(node: NodeSpec, connection: Connection | None, context: ToolContext) -> Backend:
    api_name = node.api or CHAT
    if connection is None:
        wanted = next((v for k in ("model", "deployment_name") if isinstance(v := node.inputs.get(k), str) and v), None)
        found = default_model(context.connections, model=wanted)
        api = _default_api(node, api_name)
        return Backend(found.client, api, found.is_local, found.takes_choices, found.model, keeps_model=False)

    provider = next((name for kind, name in _PROVIDER_BY_KIND if isinstance(connection, kind)), None)
    if provider is None:
        raise InvalidConnectionType(
            f"Connection type {type(connection).__name__} is not supported for LLM.",
            hint="Use an AzureOpenAIConnection, an OpenAIConnection or a ServerlessConnection.",
            where=node.where,
        )

    api = _find_api(node, provider, api_name)
    return Backend(client_for(connection), api, is_local_connection(connection), takes_choices(connection))


def _find_api(node: NodeSpec, provider: str, name: str) -> LlmApi:
    api = APIS.get((provider, name))
    if api is None:
        raise APINotFound(
            f"The API '{provider}.{name}' is not found.",
            hint=did_you_mean(name, [known for p, known in APIS if p == provider]),
            where=node.where,
        )

    return api


def _default_api(node: NodeSpec, name: str) -> LlmApi:
    """Without a connection the parameters of both providers are accepted."""
    api = _find_api(node, OPENAI, name)
    azure = APIS[AZURE, name].parameters
    extra: dict[str, Parameter] = {
        key: azure[key] for key in ("deployment_name", "n") if key in node.inputs and key in azure
    }
    return dataclasses.replace(api, provider="Default", parameters={**api.parameters, **extra})


def _literals(
    node: NodeSpec, parameters: Mapping[str, Parameter], variables: Mapping[str, str], context: ToolContext
) -> dict[str, Any]:
    """API parameters are coerced by type; template variables stay as they are, except images, which are loaded."""
    of_api = {name: value for name, value in node.inputs.items() if name in parameters}
    plain_context = dataclasses.replace(context, connection_overrides={})
    literals = prepare_literals(dataclasses.replace(node, inputs=of_api), parameters, plain_context)
    for name, value in node.inputs.items():
        if name in parameters or isinstance(value, Reference) or is_dropped_literal(value):
            continue

        is_image = variables.get(name) == "image"
        literals[name] = coerce_literal(value, "image", root=context.root) if is_image else value

    return literals


def _cache_parts(template: str, backend: Backend, connection: Connection | None) -> tuple[Any, ...]:
    """What decides about an answer beside the inputs; no secrets."""
    place = None
    if connection is not None:
        place = [
            type(connection).__name__,
            *(connection.configs.get(k) for k in ("api_base", "base_url", "api_version")),
        ]

    return ("llm", template, backend.api.provider, backend.api.name, backend.default_model, place, _model_file(backend))


def _model_file(backend: Backend) -> list[Any] | None:
    """Identity of the file behind a local model: another file gives other answers."""
    path = getattr(getattr(backend.client, "client", None), "path", None)
    if path is None:
        return None

    state = Path(path).stat()
    return [str(path), state.st_size, state.st_mtime_ns]


class _Runner:
    """The callable of an LLM node."""

    def __init__(self, template: str, backend: Backend, escape: frozenset[str], option_names: frozenset[str]) -> None:
        self._template = template
        self._backend = backend
        self.escape = escape
        self._option_names = option_names

    def __call__(self, **inputs: Any) -> Any:
        options = {name: value for name, value in inputs.items() if name in self._option_names}
        variables = {name: value for name, value in inputs.items() if name not in self._option_names}
        body = self._body(options, variables)
        labels = options.get("choices")
        if labels is not None:
            body.pop("stream", None)
            output = options.get("choices_output") or LABEL
            backend = self._backend
            return choose(
                backend.client, body, labels, output, takes_choices=backend.takes_choices, is_chat=backend.api.is_chat
            )

        return send(self._backend.client, body, is_chat=self._backend.api.is_chat, is_local=self._backend.is_local)

    def _body(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> Body:
        api = self._backend.api
        body = api.build(options)
        if not self._backend.keeps_model:
            body["model"] = self._backend.default_model

        template = options.get("prompt") or self._template  # an input named `prompt` replaces the template
        if api.is_chat:
            joined = api.provider == AZURE
            if isinstance(template, PromptResult):
                template = template.get_escaped_string()

            body["messages"] = render_chat(template, variables, escape=self.escape, join_lists=joined)
        else:
            body["prompt"] = render_template(template, variables)

        if self._backend.is_local:
            body.update({name: options[name] for name in _ENGINE_OPTIONS if options.get(name) is not None})
            return engine_body(body)

        return body


def send(client: ModelClient, body: Body, *, is_chat: bool, is_local: bool = False) -> Any:
    """Send a request and take from the answer what an LLM node returns.

    Returns:
        Text; the whole message when the request offers tools or functions; a generator of text when it streams.

    Raises:
        FunctionCallNotSupportedInStreamMode: functions and streaming together.
    """
    is_stream = body.pop("stream", False)
    body = engine_body(body) if is_local else body
    offers_functions = "functions" in body
    if is_stream and offers_functions:
        raise FunctionCallNotSupportedInStreamMode(
            "Functions cannot be called in stream mode.", hint="Do not stream this node, or use tools."
        )

    if is_stream:
        return _texts((client.stream_chat if is_chat else client.stream_complete)(body))

    if not is_local:
        body["stream"] = False  # a server is told so, as the original does

    answer = (client.chat if is_chat else client.complete)(body)
    if not is_chat:
        return answer["choices"][0].get("text")

    message = answer["choices"][0]["message"]
    if offers_functions or "tools" in body:
        return whole_message(message)

    return message.get("content")


def _texts(chunks: Iterator[Body]) -> Iterator[str]:
    for chunk in chunks:
        for choice in (chunk.get("choices") or [])[:1]:
            if "delta" in choice:
                yield (choice["delta"] or {}).get("content") or ""
            else:
                yield choice.get("text") or ""
