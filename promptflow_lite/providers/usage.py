"""Token counts of model calls: taken from the answer, or estimated when the server gives none."""

from __future__ import annotations

from typing import Any

from promptflow_lite.providers.base import Body
from promptflow_lite.records import Usage

_BYTES_PER_TOKEN = 4


def usage_of(answer: Body) -> Usage:
    """The usage that an answer states; zero tokens when it states none."""
    usage = answer.get("usage") or {}
    return Usage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0), calls=1)


def ensure_usage(request: Body, answer: Body) -> Body:
    """The answer with `usage`; an estimate is marked by `"estimated": True`."""
    if not answer.get("usage"):
        answer["usage"] = estimate_usage(request, "".join(answer_texts(answer)))

    return answer


def estimate_usage(request: Body, completion: str) -> dict[str, Any]:
    """Roughly four bytes of UTF-8 are a token."""
    prompt_tokens = estimate_request_tokens(request)
    completion_tokens = _estimate(completion)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "estimated": True,
    }


def estimate_request_tokens(request: Body) -> int:
    """Tokens of a request's texts, images left out."""
    if "messages" in request:
        return sum(4 + _estimate("".join(_texts(message.get("content")))) for message in request["messages"])

    return _estimate("".join(_texts(request.get("prompt", request.get("input")))))


def count_tokens(content: str | list[dict[str, Any]]) -> int:
    """Roughly how many tokens a text or a list of chat messages has."""
    return _estimate(content) if isinstance(content, str) else estimate_request_tokens({"messages": content})


def answer_texts(answer: Body) -> list[str]:
    """Generated texts of an answer or of a chunk, of all choices."""
    texts = []
    for choice in answer.get("choices") or []:
        message = choice.get("message") or choice.get("delta") or {}
        texts.append(message.get("content") or choice.get("text") or "")
        texts += [(call.get("function") or {}).get("arguments") or "" for call in message.get("tool_calls") or []]

    return texts


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]

    if isinstance(content, list):
        return [text for part in content for text in _texts(part)]

    if isinstance(content, dict):
        return _texts(content.get("text"))

    return []


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)
