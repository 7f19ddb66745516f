"""Errors of the engine as HTTP statuses and error bodies of the OpenAI API, by class."""

from __future__ import annotations

from typing import Any

from promptflow_lite.errors import (
    ContextFullError,
    EngineBusyError,
    EngineClosedError,
    EngineError,
    EngineRequestError,
    EngineTimeoutError,
    GrammarError,
    ModelLoadError,
    ModelNotFoundError,
    PromptflowException,
)

_STATUS: dict[type[BaseException], tuple[int, str]] = {
    ContextFullError: (400, "context_length_exceeded"),
    EngineRequestError: (400, "invalid_request"),
    GrammarError: (400, "invalid_schema"),
    ModelLoadError: (400, "model_unusable"),
    ModelNotFoundError: (404, "model_not_found"),
    EngineBusyError: (429, "rate_limit_exceeded"),
    EngineTimeoutError: (504, "timeout"),
    EngineClosedError: (503, "shutting_down"),
    EngineError: (500, "engine_error"),
}


def status_of(error: BaseException) -> tuple[int, str]:
    """HTTP status and code of the most specific known class."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), (500, "internal_error"))


def error_body(error: BaseException) -> dict[str, Any]:
    """The body for an error; what we did not raise on purpose is not told to the caller."""
    status, code = status_of(error)
    if not isinstance(error, PromptflowException):
        return api_error("The server failed.", code=code, status=status)

    message = f"{error.message} {error.hint}" if error.hint else error.message
    return api_error(message, code=code, status=status, parameter=error.facts.get("field"))


def api_error(message: str, *, code: str, status: int, parameter: str | None = None) -> dict[str, Any]:
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": parameter, "code": code}}
