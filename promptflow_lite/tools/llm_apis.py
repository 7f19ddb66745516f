"""The APIs that an LLM node can call: their parameters, and the request body that arguments make (contract 4.9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from promptflow_lite.errors import ChatAPIInvalidFunctions, ChatAPIInvalidTools, LLMError
from promptflow_lite.providers import Body
from promptflow_lite.tools.base import Parameter

Arguments = Mapping[str, Any]

CHAT = "chat"
COMPLETION = "completion"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmApi:
    """One API of one provider."""

    provider: str
    name: str
    model_parameter: str
    """`deployment_name` or `model`."""
    parameters: dict[str, Parameter]
    """Everything that the original's function takes; a template may not use these names for variables."""
    build: Callable[[Arguments], Body]
    """Arguments -> body without prompt and messages."""

    @property
    def is_chat(self) -> bool:
        return self.name == CHAT


def _parameters(*rows: tuple[str, str] | tuple[str, str, Any]) -> dict[str, Parameter]:
    """Rows of name, type and default (None unless given)."""
    return {row[0]: Parameter(name=row[0], types=(row[1],), default=row[2] if len(row) > 2 else None) for row in rows}


_COMMON: tuple[tuple[str, str, Any], ...] = (
    ("prompt", "prompt_template", ""),
    ("temperature", "double", 1.0),
    ("top_p", "double", 1.0),
    ("stream", "bool", False),
    ("stop", "list", None),
    ("max_tokens", "int", None),
    ("presence_penalty", "double", None),
    ("frequency_penalty", "double", None),
    ("logit_bias", "object", {}),
    ("user", "string", ""),
)
_CHAT_ONLY: tuple[tuple[str, str, Any], ...] = (
    ("response_format", "object", None),
    ("seed", "int", None),
    ("tools", "list", None),
    ("tool_choice", "object", None),
    ("functions", "list", None),
    ("function_call", "object", None),
)
_COMPLETION_ONLY: tuple[tuple[str, str, Any], ...] = (
    ("suffix", "string", None),
    ("n", "int", 1),
    ("logprobs", "int", None),
    ("echo", "bool", False),
    ("best_of", "int", 1),
)


def _deployment(arguments: Arguments) -> Any:
    name = arguments.get("deployment_name")
    if name is None:
        raise LLMError(
            "An Azure connection needs deployment_name, which names the model.",
            hint="Add `deployment_name:` to the node's inputs.",
        )

    return name


def _azure_chat(arguments: Arguments) -> Body:
    body = {"model": _deployment(arguments), **_chat_options(arguments), "n": int(arguments.get("n") or 1)}
    if arguments.get("tools"):
        check_tools(arguments["tools"], arguments.get("tool_choice"))
        body.update(tools=arguments["tools"], tool_choice=arguments.get("tool_choice") or "auto")
    else:
        body.update(_functions(arguments))

    return body


def _openai_chat(arguments: Arguments) -> Body:
    body = {"model": arguments.get("model") or "", **_chat_options(arguments)}
    if arguments.get("tools"):
        body.update(tools=arguments["tools"], tool_choice=arguments.get("tool_choice"))
    else:
        body.update(_functions(arguments))

    return body


def _chat_options(arguments: Arguments) -> Body:
    options = _sampling(arguments)
    limit = arguments.get("max_tokens")
    if limit is not None and limit != "" and str(limit).lower() != "inf":
        options["max_tokens"] = int(limit)

    if arguments.get("response_format"):
        options["response_format"] = arguments["response_format"]

    if arguments.get("seed") is not None:
        options["seed"] = int(arguments["seed"])

    return options


def _sampling(arguments: Arguments) -> Body:
    """Parameters that both APIs treat alike."""
    options: Body = {
        "temperature": float(_given(arguments, "temperature", 1.0)),
        "top_p": float(_given(arguments, "top_p", 1.0)),
        "stream": to_bool(arguments.get("stream")),
    }
    if arguments.get("stop"):
        options["stop"] = arguments["stop"]

    for name in ("presence_penalty", "frequency_penalty"):
        if arguments.get(name) is not None:
            options[name] = float(arguments[name])

    for name in ("logit_bias", "user"):
        if arguments.get(name):
            options[name] = arguments[name]

    return options


def _azure_completion(arguments: Arguments) -> Body:
    return {"model": _deployment(arguments), **_completion_options(arguments)}


def _openai_completion(arguments: Arguments) -> Body:
    penalties = dict.fromkeys(("presence_penalty", "frequency_penalty"))
    return {"model": arguments.get("model") or "", **penalties, **_completion_options(arguments)}


def _completion_options(arguments: Arguments) -> Body:
    """Unlike chat, completion sends most parameters even when they are not given, as null."""
    limit = arguments.get("max_tokens", 16)
    return {
        "suffix": None,
        "stop": None,
        "logprobs": int(arguments["logprobs"]) if arguments.get("logprobs") else None,
        "logit_bias": {},
        "user": "",
        **_sampling(arguments),
        **({"suffix": arguments["suffix"]} if arguments.get("suffix") else {}),
        "max_tokens": None if limit is None else int(limit),
        "n": int(_given(arguments, "n", 1)),
        "echo": to_bool(arguments.get("echo")),
        "best_of": int(_given(arguments, "best_of", 1)),
    }


def _functions(arguments: Arguments) -> Body:
    if not arguments.get("functions"):
        return {}

    check_functions(arguments["functions"], arguments.get("function_call"))
    return {"functions": arguments["functions"], "function_call": arguments.get("function_call") or "auto"}


def check_functions(functions: Any, function_call: Any = None) -> None:
    """Raise `ChatAPIInvalidFunctions` unless these are function descriptions and a choice among them."""
    if not isinstance(functions, list):
        raise ChatAPIInvalidFunctions("functions must be a list.", hint="Leave it out if there is none.")

    for index, function in enumerate(functions):
        problem = _function_problem(function)
        if problem:
            raise ChatAPIInvalidFunctions(f"Function {index} {problem}.", hint=_FUNCTION_HINT, index=index)

    is_named = isinstance(function_call, dict) and "name" in function_call
    if function_call not in (None, "", "auto", "none") and not is_named:
        raise ChatAPIInvalidFunctions(
            f"function_call {function_call!r} is not valid.", hint='Use auto, none or {"name": …}.'
        )


def check_tools(tools: Any, tool_choice: Any = None) -> None:
    """Raise `ChatAPIInvalidTools` unless these are tool descriptions and a choice among them."""
    if not isinstance(tools, list):
        raise ChatAPIInvalidTools("tools must be a list.", hint="Leave it out if there is none.")

    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or "type" not in tool or "function" not in tool:
            raise ChatAPIInvalidTools(
                f"Tool {index} must be a mapping with type and function.",
                hint='Write {"type": "function", "function": {…}}.',
                index=index,
            )

        problem = _function_problem(tool["function"])
        if problem:
            raise ChatAPIInvalidTools(f"The function of tool {index} {problem}.", hint=_FUNCTION_HINT, index=index)

    is_named = isinstance(tool_choice, dict) and "name" in (tool_choice.get("function") or {})
    if tool_choice not in (None, "", "auto", "none", "required") and not is_named:
        raise ChatAPIInvalidTools(
            f"tool_choice {tool_choice!r} is not valid.",
            hint='Use auto, none, required or {"type": "function", "function": {"name": …}}.',
        )


_FUNCTION_HINT = 'Write {"name": …, "parameters": {"type": "object", "properties": {}}}.'


def _function_problem(function: Any) -> str | None:
    if not isinstance(function, dict):
        return "is no mapping"

    missing = [key for key in ("name", "parameters") if key not in function]
    if missing:
        return f"lacks {', '.join(missing)}"

    parameters = function["parameters"]
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        return "has parameters that are no JSON schema of type object"

    return None if isinstance(parameters.get("properties"), dict) else "has parameters without a properties mapping"


def engine_body(body: Body) -> Body:
    """The request without what says nothing and without what only a server understands."""
    return {
        name: value
        for name, value in body.items()
        if value not in (None, "", {}) and name not in _SERVER_ONLY and _NO_EFFECT.get(name, body) != value
    }


_SERVER_ONLY = ("extra_headers", "extra_query")
_NO_EFFECT = {"best_of": 1, "echo": False}


_MESSAGE_KEYS = ("content", "refusal", "role", "annotations", "audio", "function_call", "tool_calls")


def whole_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """An answer's message with every key that one can have, as callers that offered tools get it."""
    return {**dict.fromkeys(_MESSAGE_KEYS), **message}


def to_bool(value: Any) -> bool:
    """`"true"` in any case is true; other values by their truth."""
    return value.lower() == "true" if isinstance(value, str) else bool(value)


def _given(arguments: Arguments, name: str, default: Any) -> Any:
    value = arguments.get(name)
    return default if value is None or value == "" else value


AZURE = "AzureOpenAI"
OPENAI = "OpenAI"

APIS: dict[tuple[str, str], LlmApi] = {
    (AZURE, CHAT): LlmApi(
        provider=AZURE,
        name=CHAT,
        model_parameter="deployment_name",
        parameters=_parameters(
            ("connection", "AzureOpenAIConnection"),
            ("deployment_name", "string"),
            ("n", "int", 1),
            *_COMMON,
            *_CHAT_ONLY,
        ),
        build=_azure_chat,
    ),
    (AZURE, COMPLETION): LlmApi(
        provider=AZURE,
        name=COMPLETION,
        model_parameter="deployment_name",
        parameters=_parameters(
            ("connection", "AzureOpenAIConnection"), ("deployment_name", "string"), *_COMMON, *_COMPLETION_ONLY
        ),
        build=_azure_completion,
    ),
    (OPENAI, CHAT): LlmApi(
        provider=OPENAI,
        name=CHAT,
        model_parameter="model",
        parameters=_parameters(("connection", "OpenAIConnection"), ("model", "string", ""), *_COMMON, *_CHAT_ONLY),
        build=_openai_chat,
    ),
    (OPENAI, COMPLETION): LlmApi(
        provider=OPENAI,
        name=COMPLETION,
        model_parameter="model",
        parameters=_parameters(
            ("connection", "OpenAIConnection"), ("model", "string", ""), *_COMMON, *_COMPLETION_ONLY
        ),
        build=_openai_completion,
    ),
}
