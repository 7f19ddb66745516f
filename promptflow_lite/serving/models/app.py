"""The HTTP application: routes of the OpenAI API over one local client.

Work runs in threads, one a request; a client that goes away takes its request off the engine.
"""

# No `from __future__ import annotations` here: FastAPI reads the handlers' annotations, and its types are local.

import asyncio
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from promptflow_lite._utils.imports import require
from promptflow_lite.engine import Ticket
from promptflow_lite.errors import EngineBusyError, EngineRequestError, ModelNotFoundError, PromptflowException
from promptflow_lite.providers.base import Body
from promptflow_lite.providers.local import LocalClient
from promptflow_lite.serving.models.faults import api_error, error_body, status_of
from promptflow_lite.serving.models.metrics import ServerMetrics
from promptflow_lite.serving.models.settings import ModelServerSettings

_POLL_S = 0.1
_END = object()


def create_model_app(client: LocalClient, settings: ModelServerSettings) -> Any:
    """A FastAPI application that serves one model.

    Raises:
        MissingExtraError: FastAPI is not installed.
    """
    fastapi = require("fastapi", extra="serve", feature="Serving a model")
    app = fastapi.FastAPI(title="Local model", docs_url=None, redoc_url=None)
    handler = _Handler(client, settings)

    async def health() -> dict[str, str]:
        return {"status": "ok", "model": client.name}

    app.add_api_route("/health", health, methods=["GET"])
    for path, function, method in (
        ("/metrics", handler.metrics_text, "GET"),
        ("/v1/models", handler.models, "GET"),
        ("/v1/models/{model:path}", handler.model, "GET"),
        ("/v1/chat/completions", handler.chat, "POST"),
        ("/v1/completions", handler.completions, "POST"),
        ("/v1/embeddings", handler.embeddings, "POST"),
    ):
        app.add_route(path, function, methods=[method])
    return app


class _Handler:
    """One method a route; each takes a request and gives a response."""

    def __init__(self, client: LocalClient, settings: ModelServerSettings) -> None:
        from anyio import CapacityLimiter

        self._client = client
        self._settings = settings
        self._metrics = ServerMetrics()
        self._threads = CapacityLimiter(settings.max_requests + 8)
        self._n_active = 0
        self._started = int(time.time())

    # --- routes --------------------------------------------------------------------------------------------------

    async def metrics_text(self, request: Any) -> Any:
        from starlette.responses import Response

        if refusal := self._refuse(request):
            return refusal

        engine = await self._in_thread(self._client.engine)
        return Response(self._metrics.render(engine.stats), media_type=self._metrics.content_type)

    async def models(self, request: Any) -> Any:
        return self._refuse(request) or _json({"object": "list", "data": [self._model_body()]})

    async def model(self, request: Any) -> Any:
        if refusal := self._refuse(request):
            return refusal

        if request.path_params["model"] not in self._names():
            return _failure(self._unknown(request.path_params["model"]))

        return _json(self._model_body())

    async def chat(self, request: Any) -> Any:
        return await self._answer(request, "chat", LocalClient.chat, LocalClient.stream_chat)

    async def completions(self, request: Any) -> Any:
        return await self._answer(request, "completions", LocalClient.complete, LocalClient.stream_complete)

    async def embeddings(self, request: Any) -> Any:
        return await self._answer(request, "embeddings", LocalClient.embed, None)

    def _model_body(self) -> Body:
        return {"id": self._client.name, "object": "model", "created": self._started, "owned_by": "local"}

    def _names(self) -> set[str]:
        return {self._client.name, self._client.path.stem, "default"}

    def _unknown(self, name: str) -> ModelNotFoundError:
        return ModelNotFoundError(f"This server has no model {name!r}.", hint=f"It serves {self._client.name!r}.")

    # --- one request ---------------------------------------------------------------------------------------------

    def _refuse(self, request: Any) -> Any:
        """401 unless the request brings a key; None when it may go on."""
        if not self._settings.keys:
            return None

        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip().encode()
        if any(hmac.compare_digest(given, key.encode()) for key in self._settings.keys):
            return None

        return _json(api_error("The API key is missing or wrong.", code="invalid_api_key", status=401), 401)

    async def _answer(self, request: Any, route: str, whole: Callable[..., Body], stream: Any) -> Any:
        if refusal := self._refuse(request):
            return refusal

        started = time.monotonic()
        self._n_active += 1
        is_streaming = False
        status = 200
        try:
            if self._n_active > self._settings.max_requests:
                raise EngineBusyError(f"The server answers {self._settings.max_requests} requests already.")

            body = await self._read(request)
            session, tickets = self._session(request)
            if stream is not None and body.get("stream"):
                chunks = await self._in_thread(stream, session, body, timeout_s=self._settings.timeout_s)
                is_streaming = True
                return self._streamed(chunks, body, route, started)

            answer = await self._whole(request, tickets, whole, session, body)
            self._metrics.count_usage(answer.get("usage", {}))
            return _json(answer)
        except Exception as error:  # the border: whatever happened becomes a status and a body
            status = status_of(error)[0]
            return _failure(error)
        finally:
            if not is_streaming:
                self._done(route, status, started)

    def _done(self, route: str, status: int, started: float) -> None:
        self._n_active -= 1
        self._metrics.count(route, status, time.monotonic() - started)

    async def _read(self, request: Any) -> Body:
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > self._settings.max_body_bytes:
                raise EngineRequestError(f"The request is larger than {self._settings.max_body_bytes} bytes.")

        try:
            body = json.loads(data)
        except ValueError as error:
            raise EngineRequestError(f"The request is not JSON: {error}.") from error

        if not isinstance(body, dict):
            raise EngineRequestError("The request must be a JSON object.")

        if body.get("model") and body["model"] not in self._names():
            raise self._unknown(body["model"])

        return {key: value for key, value in body.items() if key != "model"}

    def _session(self, request: Any) -> tuple[LocalClient, list[Ticket]]:
        """A client whose work can be given up; callers are told apart by key, else by address."""
        tickets: list[Ticket] = []
        caller = request.headers.get("authorization") or (request.client.host if request.client else "")
        return self._client.session(f"http-{caller}", tickets.append), tickets

    async def _in_thread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        from functools import partial

        from anyio import to_thread

        return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._threads)

    async def _whole(
        self, request: Any, tickets: list[Ticket], whole: Callable[..., Body], session: LocalClient, body: Body
    ) -> Body:
        work = asyncio.ensure_future(self._in_thread(whole, session, body, timeout_s=self._settings.timeout_s))
        try:
            while not work.done():
                await asyncio.wait([work], timeout=_POLL_S)
                if not work.done() and await request.is_disconnected():
                    _cancel(tickets)
            answer: Body = await work
            return answer
        finally:
            if not work.done():
                _cancel(tickets)

    # --- streams -------------------------------------------------------------------------------------------------

    def _streamed(self, chunks: Iterator[Body], body: Body, route: str, started: float) -> Any:
        from starlette.responses import StreamingResponse

        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = self._events(chunks, wants_usage, route, started)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    async def _events(
        self, chunks: Iterator[Body], wants_usage: bool, route: str, started: float
    ) -> AsyncIterator[bytes]:
        status = 200
        try:
            while (chunk := await self._in_thread(next, chunks, _END)) is not _END:
                if chunk.get("usage"):
                    self._metrics.count_usage(chunk["usage"])
                if chunk["choices"] or wants_usage:
                    yield _event(chunk)
            yield b"data: [DONE]\n\n"
        except PromptflowException as error:
            status = status_of(error)[0]
            yield _event(error_body(error))
        finally:
            # The engine's thread must not wait for us: closing gives up what is not finished.
            close = getattr(chunks, "close", None)
            if close is not None:
                threading.Thread(target=close, name="pfl-close-stream", daemon=True).start()
            self._done(route, status, started)


def _cancel(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        ticket.abandon()


def _event(body: Body) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def _json(body: Any, status: int = 200) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(body, status_code=status)


def _failure(error: Exception) -> Any:
    response = _json(error_body(error), status_of(error)[0])
    if isinstance(error, EngineBusyError):
        response.headers["Retry-After"] = "1"
    return response
