"""`@trace`, `start_trace` and a thread pool that keeps the context: what user code calls to be seen in a trace."""

from __future__ import annotations

import contextvars
import functools
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from promptflow_lite.records import Span
from promptflow_lite.tracing.scope import close_span, current_scope, current_span, detach_span, open_span, resume_span

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

logger = logging.getLogger(__name__)


class SpanSink(Protocol):
    """Receives finished span trees of user code that runs outside a flow."""

    def emit(self, span: Span, *, collection: str, session: str | None, resource: dict[str, Any]) -> None:
        """Take one finished tree. Thread: called from the thread that closed the root span."""
        ...


class _Destination:
    """Where root spans outside a flow go; set by `start_trace`."""

    sink: SpanSink | None = None
    collection: str = ""
    session: str | None = None
    resource: dict[str, Any] = {}  # noqa: RUF012  # replaced as a whole, never changed in place


def start_trace(
    *,
    collection: str | None = None,
    resource_attributes: dict[str, Any] | None = None,
    session: str | None = None,
    sink: SpanSink | None = None,
    **_ignored: Any,
) -> None:
    """Record traced calls of this process from now on, also outside flows; never breaks the program.

    Args:
        collection: Name under which the traces are found again; default: the folder of the running script.
        resource_attributes: Facts about this process, kept with every trace.
        session: Id that ties several traces together.
        sink: Where finished traces go. Without one, tracing stays as it was.
    """
    _Destination.collection = collection or _script_folder()
    _Destination.session = session
    _Destination.resource = dict(resource_attributes or {})
    if sink is not None:
        _Destination.sink = sink


def stop_trace() -> None:
    """Stop recording outside flows."""
    _Destination.sink = None


def _script_folder() -> str:
    from pathlib import Path

    return Path.cwd().name or "default"


@overload
def trace(func: F) -> F: ...


@overload
def trace(func: None = None, *, args_to_ignore: Iterable[str] = (), **_ignored: Any) -> Callable[[F], F]: ...


def trace(func: Any = None, *, args_to_ignore: Iterable[str] = (), **_ignored: Any) -> Any:
    """Record calls of a function: its parameters, result, duration and error.

    Works on plain, async, generator and async generator functions, bare or called. A generator's span stays open until
    it is exhausted or closed. Outside a running node and without `start_trace` it adds one check to the call.

    Args:
        func: The function.
        args_to_ignore: Names of parameters that are not recorded; `self` and `cls` never are.
    """
    if func is None:
        return functools.partial(trace, args_to_ignore=args_to_ignore)

    ignored = frozenset(args_to_ignore) | {"self", "cls"}
    if inspect.isasyncgenfunction(func):
        return _traced_async_generator(func, ignored)

    if inspect.iscoroutinefunction(func):
        return _traced_async(func, ignored)

    return _traced(func, ignored)


def is_recording() -> bool:
    """Whether a span opened now would be kept by anybody."""
    return current_scope() is not None or current_span() is not None or _Destination.sink is not None


def _traced(func: Callable[P, R], ignored: frozenset[str]) -> Callable[P, R]:
    bind = _input_binder(func, ignored)
    is_generator = inspect.isgeneratorfunction(func)

    @functools.wraps(func)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not is_recording():
            return func(*args, **kwargs)

        is_root = _is_root()
        span, token = open_span(func.__qualname__, "Function", bind(args, kwargs))
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            close_span(span, token, error=_error_of(error))
            _emit(span, is_root)
            raise

        if is_generator:
            detach_span(token)
            return _watched(result, span, is_root)  # type: ignore[arg-type, return-value]

        close_span(span, token, output=result)
        _emit(span, is_root)
        return result

    return call


def _watched(items: Iterator[Any], span: Span, is_root: bool) -> Iterator[Any]:
    """Yield what a generator yields while its span is the open one, and close the span with the collected items."""
    collected: list[Any] = []
    span.attributes["output_type"] = "iterated"
    error: dict[str, Any] | None = None
    try:
        while True:
            with resume_span(span):
                try:
                    item = next(items)
                except StopIteration:
                    return
            collected.append(item)
            yield item
    except GeneratorExit:
        items.close()  # type: ignore[attr-defined]
        raise
    except BaseException as exception:
        error = _error_of(exception)
        raise
    finally:
        close_span(span, None, output=collected, error=error)
        _emit(span, is_root)


def _traced_async(func: Callable[P, Any], ignored: frozenset[str]) -> Callable[P, Any]:
    bind = _input_binder(func, ignored)

    @functools.wraps(func)
    async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        if not is_recording():
            return await func(*args, **kwargs)

        is_root = _is_root()
        span, token = open_span(func.__qualname__, "Function", bind(args, kwargs))
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            close_span(span, token, error=_error_of(error))
            _emit(span, is_root)
            raise

        close_span(span, token, output=result)
        _emit(span, is_root)
        return result

    return call


def _traced_async_generator(func: Callable[P, AsyncIterator[Any]], ignored: frozenset[str]) -> Callable[P, Any]:
    bind = _input_binder(func, ignored)

    @functools.wraps(func)
    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Any]:
        if not is_recording():
            async for item in func(*args, **kwargs):
                yield item
            return

        is_root = _is_root()
        span, token = open_span(func.__qualname__, "Function", bind(args, kwargs))
        detach_span(token)
        span.attributes["output_type"] = "iterated"
        collected: list[Any] = []
        error: dict[str, Any] | None = None
        items = aiter(func(*args, **kwargs))
        try:
            while True:
                with resume_span(span):
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        return
                collected.append(item)
                yield item
        except BaseException as exception:
            if not isinstance(exception, GeneratorExit):
                error = _error_of(exception)
            raise
        finally:
            close_span(span, None, output=collected, error=error)
            _emit(span, is_root)

    return call


def _input_binder(func: Callable[..., Any], ignored: frozenset[str]) -> Callable[[Any, Any], dict[str, Any]]:
    """A function from positional and named arguments to the recorded inputs; the signature is read once."""
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):
        return lambda args, kwargs: {k: v for k, v in kwargs.items() if k not in ignored}

    def bind(args: Any, kwargs: Any) -> dict[str, Any]:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return {k: v for k, v in kwargs.items() if k not in ignored}

        bound.apply_defaults()
        return {name: value for name, value in bound.arguments.items() if name not in ignored}

    return bind


def _is_root() -> bool:
    return current_span() is None and current_scope() is None


def _error_of(error: BaseException) -> dict[str, Any]:
    return {"type": type(error).__name__, "message": str(error)}


def _emit(span: Span, is_root: bool) -> None:
    sink = _Destination.sink
    if not is_root or sink is None:
        return

    try:
        sink.emit(
            span, collection=_Destination.collection, session=_Destination.session, resource=_Destination.resource
        )
    except Exception:  # tracing never breaks the program it watches
        logger.warning("A finished trace could not be stored: %s", span.name, exc_info=sys.exc_info())


class ThreadPoolExecutorWithContext(ThreadPoolExecutor):
    """A thread pool whose tasks report into the span and node that submitted them."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run `fn` with a copy of the submitter's context."""
        context = contextvars.copy_context()
        return super().submit(lambda: context.run(fn, *args, **kwargs))
