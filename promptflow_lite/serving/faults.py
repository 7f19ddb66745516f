"""Errors as HTTP answers: one table from error class to status, and the contract's body."""

from __future__ import annotations

from typing import Any

from promptflow_lite.errors import (
    ApiKeyNotFoundError,
    AuthenticationError,
    EndpointNotFoundError,
    ForeignPageError,
    NotAcceptable,
    OverloadedError,
    PayloadTooLargeError,
    PermissionDeniedError,
    PromptflowException,
    QuotaExceededError,
    RateLimitedError,
    RequestTimeoutError,
    SystemErrorException,
    UserErrorException,
)

_STATUS_BY_CLASS: dict[type[BaseException], int] = {
    UserErrorException: 400,
    SystemErrorException: 500,
    NotAcceptable: 406,
    AuthenticationError: 401,
    PermissionDeniedError: 403,
    ForeignPageError: 403,
    ApiKeyNotFoundError: 404,
    EndpointNotFoundError: 404,
    PayloadTooLargeError: 413,
    RateLimitedError: 429,
    QuotaExceededError: 429,
    OverloadedError: 503,
    RequestTimeoutError: 504,
}

Headers = list[tuple[bytes, bytes]]


def status_of(error: BaseException) -> int:
    """The HTTP status of an error: that of the nearest class in the table, else 500."""
    return next((_STATUS_BY_CLASS[cls] for cls in type(error).__mro__ if cls in _STATUS_BY_CLASS), 500)


def body_of(error: BaseException) -> dict[str, Any]:
    """`{"error": {"code", "message"}}`, with this package's stable code and hint added where there are any."""
    if not isinstance(error, PromptflowException):
        return {"error": {"code": "SystemError", "message": f"({type(error).__name__}) {error}"}}

    detail: dict[str, Any] = {"code": error.error_codes[0], "message": error.message, "errorCode": error.code}
    if error.hint:
        detail["hint"] = error.hint

    return {"error": detail}


def headers_of(error: BaseException) -> Headers:
    """Headers that belong to the answer: how to authenticate, when to come back."""
    if isinstance(error, AuthenticationError):
        return [(b"www-authenticate", b'Bearer realm="promptflow-lite"')]

    retry_after_s = getattr(error, "facts", {}).get("retry_after_s")
    return [] if retry_after_s is None else [(b"retry-after", str(max(1, round(retry_after_s + 0.5))).encode())]
