"""Foreign exceptions to ours: the one table that says what each error of the `openai` package means to a user."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from promptflow_lite._utils.text import truncate
from promptflow_lite.errors import (
    ContentFilterError,
    ContextLengthError,
    LLMError,
    OpenAIError,
    ProviderAuthError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
    WrappedOpenAIError,
)

SCRUBBED = "******"
_MAX_MESSAGE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a foreign class means: our class and what to do about it; `{where}` names the endpoint."""

    error: type[WrappedOpenAIError]
    hint: str


MEANING_BY_CLASS: dict[str, Meaning] = {
    "APITimeoutError": Meaning(
        error=ProviderTimeoutError, hint="{where} is slow or overloaded; raise the request timeout or try later."
    ),
    "APIConnectionError": Meaning(
        error=ProviderUnavailableError,
        hint="Nothing answers at {where}. Check the address of the connection and that the server is running.",
    ),
    "AuthenticationError": Meaning(
        error=ProviderAuthError, hint="{where} refused the key. Check api_key of the connection."
    ),
    "PermissionDeniedError": Meaning(
        error=ProviderAuthError, hint="The key is valid, but {where} does not allow this model or operation to it."
    ),
    "RateLimitError": Meaning(
        error=RateLimitError,
        hint="Set requests_per_minute or tokens_per_minute for the connection, or use fewer workers.",
    ),
    "InternalServerError": Meaning(error=ProviderUnavailableError, hint="{where} failed on its side; try again later."),
    "NotFoundError": Meaning(
        error=WrappedOpenAIError,
        hint="{where} does not know this model or path. Check the model or deployment name and the address.",
    ),
    "BadRequestError": Meaning(error=WrappedOpenAIError, hint="{where} does not accept the request; see its message."),
    "UnprocessableEntityError": Meaning(
        error=WrappedOpenAIError, hint="{where} understands the request but cannot fulfil it; see its message."
    ),
    "ConflictError": Meaning(error=WrappedOpenAIError, hint="Another request is in the way at {where}; try again."),
    "APIResponseValidationError": Meaning(
        error=WrappedOpenAIError, hint="{where} does not answer in the OpenAI format. Check the address."
    ),
    "APIStatusError": Meaning(error=WrappedOpenAIError, hint="{where} refused the request; see its message."),
    "APIError": Meaning(error=WrappedOpenAIError, hint="{where} reported a failure; see its message."),
    "ContentFilterFinishReasonError": Meaning(
        error=ContentFilterError, hint="The content filter of {where} stopped the answer; change the prompt."
    ),
    "LengthFinishReasonError": Meaning(error=ContextLengthError, hint="Raise max_tokens or shorten the prompt."),
    "OAuthError": Meaning(error=ProviderAuthError, hint="Signing in at {where} failed. Check the identity."),
    "OpenAIError": Meaning(error=WrappedOpenAIError, hint="Check the settings of the connection."),
}
"""Class name -> meaning; a class that is not listed is treated as its nearest listed ancestor."""

_CODES: dict[str, Meaning] = {
    "context_length_exceeded": Meaning(
        error=ContextLengthError, hint="Shorten the prompt, lower max_tokens, or use a model with a longer context."
    ),
    "content_filter": Meaning(
        error=ContentFilterError, hint="The content filter of {where} refused the prompt; change its text."
    ),
    "insufficient_quota": Meaning(
        error=RateLimitError, hint="The account behind the key has no quota left; check its plan and billing."
    ),
}
_CONTEXT_WORDS = re.compile(r"maximum context length|context (?:length|window|size)|too many tokens", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What error messages may say about where a request went."""

    provider: str
    address: str
    connection: str | None = None
    secrets: Collection[str] = ()
    """Texts that no message may show."""

    def scrub(self, text: str) -> str:
        for secret in self.secrets:
            if secret:
                text = text.replace(secret, SCRUBBED)

        return text

    def __repr__(self) -> str:
        return f"Endpoint({self.address!r})"

    def __str__(self) -> str:
        return f"{self.address} (connection {self.connection!r})" if self.connection else self.address


def map_error(error: Exception, endpoint: Endpoint, *, model: str | None = None) -> OpenAIError:
    """Our error for anything that a request raised; its message holds no secret of the endpoint."""
    name = _known_class(type(error))
    if name is None:
        name = _transport_class(error)

    if name is None:
        return LLMError(
            f"OpenAI API hits exception: {type(error).__name__}: {endpoint.scrub(str(error))}",
            hint=f"An unexpected failure while talking to {endpoint}.",
        )

    code = _error_code(error)
    message = truncate(endpoint.scrub(_full_message(error)), _MAX_MESSAGE)
    meaning = _CODES.get(code or "", MEANING_BY_CLASS[name])
    if name == "BadRequestError" and _CONTEXT_WORDS.search(message):
        meaning = _CODES["context_length_exceeded"]

    return meaning.error(
        f"OpenAI API hits {name}: {message}",
        hint=meaning.hint.format(where=endpoint),
        error_type=name,
        provider=endpoint.provider,
        model=model,
        status=getattr(error, "status_code", None),
        provider_code=code,
        request_id=getattr(error, "request_id", None),
        retry_after_s=_retry_after_s(error),
    )


def _known_class(cls: type[BaseException]) -> str | None:
    if not cls.__module__.startswith("openai"):
        return None

    return next((base.__name__ for base in cls.__mro__ if base.__name__ in MEANING_BY_CLASS), None)


def _transport_class(error: Exception) -> str | None:
    """Errors of the HTTP and JSON libraries below, which surface unwrapped."""
    if isinstance(error, json.JSONDecodeError):
        return "APIResponseValidationError"

    if not any(base.__module__.split(".")[0] in ("httpx", "httpx2", "httpcore") for base in type(error).__mro__):
        return "APIConnectionError" if isinstance(error, ConnectionError) else None

    return "APITimeoutError" if "Timeout" in type(error).__name__ else "APIConnectionError"


def _full_message(error: Exception) -> str:
    """The message with that of its cause: a connection error says nothing by itself."""
    cause = error.__cause__
    return f"{error} ({cause})" if cause is not None and str(cause) and not _body(error) else str(error)


def _body(error: Exception) -> Mapping[str, Any]:
    body = getattr(error, "body", None)
    return body if isinstance(body, Mapping) else {}


def _error_code(error: Exception) -> str | None:
    body = _body(error)
    inner = body.get("innererror")
    codes = [getattr(error, "code", None), getattr(error, "type", None), body.get("code"), body.get("type")]
    if isinstance(inner, Mapping) and inner.get("code") == "ResponsibleAIPolicyViolation":
        return "content_filter"

    return next((str(code) for code in codes if code in _CODES), next((str(code) for code in codes if code), None))


def _retry_after_s(error: Exception) -> float | None:
    """Seconds that the server asks to wait; HTTP dates count from now."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None

    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000

    text = headers.get("retry-after")
    seconds = _number(text)
    return seconds if seconds is not None or not text else _seconds_until(text)


def _number(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


def _seconds_until(http_date: str) -> float | None:
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(http_date).timestamp() - time.time())
    except ValueError:
        return None
