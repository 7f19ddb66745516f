"""The ASGI application of an endpoint: the contract's routes, event streams, documents and pages.

**Why this shape.** `/score` and `/v1/run` are answered by `EndpointApp` itself, without a framework between the socket
and the flow; everything that is not on the hot path is a FastAPI application behind it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from promptflow_lite._utils.jsonable import dumps_bytes
from promptflow_lite.errors import PromptflowException
from promptflow_lite.records import Status
from promptflow_lite.serving.access import Principal
from promptflow_lite.serving.call import Call, ClientGoneError, Receive, Scope, Send, SlowBodyError, read_body
from promptflow_lite.serving.endpoint import CLIENT_GONE, Answer, Endpoint, failure_of
from promptflow_lite.serving.faults import Headers, body_of, headers_of, status_of
from promptflow_lite.serving.inputs import inputs_from_body
from promptflow_lite.serving.negotiation import Accept, parse_accept
from promptflow_lite.serving.roles import Permission
from promptflow_lite.serving.sse import data_event, named_event

logger = logging.getLogger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_SSE_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class EndpointApp:
    """An ASGI application.

    Args:
        endpoint: What answers.
        rest: Answers every path that is not here.
        on_start, on_stop: Called when the server starts and after it has answered its last request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        rest: App,
        *,
        on_start: Callable[[], None] | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._rest = rest
        self._on_start = on_start
        self._on_stop = on_stop
        self._has_started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return

        if scope["type"] != "http":
            return

        path, method = scope["path"], scope["method"]
        if method == "POST" and path in ("/score", "/v1/run"):
            await self._score(scope, receive, send, is_v1=path == "/v1/run")
        else:
            await self._rest(scope, receive, send)

    def start(self) -> None:
        """Begin recording; also called by servers that know no lifespan."""
        if not self._has_started:
            self._has_started = True
            self.endpoint.recorder.start()
            if self._on_start is not None:
                self._on_start()

    def stop(self) -> None:
        """Commit what is waiting and release everything."""
        if self._has_started:
            self._has_started = False
            self.endpoint.is_stopping = True
            self.endpoint.close()
            self.endpoint.recorder.close()
            if self._on_stop is not None:
                self._on_stop()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # --- the hot path -------------------------------------------------------------------------------------------------

    async def _score(self, scope: Scope, receive: Receive, send: Send, *, is_v1: bool) -> None:
        if not self._has_started:
            self.start()

        started = time.perf_counter()
        call = Call(scope["headers"])
        responder = Responder(send, call, self.endpoint.settings.allowed_origins)
        principal: Principal | None = None
        try:
            principal = self.endpoint.gate.admit(call.credential, Permission.CALL, is_counted=True)
            await self._run_flow(call, principal, receive, responder, started, is_v1=is_v1)
        except PromptflowException as error:
            if principal is not None:
                self.endpoint.record_refusal(call, principal, error, started)

            await responder.error(error)
        except ClientGoneError:
            logger.info("The client of request %s left.", call.request_id)
        except Exception as error:  # the last guard: a fault of ours becomes an answer, and a line in the log
            logger.exception("Request %s failed inside the server.", call.request_id)
            await responder.error(error)

    async def _run_flow(
        self,
        call: Call,
        principal: Principal,
        receive: Receive,
        responder: Responder,
        started: float,
        *,
        is_v1: bool,
    ) -> None:
        endpoint = self.endpoint
        accept = parse_accept(call.accept)
        deployment = endpoint.choose(call)
        accept.require_any(can_stream=True)
        settings = endpoint.settings
        body = await read_body(receive, call, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
        inputs = inputs_from_body(body, deployment.interface)
        answer = await endpoint.answer(
            call,
            principal,
            deployment,
            inputs,
            allow_stream=accept.prefers_stream,
            receive=receive,
            started=started,
        )
        await self._send_answer(answer, accept, receive, responder, is_v1=is_v1)
        if len(endpoint.spec.deployments) > 1:
            endpoint.mirror(answer, lambda: inputs_from_body(body, deployment.interface))

    async def _send_answer(
        self, answer: Answer, accept: Accept, receive: Receive, responder: Responder, *, is_v1: bool
    ) -> None:
        endpoint, line = self.endpoint, answer.line
        if line.status is not Status.COMPLETED:
            error = failure_of(line)
            await endpoint.finish(answer, status_code=status_of(error))
            await responder.error(error)
        elif answer.stream is not None:
            await self._send_stream(answer, receive, responder, is_v1=is_v1)
        elif accept.json_quality <= 0:
            refusal = accept.refusal(has_stream=False)
            await endpoint.finish(answer, status_code=status_of(refusal), error=body_of(refusal)["error"])
            await responder.error(refusal)
        else:
            body = dumps_bytes(endpoint.visible_outputs(answer))
            await endpoint.finish(answer)
            await responder.json(200, body)

    async def _send_stream(self, answer: Answer, receive: Receive, responder: Responder, *, is_v1: bool) -> None:
        """Send an open stream as events. `/v1/run` says how it ended; `/score` just stops, as the contract has it."""
        endpoint = self.endpoint
        assert answer.stream is not None  # the caller looked  # noqa: S101
        name = answer.stream[0]
        await responder.start(200, _SSE_HEADERS)
        others = {k: v for k, v in endpoint.visible_outputs(answer).items() if k != name}
        if others:
            await responder.part(data_event(others))

        try:
            async for chunk in endpoint.chunks(answer, receive):
                await responder.part(data_event({name: chunk}))
        except ClientGoneError:
            await endpoint.finish(answer, status_code=CLIENT_GONE)
            raise
        except Exception as error:  # the flow failed after its answer had begun
            await endpoint.finish(answer, status_code=status_of(error), error=body_of(error)["error"])
            if not is_v1:
                logger.warning("Request %s failed while its answer was streamed: %s", answer.record.request_id, error)
                return

            await responder.part(named_event("error", body_of(error)))
        else:
            await endpoint.finish(answer)
            if is_v1:
                usage = answer.line.usage.to_dict()
                await responder.part(named_event("end", {"request_id": answer.record.request_id, "usage": usage}))

        await responder.part(b"", is_last=True)


class Responder:
    """Sends one HTTP answer, with the headers that every answer carries."""

    __slots__ = ("_common", "_has_started", "_send")

    def __init__(self, send: Send, call: Call, allowed_origins: tuple[str, ...]) -> None:
        self._send = send
        self._has_started = False
        self._common: Headers = [(b"x-request-id", call.request_id.encode())]
        if allowed_origins:
            origin = call.header(b"origin")
            if origin and ("*" in allowed_origins or origin in allowed_origins):
                self._common += [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]

    async def start(self, status: int, headers: Headers) -> None:
        self._has_started = True
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self._common]})

    async def part(self, body: bytes, *, is_last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def json(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        length = (b"content-length", str(len(body)).encode())
        await self.start(status, [_JSON, length, *(headers or ())])
        await self.part(body, is_last=True)

    async def error(self, error: BaseException) -> None:
        """Send an error; nothing can be sent any more once a stream has begun."""
        if self._has_started:
            return

        headers = headers_of(error)
        status = 408 if isinstance(error, SlowBodyError) else status_of(error)
        if status in (408, 413):
            # The rest of the body was not read, so the connection cannot carry another request.
            headers = [*headers, (b"connection", b"close")]

        await self.json(status, dumps_bytes(body_of(error)), headers)
