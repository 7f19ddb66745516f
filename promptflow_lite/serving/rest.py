"""Everything beside the hot path, as a FastAPI application: documents, pages, feedback, chat and metrics."""

# FastAPI reads the annotations of route functions at run time, so they must not be strings here.

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptflow_lite import __version__
from promptflow_lite._utils.imports import require
from promptflow_lite._utils.jsonable import dumps_bytes, loads
from promptflow_lite.errors import BadRequest, EndpointNotFoundError, PromptflowException
from promptflow_lite.records import Feedback, Status
from promptflow_lite.serving import pages
from promptflow_lite.serving.access import Principal
from promptflow_lite.serving.call import Call, ClientGoneError, read_body
from promptflow_lite.serving.chat import (
    ChatRequest,
    chat_error,
    completion,
    completion_chunk,
    model_list,
    parse_chat_request,
)
from promptflow_lite.serving.endpoint import CLIENT_GONE, Answer, Endpoint, failure_of
from promptflow_lite.serving.faults import body_of, headers_of, status_of
from promptflow_lite.serving.metrics import ServingMetrics
from promptflow_lite.serving.roles import Permission
from promptflow_lite.serving.schema import openapi_document, swagger_document
from promptflow_lite.serving.sse import DONE, data_event
from promptflow_lite.store import Store

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestParts:
    """What the routes use beside the endpoint."""

    add_feedback: Callable[[Feedback], None]
    metrics: ServingMetrics | None = None
    store: Store | None = None
    """Reads requests and changes deployments; None offers no such routes."""


def create_rest_app(endpoint: Endpoint, parts: RestParts) -> "FastAPI":
    """The FastAPI application.

    Args:
        endpoint: What answers.
        parts: Feedback, metrics and administration.
    """
    fastapi = require("fastapi", extra="serve", feature="Serving a flow")
    app: FastAPI = fastapi.FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    _add_error_handlers(app)
    _add_cors(app, endpoint.settings.allowed_origins)
    _add_documents(app, endpoint)
    _add_feedback(app, endpoint, parts)
    if endpoint.main.interface.is_chat:
        _add_chat(app, endpoint)

    if parts.metrics is not None:
        _add_metrics(app, endpoint, parts.metrics)

    if parts.store is not None:
        from promptflow_lite.serving.admin import add_administration

        add_administration(app, endpoint, parts.store)

    return app


def respond(request: Any, status: int, body: Any, headers: Mapping[str, str] | None = None) -> Any:
    """A JSON response with the request's id."""
    from fastapi.responses import Response

    call_id = request.state.call.request_id if hasattr(request.state, "call") else Call(request.headers.raw).request_id
    return Response(
        dumps_bytes(body),
        status_code=status,
        media_type="application/json",
        headers={"x-request-id": call_id, **(headers or {})},
    )


def admit(
    request: Any, endpoint: Endpoint, permission: Permission, *, is_counted: bool = False
) -> tuple[Call, Principal]:
    """The request's headers and its sender. Raises what `Gate.admit` raises."""
    call = Call(request.scope["headers"])
    request.state.call = call
    return call, endpoint.gate.admit(call.credential, permission, is_counted=is_counted)


def _add_error_handlers(app: "FastAPI") -> None:
    from fastapi.responses import PlainTextResponse
    from starlette.exceptions import HTTPException

    async def on_error(request: Any, error: Exception) -> Any:
        status = status_of(error)
        headers = {name.decode(): value.decode() for name, value in headers_of(error)}
        is_chat = request.url.path.startswith("/v1/")
        return respond(request, status, chat_error(error, status) if is_chat else body_of(error), headers)

    async def on_http_error(request: Any, error: Any) -> Any:
        if error.status_code not in (404, 405):
            return respond(request, error.status_code, {"error": {"code": "UserError", "message": str(error.detail)}})

        return PlainTextResponse(
            f"The requested api {request.url.path!r} with {request.method} is not supported by current app, "
            "if you entered the URL manually please check your spelling and try again.",
            status_code=error.status_code,
            headers=dict(error.headers or {}),
        )

    app.add_exception_handler(PromptflowException, on_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_error)


def _add_cors(app: "FastAPI", origins: tuple[str, ...]) -> None:
    if origins:
        from fastapi.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"]
        )


def _add_documents(app: "FastAPI", endpoint: Endpoint) -> None:
    from fastapi import Request
    from fastapi.responses import HTMLResponse

    build = {"status": "Healthy", "build_info": endpoint.settings.build_info, "version": _version(endpoint)}

    @app.get("/health")
    async def health(request: Request) -> Any:
        status = 503 if endpoint.is_stopping else 200
        return respond(
            request, status, {"status": "Unhealthy" if status == 503 else "Healthy", "version": build["version"]}
        )

    @app.get("/version")
    async def version(request: Request) -> Any:
        return respond(request, 200, build)

    @app.get("/swagger.json")
    async def swagger(request: Request) -> Any:
        admit(request, endpoint, Permission.DESCRIBE)
        return respond(request, 200, swagger_document(endpoint.main.interface))

    @app.get("/openapi.json")
    async def openapi(request: Request) -> Any:
        admit(request, endpoint, Permission.DESCRIBE)
        document = openapi_document(
            endpoint.main.interface, version=str(build["version"]), requires_key=not endpoint.gate.is_open
        )
        return respond(request, 200, document)

    @app.get("/docs")
    async def docs() -> Any:
        return HTMLResponse(pages.read("docs.html"), headers=pages.HEADERS)

    @app.api_route("/", methods=["GET", "POST"])
    async def page() -> Any:
        return HTMLResponse(pages.read("page.html"), headers=pages.HEADERS)


def _version(endpoint: Endpoint) -> str:
    """`build_number` of the build information, else this package's version."""
    try:
        number = loads(endpoint.settings.build_info or "{}").get("build_number")
    except (ValueError, AttributeError):
        number = None
    return str(number or __version__)


def _add_feedback(app: "FastAPI", endpoint: Endpoint, parts: RestParts) -> None:
    from fastapi import Request

    @app.post("/feedback")
    async def feedback(request: Request) -> Any:
        call, principal = admit(request, endpoint, Permission.CALL, is_counted=True)
        body = await _json_or_text(request, call, endpoint)
        if request.query_params.get("flatten", "").lower() == "true" and not isinstance(body, dict):
            raise BadRequest("Feedback can be flattened only when it is a JSON object.")

        record = Feedback(
            at=time.time(),
            endpoint=endpoint.name,
            body=body,
            request_id=_feedback_target(request, call, body),
            caller=principal.id,
        )
        await asyncio.get_running_loop().run_in_executor(None, parts.add_feedback, record)
        return respond(request, 200, {"status": "Feedback received."})


async def _json_or_text(request: Any, call: Call, endpoint: Endpoint) -> Any:
    settings = endpoint.settings
    body = await read_body(request.receive, call, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    try:
        return loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _feedback_target(request: Any, call: Call, body: Any) -> str | None:
    """The id of the request that the feedback is about: named in the body, else the id it was sent with."""
    named = body.get("request_id") if isinstance(body, dict) else None
    sent = call.header(b"x-request-id") or call.header(b"x-ms-client-request-id")
    target = named or request.query_params.get("request_id") or sent
    return str(target)[:128] if target else None


def _add_metrics(app: "FastAPI", endpoint: Endpoint, metrics: ServingMetrics) -> None:
    from fastapi import Request
    from fastapi.responses import Response

    @app.get("/metrics")
    async def prometheus(request: Request) -> Any:
        admit(request, endpoint, Permission.READ)
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


# --- chat -----------------------------------------------------------------------------------------------------------


def _add_chat(app: "FastAPI", endpoint: Endpoint) -> None:
    from fastapi import Request

    created = int(time.time())

    @app.get("/v1/models")
    async def models(request: Request) -> Any:
        admit(request, endpoint, Permission.DESCRIBE)
        return respond(request, 200, model_list([endpoint.name], created))

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> Any:
        admit(request, endpoint, Permission.DESCRIBE)
        if name != endpoint.name:
            raise EndpointNotFoundError(f"The model {name!r} does not exist.", hint=f"It is called {endpoint.name!r}.")

        return respond(request, 200, model_list([name], created)["data"][0])

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Any:
        call, principal = admit(request, endpoint, Permission.CALL, is_counted=True)
        started = time.perf_counter()
        try:
            return await _chat(request, endpoint, call, principal, started)
        except PromptflowException as error:
            endpoint.record_refusal(call, principal, error, started)
            raise
        except ClientGoneError:
            return respond(request, CLIENT_GONE, {})


async def _chat(request: Any, endpoint: Endpoint, call: Call, principal: Principal, started: float) -> Any:
    from fastapi.responses import StreamingResponse

    deployment = endpoint.choose(call)
    body = await _json_or_text(request, call, endpoint)
    asked = parse_chat_request(body, deployment.interface)
    answer = await endpoint.answer(
        call,
        principal,
        deployment,
        asked.inputs,
        allow_stream=asked.is_stream,
        receive=request.receive,
        started=started,
    )
    if answer.line.status is not Status.COMPLETED:
        await endpoint.finish(answer)
        call.is_recorded = True
        raise failure_of(answer.line)

    if asked.is_stream:
        return StreamingResponse(
            _chat_events(endpoint, answer, asked, call.request_id),
            media_type="text/event-stream",
            headers={"x-request-id": call.request_id, "cache-control": "no-cache"},
        )

    await endpoint.finish(answer)
    if len(endpoint.spec.deployments) > 1:
        endpoint.mirror(answer, lambda: parse_chat_request(body, deployment.interface).inputs)

    text = _chat_text(answer)
    usage = answer.line.usage
    return respond(request, 200, completion(call.request_id, int(time.time()), asked.model, text, usage))


def _chat_text(answer: Answer) -> str:
    output = answer.line.output or {}
    name = answer.deployment.interface.chat_output
    value = output.get(name) if name is not None else next(iter(output.values()), "")
    return value if isinstance(value, str) else dumps_bytes(value).decode()


async def _chat_events(endpoint: Endpoint, answer: Answer, asked: ChatRequest, request_id: str) -> AsyncIterator[bytes]:
    """A streamed answer; a flow that does not stream gives its whole text as one piece."""
    created = int(time.time())

    def chunk(delta: dict[str, Any] | None, **more: Any) -> bytes:
        return data_event(completion_chunk(request_id, created, asked.model, delta, **more))

    status: int | None = CLIENT_GONE
    failure: Any = None
    try:
        yield chunk({"role": "assistant", "content": ""})
        if answer.stream is None:
            yield chunk({"content": _chat_text(answer)})
        else:
            async for item in endpoint.chunks(answer):
                yield chunk({"content": item if isinstance(item, str) else str(item)})
        yield chunk({}, finish_reason="stop")
        if asked.include_usage:
            yield chunk(None, usage=answer.line.usage)

        yield DONE
        status = None
    except Exception as error:  # the flow failed after its answer had begun
        status, failure = status_of(error), body_of(error)["error"]
        logger.warning("Chat %s failed while its answer was streamed: %s", request_id, error)
        yield data_event(chat_error(error, status))
    finally:
        await endpoint.finish(answer, status_code=status, error=failure)
