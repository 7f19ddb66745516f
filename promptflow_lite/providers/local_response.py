"""Events of the local engine to OpenAI-shaped response bodies and stream chunks."""

from __future__ import annotations

import base64
import json
import re
import struct
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.engine import Delta, Finished, TokenChoice
from promptflow_lite.errors import GrammarError, OutputCutError
from promptflow_lite.providers.base import Body

_TOOL_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*(?:</tool_call>|$)", re.DOTALL)


@dataclass(slots=True)
class Sample:
    """One of the answers of a request."""

    text: str = ""
    reason: str = "stop"
    tokens: list[TokenChoice] = field(default_factory=list)


def envelope(kind: str, prefix: str, model: str) -> Body:
    """The fields every body starts with."""
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def collect(events: Iterable[Any], n: int) -> tuple[list[Sample], int, int]:
    """All samples of a request, with completion tokens and cached prompt tokens."""
    samples = [Sample() for _ in range(n)]
    n_tokens, cached = 0, []
    for event in events:
        sample = samples[event.index]
        if isinstance(event, Delta):
            sample.text += event.text
            sample.tokens += event.tokens
        elif isinstance(event, Finished):
            sample.reason = event.reason
            n_tokens += event.n_tokens
            cached.append(event.n_cached)
    return samples, n_tokens, min(cached, default=0)


def usage(n_prompt: int, n_completion: int, n_cached: int) -> Body:
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_completion,
        "total_tokens": n_prompt + n_completion,
        "prompt_tokens_details": {"cached_tokens": n_cached},
    }


def chat_choice(index: int, sample: Sample, *, is_tool_call: bool, has_tools: bool, has_logprobs: bool) -> Body:
    """One element of a chat completion's `choices`."""
    calls = parse_tool_calls(sample.text, is_bare=is_tool_call) if has_tools else []
    message: Body = {"role": "assistant", "content": None if calls else sample.text, "refusal": None}
    reason = sample.reason
    if calls:
        message["tool_calls"] = calls
        reason = "tool_calls"
    logprobs = {"content": chat_logprobs(sample.tokens), "refusal": None} if has_logprobs else None
    return {"index": index, "message": message, "finish_reason": reason, "logprobs": logprobs}


def parse_tool_calls(text: str, *, is_bare: bool) -> list[Body]:
    """Calls in an answer: the whole text when a call was forced, else what stands between the call marks."""
    found = [text] if is_bare else _TOOL_CALL.findall(text)
    calls = []
    for part in found:
        try:
            value = json.loads(part)
        except ValueError:
            continue
        if isinstance(value, dict) and "name" in value:
            arguments = json.dumps(value.get("arguments", {}), ensure_ascii=False)
            function = {"name": value["name"], "arguments": arguments}
            calls.append({"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function})
    return calls


def check_json(samples: Sequence[Sample]) -> None:
    """A structured answer parses, or is an error; it is never handed on broken.

    Raises:
        OutputCutError: an answer did not fit `max_tokens`.
        GrammarError: an answer fits its grammar, but is no JSON.
    """
    for sample in samples:
        try:
            json.loads(sample.text)
        except ValueError as error:
            text = sample.text[:500]
            if sample.reason == "length":
                raise OutputCutError(
                    "The structured answer did not fit max_tokens.",
                    hint="Raise max_tokens, or ask for a smaller structure.",
                    text=text,
                ) from error

            raise GrammarError(
                "The structured answer is no JSON.", hint="Look at the patterns in the schema.", text=text
            ) from error


def encoded(vector: list[float], encoding: str | None) -> list[float] | str:
    """A vector as numbers, or as the base64 text that the API's clients ask for."""
    if encoding != "base64":
        return vector

    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def chat_logprobs(tokens: Sequence[TokenChoice]) -> list[Body]:
    return [
        {**_token(token.piece, token.logprob), "top_logprobs": [_token(piece, value) for piece, value in token.top]}
        for token in tokens
    ]


def _token(piece: bytes, logprob: float) -> Body:
    return {"token": piece.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(piece)}


def completion_logprobs(tokens: Sequence[TokenChoice], offset: int) -> Body:
    """The older form, as parallel lists."""
    texts = [token.piece.decode("utf-8", "replace") for token in tokens]
    offsets = []
    for text in texts:
        offsets.append(offset)
        offset += len(text)
    return {
        "tokens": texts,
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{piece.decode("utf-8", "replace"): value for piece, value in token.top} for token in tokens],
        "text_offset": offsets,
    }
