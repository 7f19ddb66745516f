"""The heart of a server: chooses a deployment, runs the flow where it disturbs nobody, and records the outcome.

**Why this shape.** The event loop must never wait for user code, and handing work to a thread costs more than a trivial
flow does. So flows run on a thread pool until they have proven to take less than a millisecond; only then they run on
the loop (`Deployment.is_fast`). Model calls and streams always take a thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from promptflow_lite.errors import (
    BadRequest,
    OverloadedError,
    PromptflowException,
    RequestTimeoutError,
    RunCanceledError,
    ToolExecutionError,
    UnexpectedError,
    error_to_dict,
)
from promptflow_lite.flow import media_to_json
from promptflow_lite.records import EndpointSpec, LineResult, ServedRequest, Status
from promptflow_lite.runtime import RecordingIterator, finish_streams, streamed_outputs
from promptflow_lite.serving.access import Gate, Principal
from promptflow_lite.serving.call import Call, ClientGoneError, Receive, wait_until_gone
from promptflow_lite.serving.deployment import Deployment
from promptflow_lite.serving.faults import body_of, status_of
from promptflow_lite.serving.recorder import Recorder
from promptflow_lite.serving.routing import Router
from promptflow_lite.tracing import TraceContext, use_context
from promptflow_lite.tracing.context import new_span_id, new_trace_id

logger = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Recorded status of a request whose client left; never sent."""
_MAX_SHADOWS_WAITING = 500
_CHUNKS_AHEAD = 64
"""How far a stream may run ahead of its reader."""
_END = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """What an operator decides about a server."""

    max_body_bytes: int = 10 * 2**20
    body_timeout_s: float = 15.0
    timeout_s: float = 300.0
    """Longest time a flow may take to answer."""
    n_threads: int = 64
    """Requests that run at once; further ones wait."""
    n_waiting: int = 1000
    """Requests that may wait for a thread; further ones are refused."""
    is_durable: bool = False
    """Answer only after the request is committed."""
    redact_inputs: bool = False
    """Record that a request came, not what it said."""
    may_inline: bool = True
    allowed_origins: tuple[str, ...] = ()
    response_fields: tuple[str, ...] | None = None
    """Exactly these outputs are returned; None returns all but those for evaluation only."""
    build_info: str = ""


@dataclass(slots=True)
class Answer:
    """A finished run, or one whose stream is still open."""

    deployment: Deployment
    line: LineResult
    record: ServedRequest
    started: float
    """`time.perf_counter()` at the request's arrival."""
    cancel: threading.Event
    stream: tuple[str, RecordingIterator] | None = None


class Endpoint:
    """One served endpoint with its deployments.

    Thread: methods belong to the event loop, unless they say otherwise.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        deployments: Mapping[str, Deployment],
        *,
        gate: Gate,
        recorder: Recorder,
        settings: ServingSettings,
    ) -> None:
        self.gate = gate
        self.recorder = recorder
        self.settings = settings
        self.n_in_flight = 0
        self.is_stopping = False
        self._router = Router(spec)
        self._deployments = dict(deployments)
        self._pool = ThreadPoolExecutor(max_workers=settings.n_threads, thread_name_prefix="pfl-line")
        self._shadow_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="pfl-shadow")
        self._shadow_slots = threading.BoundedSemaphore(_MAX_SHADOWS_WAITING)
        self.n_shadows_dropped = 0

    @property
    def name(self) -> str:
        return self._router.spec.name

    @property
    def spec(self) -> EndpointSpec:
        return self._router.spec

    @property
    def main(self) -> Deployment:
        """The deployment whose interface the endpoint describes: the one with the largest weight."""
        best = max(self.spec.deployments, key=lambda spec: (not spec.is_draining, spec.weight))
        return self._deployments[best.name]

    def deployments(self) -> dict[str, Deployment]:
        return dict(self._deployments)

    def change(self, spec: EndpointSpec, deployments: Mapping[str, Deployment]) -> None:
        """Put a new version into force; requests under way finish where they are. Thread: any."""
        retired = [d for name, d in self._deployments.items() if deployments.get(name) is not d]
        self._deployments = dict(deployments)
        self._router = Router(spec)
        for deployment in retired:
            deployment.executor.close()

    def choose(self, call: Call) -> Deployment:
        """The deployment that answers this request."""
        return self._deployments[self._router.choose(session=call.session, wanted=call.wanted_deployment).name]

    def close(self) -> None:
        """End threads; requests under way were finished before. Thread: any."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._shadow_pool.shutdown(wait=True, cancel_futures=True)
        for deployment in self._deployments.values():
            deployment.executor.close()

    # --- running ------------------------------------------------------------------------------------------------------

    async def answer(
        self,
        call: Call,
        principal: Principal,
        deployment: Deployment,
        inputs: dict[str, Any],
        *,
        allow_stream: bool,
        receive: Receive | None = None,
        started: float | None = None,
    ) -> Answer:
        """Run the flow for one request. Failures of the flow are in the answer's line; it must be given to `finish`.

        Raises:
            OverloadedError: too many requests are under way.
            RequestTimeoutError: the flow took too long.
            ClientGoneError: the client left.
        """
        self._check_room()
        incoming = call.trace_context()
        record = ServedRequest(
            request_id=call.request_id,
            endpoint=self.name,
            deployment=deployment.name,
            start_time=time.time(),
            caller=principal.id,
            session=call.session,
            trace_id=incoming.trace_id if incoming else new_trace_id(),
            parent_span_id=incoming.span_id if incoming else None,
        )
        context = TraceContext(
            trace_id=record.trace_id or "", span_id=new_span_id(), baggage=incoming.baggage if incoming else {}
        )
        cancel = threading.Event()
        started = started if started is not None else time.perf_counter()
        self.n_in_flight += 1
        deployment.n_in_flight += 1
        try:
            if deployment.is_fast and not allow_stream:
                line = _run(deployment, inputs, call.request_id, context, allow_stream, None)
            else:
                line = await self._run_in_thread(
                    call, deployment, inputs, record, started, context, cancel, allow_stream, receive
                )
        finally:
            self.n_in_flight -= 1
            deployment.n_in_flight -= 1
        if not allow_stream:
            # What a stream will take is not known yet: its generator has only been made.
            deployment.note_duration((line.end_time or line.start_time) - line.start_time)

        answer = Answer(deployment, line, record, started, cancel)
        if allow_stream and line.status is Status.COMPLETED:
            answer.stream = _single_stream(line)

        return answer

    def _check_room(self) -> None:
        if self.is_stopping:
            raise OverloadedError("The server is stopping.", retry_after_s=1.0)

        if self.n_in_flight >= self.settings.n_threads + self.settings.n_waiting:
            raise OverloadedError("Too many requests are under way.", retry_after_s=1.0)

        self.recorder.check_room()

    async def _run_in_thread(
        self,
        call: Call,
        deployment: Deployment,
        inputs: dict[str, Any],
        record: ServedRequest,
        started: float,
        context: TraceContext,
        cancel: threading.Event,
        allow_stream: bool,
        receive: Receive | None,
    ) -> LineResult:
        """Run on the pool, and stop it when the client leaves or the time is over."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(
            self._pool, _run, deployment, inputs, record.request_id, context, allow_stream, cancel
        )
        watcher = asyncio.ensure_future(wait_until_gone(receive)) if receive else None
        waited_for: set[asyncio.Future[Any]] = {future} if watcher is None else {future, watcher}
        try:
            await asyncio.wait(waited_for, timeout=self.settings.timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if watcher is not None:
                watcher.cancel()

        if future.done():
            return future.result()

        call.is_recorded = True
        cancel.set()
        future.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        if watcher is not None and watcher.done():
            self._record_failure(record, started, inputs, CLIENT_GONE, {"message": "The client left."})
            raise ClientGoneError

        error = RequestTimeoutError(
            f"The flow did not answer within {self.settings.timeout_s:g} seconds.",
            hint="The limit is set with --timeout.",
        )
        self._record_failure(record, started, inputs, status_of(error), body_of(error)["error"])
        raise error

    # --- answering ----------------------------------------------------------------------------------------------------

    def visible_outputs(self, answer: Answer) -> Any:
        """What the client may see of a finished line."""
        output = answer.line.output or {}
        fields = self.settings.response_fields
        if fields is not None:
            return media_to_json({name: output[name] for name in fields if name in output})

        interface = answer.deployment.interface
        if interface.kind != "dag" and set(output) == {"output"} and not isinstance(output["output"], dict):
            return media_to_json(output["output"])

        hidden = answer.deployment.hidden_outputs
        return media_to_json({k: v for k, v in output.items() if k not in hidden} if hidden else output)

    async def chunks(self, answer: Answer, receive: Receive | None = None) -> AsyncIterator[Any]:
        """The items of an open stream as they come; a failure inside the flow is raised.

        Leaving the iteration early, or the client leaving, stops the flow.
        """
        assert answer.stream is not None  # callers look first  # noqa: S101
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Any] = asyncio.Queue()
        slots = threading.Semaphore(_CHUNKS_AHEAD)
        stream = answer.stream[1]

        def pump() -> None:
            end: Any = _END
            try:
                for item in stream:
                    while not slots.acquire(timeout=0.25):
                        if answer.cancel.is_set():
                            break

                    if answer.cancel.is_set():
                        break

                    loop.call_soon_threadsafe(queue.put_nowait, item)
            except Exception as error:  # the stream's failure belongs to its reader
                failed = next((node.node for node in answer.line.nodes if node.status is Status.FAILED), None)
                end = _Failure(tool_error(failed, error))
            finally:
                if answer.cancel.is_set():
                    stream.close()

                loop.call_soon_threadsafe(queue.put_nowait, end)

        self.n_in_flight += 1
        pumping = loop.run_in_executor(self._pool, pump)
        watcher = asyncio.ensure_future(_mark_gone(receive, queue)) if receive else None
        try:
            while (item := await queue.get()) is not _END:
                if isinstance(item, _Failure):
                    raise item.error

                slots.release()
                if answer.record.first_token_ms is None:
                    answer.record.first_token_ms = (time.perf_counter() - answer.started) * 1000

                yield item
        finally:
            answer.cancel.set()
            self.n_in_flight -= 1
            if watcher is not None:
                watcher.cancel()

            await asyncio.shield(pumping)

    async def finish(self, answer: Answer, *, status_code: int | None = None, error: Any = None) -> None:
        """Record a finished answer; with `durable`, return only once it is committed."""
        line, record = answer.line, answer.record
        if answer.stream is not None:
            finish_streams(line)

        record.duration_ms = (time.perf_counter() - answer.started) * 1000
        record.inputs = line.inputs
        record.output = line.output
        record.error = error or line.error
        record.nodes = line.nodes
        record.status_code = status_code or (200 if line.status is Status.COMPLETED else status_of(failure_of(line)))
        record.prompt_tokens = line.usage.prompt_tokens
        record.completion_tokens = line.usage.completion_tokens
        record.model_calls = line.usage.calls
        record.cost = answer.deployment.cost_of(line) if line.usage.calls else 0.0
        await self._keep(record)

    async def _keep(self, record: ServedRequest) -> None:
        if not self.settings.is_durable:
            self.recorder.put(self._redacted(record))
            return

        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        self.recorder.put(self._redacted(record), partial(_resolve_from_thread, loop, stored))
        await stored

    def record_refusal(self, call: Call, principal: Principal, error: PromptflowException, started: float) -> None:
        """Record a request that was refused before its flow ran; what it said is not kept."""
        if call.is_recorded:
            return

        record = ServedRequest(
            request_id=call.request_id,
            endpoint=self.name,
            deployment=call.wanted_deployment or "",
            start_time=time.time(),
            caller=principal.id,
            session=call.session,
        )
        self._record_failure(record, started, None, status_of(error), body_of(error)["error"])

    def _record_failure(
        self, record: ServedRequest, started: float, inputs: dict[str, Any] | None, status: int, error: dict[str, Any]
    ) -> None:
        record.duration_ms = (time.perf_counter() - started) * 1000
        record.status_code = status
        record.inputs = inputs
        record.error = error
        self.recorder.put(self._redacted(record))

    def _redacted(self, record: ServedRequest) -> ServedRequest:
        if self.settings.redact_inputs:
            record.inputs = None
            record.output = None
            for node in record.nodes:
                node.inputs = node.output = None
                node.spans = []
                node.stdout = node.stderr = ""

        return record

    # --- shadows ------------------------------------------------------------------------------------------------------

    def mirror(self, answer: Answer, make_inputs: Callable[[], dict[str, Any]]) -> None:
        """Let shadow deployments run the same request, after it was answered and with lower priority."""
        for spec in self._router.shadows(answer.deployment.spec):
            if self.is_stopping or not self._shadow_slots.acquire(blocking=False):
                self.n_shadows_dropped += 1
                continue

            self._shadow_pool.submit(self._run_shadow, self._deployments[spec.name], make_inputs(), answer.record)

    def _run_shadow(self, deployment: Deployment, inputs: dict[str, Any], primary: ServedRequest) -> None:
        try:
            record = ServedRequest(
                request_id=primary.request_id,
                endpoint=primary.endpoint,
                deployment=deployment.name,
                start_time=time.time(),
                is_shadow=True,
                caller=primary.caller,
                session=primary.session,
                trace_id=primary.trace_id,
            )
            started = time.perf_counter()
            line = deployment.run(inputs, primary.request_id, allow_stream=False)
            record.duration_ms = (time.perf_counter() - started) * 1000
            record.inputs, record.output, record.error = line.inputs, line.output, line.error
            record.nodes = line.nodes
            record.status_code = 200 if line.status is Status.COMPLETED else status_of(failure_of(line))
            record.prompt_tokens = line.usage.prompt_tokens
            record.completion_tokens = line.usage.completion_tokens
            record.model_calls = line.usage.calls
            record.cost = deployment.cost_of(line)
            self.recorder.put(self._redacted(record))
        except Exception:  # a shadow never disturbs anybody
            logger.exception("Shadow deployment %s failed.", deployment.name)
        finally:
            self._shadow_slots.release()


def failure_of(line: LineResult) -> PromptflowException:
    """Why a line failed; what user code raised, also from inside a generator, is the user's error."""
    error = line.exception
    if isinstance(error, PromptflowException):
        return error

    if error is None:
        return RunCanceledError((line.error or {}).get("message", "The line did not complete."))

    failed = next((node.node for node in line.nodes if node.status is Status.FAILED), None)
    return tool_error(failed, error) if failed else UnexpectedError(f"({type(error).__name__}) {error}")


def tool_error(node: str | None, error: BaseException) -> PromptflowException:
    """The error of a node that failed while its items were read."""
    if isinstance(error, PromptflowException):
        return error

    return ToolExecutionError(f"Execution failure in {node!r}: ({type(error).__name__}) {error}", node_name=node)


class _Failure:
    """An exception on its way from the pumping thread to the reader."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def _run(
    deployment: Deployment,
    inputs: dict[str, Any],
    request_id: str,
    context: TraceContext,
    allow_stream: bool,
    cancel: threading.Event | None,
) -> LineResult:
    with use_context(context):
        return deployment.run(inputs, request_id, allow_stream=allow_stream, cancel=cancel)


def _single_stream(line: LineResult) -> tuple[str, RecordingIterator] | None:
    """The line's stream, if it has one; a line with several is a failure, as no answer has a place for them."""
    streams = list(streamed_outputs(line))
    if len(streams) > 1:
        finish_streams(line)
        line.status = Status.FAILED
        line.exception = BadRequest("Multiple stream output fields not supported.")
        line.error = error_to_dict(line.exception)
        return None

    return streams[0] if streams else None


async def _mark_gone(receive: Receive, queue: asyncio.Queue[Any]) -> None:
    await wait_until_gone(receive)
    queue.put_nowait(_Failure(ClientGoneError()))


def _resolve_from_thread(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    loop.call_soon_threadsafe(_resolve, future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
