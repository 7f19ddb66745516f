"""Models behind a server that speaks the OpenAI protocol: OpenAI itself, Azure, serverless endpoints and others.

Requests go through the `openai` package, whose own retries are switched off; bodies are sent exactly as given.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from promptflow_lite._utils.clock import SYSTEM_CLOCK, Clock
from promptflow_lite.connections import (
    AzureOpenAIConnection,
    Connection,
    OpenAIConnection,
    ServerlessConnection,
)
from promptflow_lite.errors import InvalidConnectionType, OpenAIError, PromptflowException, WrappedOpenAIError
from promptflow_lite.providers.base import Body
from promptflow_lite.providers.mapping import Endpoint, map_error
from promptflow_lite.providers.retry import RateLimiter, RetryPolicy, call_with_retries
from promptflow_lite.providers.usage import (
    answer_texts,
    ensure_usage,
    estimate_request_tokens,
    estimate_usage,
    usage_of,
)
from promptflow_lite.tracing import current_context

logger = logging.getLogger(__name__)

OPENAI_ADDRESS = "https://api.openai.com/v1"
AZURE_HEADERS = {"ms-azure-ai-promptflow-called-from": "aoai-tool"}
CONNECT_TIMEOUT_S = 5.0

Result = TypeVar("Result")

_CHAT = "/chat/completions"
_COMPLETIONS = "/completions"
_EMBEDDINGS = "/embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How a client treats its server; see `providers.resolve` for where the values come from."""

    timeout_s: float = 600.0
    """Longest silence of one request."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    stream_usage: bool | None = None
    """Ask for token counts in streams; None asks OpenAI itself only, since other servers may refuse the option."""


class OpenAIModelClient:
    """A `ModelClient` for one server.

    Args:
        make_client: Makes the `openai` client on first use.
        endpoint: For messages; its secrets are kept out of them.
        settings: Timeouts, retries and limits.
        clock: Time and sleep.
    """

    def __init__(
        self,
        make_client: Callable[[ClientSettings], Any],
        endpoint: Endpoint,
        settings: ClientSettings | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._make_client = make_client
        self._endpoint = endpoint
        self._settings = settings or ClientSettings()
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Any = None
        self._limiter = RateLimiter(self._settings.requests_per_minute, self._settings.tokens_per_minute, clock=clock)

    def __repr__(self) -> str:
        return f"OpenAIModelClient({self._endpoint.address!r})"

    def chat(self, body: Body, *, timeout_s: float | None = None) -> Body:
        return self._request(_CHAT, body, timeout_s)

    def stream_chat(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]:
        return self._stream(_CHAT, body, timeout_s)

    def complete(self, body: Body, *, timeout_s: float | None = None) -> Body:
        return self._request(_COMPLETIONS, body, timeout_s)

    def stream_complete(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]:
        return self._stream(_COMPLETIONS, body, timeout_s)

    def embed(self, body: Body, *, timeout_s: float | None = None) -> Body:
        return self._request(_EMBEDDINGS, body, timeout_s)

    def close(self) -> None:
        """Close the connections to the server; a later request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _request(self, path: str, body: Body, timeout_s: float | None) -> Body:
        def attempt() -> Body:
            start = self._limiter.acquire(_expected_tokens(body))
            answer = self._guarded(lambda: self._post(path, body, timeout_s), body)
            if not isinstance(answer, dict) or not (answer.get("choices") or answer.get("data")):
                raise self._not_openai(answer, body)

            ensure_usage(body, answer)
            self._limiter.settle(start, usage_of(answer).total_tokens)
            return answer

        return self._retried(attempt)

    def _stream(self, path: str, body: Body, timeout_s: float | None) -> Iterator[Body]:
        """Opening the stream is tried again; once the first chunk is out, failures are final."""
        body = {**body, "stream": True}
        if self._asks_for_usage():
            body.setdefault("stream_options", {"include_usage": True})

        def attempt() -> tuple[Body | None, Any, Any]:
            start = self._limiter.acquire(_expected_tokens(body))
            stream = self._guarded(lambda: self._post(path, body, timeout_s, is_stream=True), body)
            try:
                return self._guarded(lambda: next(stream, None), body), stream, start
            except BaseException:
                stream.close()
                raise

        first, stream, start = self._retried(attempt)
        return self._chunks(body, first, stream, start)

    def _chunks(self, body: Body, first: Body | None, stream: Any, start: Any) -> Iterator[Body]:
        texts: list[str] = []
        usage: dict[str, Any] | None = None
        chunk: Any = first
        try:
            while chunk is not None:
                if not isinstance(chunk, dict):
                    raise self._not_openai(chunk, body)

                texts += answer_texts(chunk)
                usage = chunk.get("usage") or usage
                yield chunk
                chunk = self._guarded(lambda: next(stream, None), body)

            if usage is None:
                usage = estimate_usage(body, "".join(texts))
                yield {"object": "chat.completion.chunk", "choices": [], "usage": usage}
        finally:
            stream.close()
            total = usage or estimate_usage(body, "".join(texts))
            self._limiter.settle(start, total.get("total_tokens") or 0)

    def _post(self, path: str, body: Body, timeout_s: float | None, *, is_stream: bool = False) -> Any:
        import openai

        sent = {key: value for key, value in body.items() if key not in ("extra_headers", "extra_query", "extra_body")}
        sent.update(body.get("extra_body") or {})
        options: dict[str, Any] = {}
        trace = current_context()
        headers = {**(trace.to_headers() if trace else {}), **(body.get("extra_headers") or {})}
        if headers:
            options["headers"] = headers

        if body.get("extra_query"):
            options["params"] = body["extra_query"]

        if timeout_s is not None:
            options["timeout"] = openai.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))

        stream = {"stream": True, "stream_cls": openai.Stream[object]} if is_stream else {}
        return self._openai().post(path, body=sent, cast_to=object, options=options, **stream)

    def _openai(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._make_client(self._settings)

            return self._client

    def _retried(self, attempt: Callable[[], Result]) -> Result:
        def on_wait(error: OpenAIError, seconds: float) -> None:
            logger.warning("%s Trying again in %.1f s.", error.message, seconds)
            if error.facts.get("retry_after_s") is not None:
                self._limiter.hold(seconds)

        return call_with_retries(attempt, self._settings.retry, clock=self._clock, on_wait=on_wait)

    def _guarded(self, call: Callable[[], Any], body: Body) -> Any:
        """Run a foreign call; its errors become ours, without the original where that one shows the key."""
        try:
            return call()
        except PromptflowException:
            raise
        except Exception as error:  # the one place where foreign errors are mapped
            mapped = map_error(error, self._endpoint, model=body.get("model"))
            is_clean = self._endpoint.scrub(str(error)) == str(error)
            raise mapped from (error if is_clean else None)

    def _not_openai(self, answer: Any, body: Body) -> WrappedOpenAIError:
        return WrappedOpenAIError(
            f"OpenAI API hits APIResponseValidationError: the answer is no JSON object with choices or data, "
            f"it begins with {self._endpoint.scrub(str(answer))[:200]!r}.",
            hint=f"Check that {self._endpoint} speaks the OpenAI protocol; the address often ends with /v1.",
            error_type="APIResponseValidationError",
            provider=self._endpoint.provider,
            model=body.get("model"),
        )

    def _asks_for_usage(self) -> bool:
        if self._settings.stream_usage is not None:
            return self._settings.stream_usage

        return self._endpoint.address == OPENAI_ADDRESS


def openai_client(
    connection: Connection, settings: ClientSettings | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> OpenAIModelClient:
    """The client for a connection.

    Raises:
        InvalidConnectionType: the connection is of a kind that serves no models.
    """
    kinds: list[tuple[type[Connection], str, Callable[[Any, ClientSettings], Any], Callable[[Any], str]]] = [
        (AzureOpenAIConnection, "AzureOpenAI", _make_azure, lambda c: str(c.api_base)),
        (ServerlessConnection, "OpenAI", _make_serverless, lambda c: serverless_address(c.api_base)),
        (OpenAIConnection, "OpenAI", _make_openai, lambda c: c.base_url or OPENAI_ADDRESS),
    ]
    for kind, provider, make, address_of in kinds:
        if isinstance(connection, kind):
            endpoint = Endpoint(
                provider=provider,
                address=address_of(connection),
                connection=connection.name,
                secrets=[str(value) for value in connection.secrets.values() if value],
            )
            return OpenAIModelClient(functools.partial(make, connection), endpoint, settings, clock=clock)

    raise InvalidConnectionType(
        f"Connection type {type(connection).__name__} is not supported for LLM.",
        hint="Use an AzureOpenAIConnection, an OpenAIConnection or a ServerlessConnection.",
    )


def serverless_address(api_base: str) -> str:
    """`<api_base>/v1`, the suffix added if it is not there."""
    base = api_base.rstrip("/")
    return base if base.endswith("/v1") else f"{base}/v1"


def _make_openai(connection: OpenAIConnection, settings: ClientSettings) -> Any:
    import openai

    return openai.OpenAI(
        api_key=connection.api_key or "none",
        organization=connection.organization,
        base_url=connection.base_url or OPENAI_ADDRESS,
        timeout=openai.Timeout(settings.timeout_s, connect=CONNECT_TIMEOUT_S),
        max_retries=0,
    )


def _make_serverless(connection: ServerlessConnection, settings: ClientSettings) -> Any:
    import openai

    return openai.OpenAI(
        api_key=connection.api_key or "none",
        base_url=serverless_address(connection.api_base),
        timeout=openai.Timeout(settings.timeout_s, connect=CONNECT_TIMEOUT_S),
        max_retries=0,
    )


def _make_azure(connection: AzureOpenAIConnection, settings: ClientSettings) -> Any:
    import openai

    is_token = connection.auth_mode == "meid_token"
    credentials = {"azure_ad_token_provider": connection.get_token} if is_token else {"api_key": connection.api_key}
    return openai.AzureOpenAI(
        azure_endpoint=connection.api_base,
        api_version=connection.api_version,
        default_headers=AZURE_HEADERS,
        timeout=openai.Timeout(settings.timeout_s, connect=CONNECT_TIMEOUT_S),
        max_retries=0,
        **credentials,
    )


def _expected_tokens(body: Body) -> int:
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or 0
    return estimate_request_tokens(body) + int(limit)
