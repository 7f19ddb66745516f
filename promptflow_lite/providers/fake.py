"""A scripted model for tests: answers by pattern or callable, counts tokens, streams, fails on demand, keeps a log.

    model = FakeModel({"capital of France": "Paris", r"\\d+ apples": lambda call: call.prompt.upper()}, default="?")
    client = Client(connections=[model.connection("open_ai_connection")])
    ...
    assert model.calls[0].prompt.endswith("France?")

Without code, `PFL_DEFAULT_MODEL=fake:echo` or a connection whose address is `fake:echo` repeats each prompt.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from promptflow_lite.connections import AzureOpenAIConnection, Connection, OpenAIConnection
from promptflow_lite.errors import WrappedOpenAIError
from promptflow_lite.providers.base import Body
from promptflow_lite.providers.usage import estimate_usage

FAKE_SCHEME = "fake:"
EMBEDDING_SIZE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeCall:
    """One request that the fake received."""

    kind: str
    """`chat`, `completion` or `embedding`."""
    body: Body

    @property
    def prompt(self) -> str:
        """Text of the last message, or the prompt, or the embedded text."""
        if self.kind == "chat":
            messages = self.body.get("messages") or [{}]
            return _text(messages[-1].get("content"))

        return _text(self.body.get("prompt", self.body.get("input")))

    @property
    def whole_prompt(self) -> str:
        """Texts of all messages, one a line; patterns are searched in it."""
        if self.kind == "chat":
            return "\n".join(_text(message.get("content")) for message in self.body.get("messages") or [])

        return self.prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeAnswer:
    """An answer with more than text."""

    content: str | None = ""
    tool_calls: list[dict[str, Any]] | None = None
    finish_reason: str | None = None
    usage: tuple[int, int] | None = None
    """Prompt and completion tokens; estimated when None."""
    chunks: Sequence[str] | None = None
    """How the text is cut when it is streamed; by words when None."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further keys of the choice."""


Answer = str | FakeAnswer | Exception | Callable[[FakeCall], Any] | Sequence[Any]
"""Text, a full answer, an exception to raise, a callable that gives one of these, or a list of them used in turn."""


class FakeModel:
    """A scripted `ModelClient`.

    Args:
        answers: Regular expression -> answer; the first that is found in the prompt wins.
        default: The answer when none fits; without one such a request is an error.
        name: Makes the model reachable as `fake:<name>`; given one when None.
        keep_calls: Whether to log requests.

    Thread: safe; `calls` grows in the order in which requests arrive.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer] | None = None,
        *,
        default: Answer | None = None,
        name: str | None = None,
        keep_calls: bool = True,
    ) -> None:
        self.calls: list[FakeCall] = []
        self._keep_calls = keep_calls
        self._answers = [(re.compile(pattern), _Script(answer)) for pattern, answer in (answers or {}).items()]
        self._default = _Script(default) if default is not None else None
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self.name = name or f"model-{next(_names)}"
        _models[self.name] = self

    def __repr__(self) -> str:
        return f"FakeModel({self.name!r}, {len(self.calls)} calls)"

    def connection(
        self, name: str, kind: type[OpenAIConnection] | type[AzureOpenAIConnection] = OpenAIConnection
    ) -> Connection:
        """A connection that leads to this model within this process."""
        address = FAKE_SCHEME + self.name
        if issubclass(kind, AzureOpenAIConnection):
            return kind(address, "fake-key", name=name)

        return kind("fake-key", base_url=address, name=name)

    def chat(self, body: Body, *, timeout_s: float | None = None) -> Body:
        answer = self._answer("chat", body)
        message: dict[str, Any] = {"role": "assistant", "content": answer.content}
        if answer.tool_calls is not None:
            message["tool_calls"] = answer.tool_calls

        reason = answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": reason, **answer.extra}
        return self._body("chat.completion", body, answer, choice)

    def stream_chat(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]:
        answer = self._answer("chat", body)
        pieces: list[dict[str, Any]] = [{"content": piece} for piece in _pieces(answer)]
        if answer.tool_calls is not None:
            pieces.append({"tool_calls": [{"index": i, **call} for i, call in enumerate(answer.tool_calls)]})

        choices: list[dict[str, Any]] = [
            {"index": 0, "delta": {"role": "assistant", **piece}, "finish_reason": None} for piece in pieces
        ]
        reason = answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        return self._stream("chat.completion.chunk", body, answer, choices)

    def complete(self, body: Body, *, timeout_s: float | None = None) -> Body:
        answer = self._answer("completion", body)
        choice = {"index": 0, "text": answer.content, "finish_reason": answer.finish_reason or "stop", **answer.extra}
        return self._body("text_completion", body, answer, choice)

    def stream_complete(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]:
        answer = self._answer("completion", body)
        choices = [{"index": 0, "text": piece, "finish_reason": None} for piece in _pieces(answer)]
        return self._stream("text_completion", body, answer, choices)

    def embed(self, body: Body, *, timeout_s: float | None = None) -> Body:
        call = FakeCall(kind="embedding", body=body)
        self._log(call)
        texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
        data = [{"object": "embedding", "index": i, "embedding": _vector(str(t))} for i, t in enumerate(texts)]
        usage = estimate_usage(body, "")
        return {"object": "list", "model": body.get("model"), "data": data, "usage": usage}

    def _answer(self, kind: str, body: Body) -> FakeAnswer:
        call = FakeCall(kind=kind, body=body)
        self._log(call)
        with self._lock:
            script = next((s for pattern, s in self._answers if pattern.search(call.whole_prompt)), self._default)
            step = script.next() if script is not None else None

        if step is None:
            raise WrappedOpenAIError(
                f"The fake model {self.name!r} has no answer for {call.prompt[:100]!r}.",
                hint="Add a pattern that fits, or a default answer.",
                error_type="BadRequestError",
            )

        answer = step(call) if callable(step) and not isinstance(step, type) else step
        if isinstance(answer, BaseException):
            raise answer

        if not isinstance(answer, FakeAnswer):
            answer = FakeAnswer(content=None if answer is None else str(answer))

        return _chosen(answer, body["choices"]) if body.get("choices") else answer

    def _log(self, call: FakeCall) -> None:
        if self._keep_calls:
            with self._lock:
                self.calls.append(call)

    def _body(self, kind: str, body: Body, answer: FakeAnswer, choice: dict[str, Any]) -> Body:
        return {
            "id": f"fake-{next(self._ids)}",
            "object": kind,
            "created": 0,
            "model": body.get("model") or FAKE_SCHEME + self.name,
            "choices": [choice],
            "usage": _usage(body, answer),
        }

    def _stream(self, kind: str, body: Body, answer: FakeAnswer, choices: list[dict[str, Any]]) -> Iterator[Body]:
        head = {"id": f"fake-{next(self._ids)}", "object": kind, "created": 0, "model": body.get("model")}
        yield from ({**head, "choices": [choice]} for choice in choices)
        yield {**head, "choices": [], "usage": _usage(body, answer)}


class _Script:
    """Gives the next answer; a list is used up step by step, its last one stays."""

    def __init__(self, answer: Answer) -> None:
        is_list = isinstance(answer, Sequence) and not isinstance(answer, str)
        self._steps: list[Any] = list(answer) if is_list else [answer]  # type: ignore[arg-type]

    def next(self) -> Any:
        return self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]


def _chosen(answer: FakeAnswer, labels: Sequence[str]) -> FakeAnswer:
    """The label that the answer names, or the first one, with all probability on it."""
    text = answer.content or ""
    best = next((label for label in labels if label == text), next((x for x in labels if x in text), labels[0]))
    probabilities = {label: float(label == best) for label in labels}
    return replace(answer, content=best, extra={**answer.extra, "label_probabilities": probabilities})


def fake_model(name: str) -> FakeModel:
    """The fake of that name in this process; `echo` always exists.

    Raises:
        WrappedOpenAIError: there is none.
    """
    if name == "echo" and name not in _models:
        return FakeModel(default=lambda call: call.prompt, name=name, keep_calls=False)

    if name not in _models:
        raise WrappedOpenAIError(
            f"There is no fake model {name!r} in this process.",
            hint="Make a FakeModel of that name first, or use fake:echo.",
            error_type="NotFoundError",
        )

    return _models[name]


_models: dict[str, FakeModel] = {}
_names = itertools.count(1)


def _usage(body: Body, answer: FakeAnswer) -> dict[str, Any]:
    if answer.usage is None:
        usage = estimate_usage(body, answer.content or "")
        del usage["estimated"]
        return usage

    prompt, completion = answer.usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _pieces(answer: FakeAnswer) -> list[str]:
    if answer.chunks is not None:
        return list(answer.chunks)

    return re.findall(r"\s*\S+\s*$|\s*\S+", answer.content or "")


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(_text(part.get("text", "") if isinstance(part, dict) else part) for part in content)

    return "" if content is None else str(content)


def _vector(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()[:EMBEDDING_SIZE]
    values = [byte / 127.5 - 1 for byte in digest]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]
