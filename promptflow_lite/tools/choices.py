"""The `choices` option of an LLM node: the answer is one of given labels, with a probability for each if asked.

The local engine scores the labels itself. A server is asked for a JSON answer that must be one of the labels, or, for
probabilities, for the likeliest first tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from promptflow_lite.errors import NodeInputValidationError, OpenAIError, WrappedOpenAIError
from promptflow_lite.providers import Body, ModelClient

LABEL = "label"
PROBABILITIES = "probabilities"
OUTPUTS = (LABEL, PROBABILITIES)
_MAX_TOP_LOGPROBS = 20


def choose(client: ModelClient, body: Body, labels: Any, output: str, *, takes_choices: bool, is_chat: bool) -> Any:
    """The likeliest label, or all with their probabilities.

    Raises:
        NodeInputValidationError: the labels or the output form are not usable.
        WrappedOpenAIError: the server can do neither of what this needs.
    """
    names = _checked(labels, output)
    if takes_choices:
        answer = (client.chat if is_chat else client.complete)({**body, "choices": names})
        probabilities = _find_probabilities(answer)
        if output == PROBABILITIES:
            return probabilities

        choice = answer["choices"][0]
        return choice["message"]["content"] if is_chat else choice["text"]

    if not is_chat:
        raise NodeInputValidationError(
            "`choices` needs the chat API when the model is behind a server.", hint="Set `api: chat` on the node."
        )

    return _by_logprobs(client, body, names) if output == PROBABILITIES else _by_schema(client, body, names)


def _checked(labels: Any, output: str) -> list[str]:
    if not isinstance(labels, list | tuple) or not labels or not all(isinstance(x, str) and x for x in labels):
        raise NodeInputValidationError("`choices` must be a list of texts.", hint="Write choices: [yes, no].")

    if len(set(labels)) != len(labels):
        raise NodeInputValidationError("`choices` holds the same label twice.", hint="Each label must be different.")

    if output not in OUTPUTS:
        raise NodeInputValidationError(f"choices_output {output!r} is unknown.", hint=f"Use {' or '.join(OUTPUTS)}.")

    return list(labels)


def _find_probabilities(answer: Body) -> dict[str, float]:
    choice = answer["choices"][0]
    for holder in (answer, choice, choice.get("message") or {}):
        if "label_probabilities" in holder:
            return dict(holder["label_probabilities"])

    raise WrappedOpenAIError("The model gave no probabilities of the labels.", hint="Use the bundled engine.")


def _by_schema(client: ModelClient, body: Body, labels: Sequence[str]) -> str:
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(labels)}},
        "required": ["label"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": schema}}
    try:
        answer = client.chat({**body, "response_format": wanted})
    except OpenAIError as error:
        if error.facts.get("status") not in (400, 404, 422):
            raise

        raise _unsupported(body, "response_format with a JSON schema", error) from error

    content = answer["choices"][0]["message"].get("content") or ""
    label = _label_in(content)
    if label not in labels:
        raise _unsupported(body, "response_format with a JSON schema", None, content)

    return str(label)


def _by_logprobs(client: ModelClient, body: Body, labels: Sequence[str]) -> dict[str, float]:
    request = {**body, "max_tokens": 1, "logprobs": True, "top_logprobs": _MAX_TOP_LOGPROBS}
    try:
        answer = client.chat(request)
    except OpenAIError as error:
        if error.facts.get("status") not in (400, 404, 422):
            raise

        raise _unsupported(body, "logprobs", error) from error

    steps = ((answer["choices"][0].get("logprobs") or {}).get("content")) or []
    if not steps:
        raise _unsupported(body, "logprobs", None)

    mass = dict.fromkeys(labels, 0.0)
    for candidate in steps[0].get("top_logprobs") or [steps[0]]:
        token = candidate["token"].strip()
        fitting = [label for label in labels if token and label.startswith(token)]
        if len(fitting) == 1:
            mass[fitting[0]] += math.exp(candidate["logprob"])

    total = sum(mass.values())
    if total == 0:
        raise WrappedOpenAIError(
            f"None of the {_MAX_TOP_LOGPROBS} likeliest tokens begins exactly one of the labels {list(labels)!r}.",
            hint="Tell the model in the prompt to answer with one of the labels, and let them begin differently.",
        )

    return {label: value / total for label, value in mass.items()}


def _label_in(content: str) -> Any:
    try:
        value = json.loads(content)
    except ValueError:
        return content.strip()

    return value.get("label") if isinstance(value, dict) else value


def _unsupported(body: Body, feature: str, error: OpenAIError | None, content: str = "") -> WrappedOpenAIError:
    said = f": {error.message}" if error is not None else f"; it answered {content[:100]!r}" if content else ""
    return WrappedOpenAIError(
        f"The server of model {body.get('model')!r} does not honour {feature}, which `choices` needs{said}.",
        hint="Use a model that supports it, or run the node on the local engine by leaving out its connection.",
        error_type=error.facts.get("error_type") if error is not None else None,
        status=error.facts.get("status") if error is not None else None,
    )
