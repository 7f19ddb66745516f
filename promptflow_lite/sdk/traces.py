"""Traces of user code: kept in the local store, and sent to a collector if one is named."""

from __future__ import annotations

import atexit
import builtins
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

from promptflow_lite.errors import PromptflowException
from promptflow_lite.records import Span, TraceRecord
from promptflow_lite.tracing import current_context
from promptflow_lite.tracing import start_trace as begin
from promptflow_lite.tracing.context import new_trace_id
from promptflow_lite.tracing.openai_calls import trace_openai

if TYPE_CHECKING:
    from promptflow_lite.store import Store
    from promptflow_lite.tracing.export import SpanExporter

logger = logging.getLogger(__name__)


class StoreSink:
    """Writes finished traces from a thread of its own, so that traced code never waits for the database.

    Thread: any.
    """

    def __init__(self, store: Store, exporter: SpanExporter | None = None) -> None:
        self._store = store
        self._exporter = exporter
        self._queue: queue.Queue[TraceRecord | None] = queue.Queue(10_000)
        self._thread = threading.Thread(target=self._work, name="pfl-traces", daemon=True)
        self._thread.start()

    def emit(self, span: Span, *, collection: str, session: str | None, resource: dict[str, Any]) -> None:
        """Keep a finished tree."""
        context = current_context()
        record = TraceRecord(
            trace_id=context.trace_id if context else new_trace_id(),
            collection=collection,
            name=span.name,
            kind=span.kind,
            start_time=span.start_time,
            duration_ms=((span.end_time or span.start_time) - span.start_time) * 1000,
            is_error=span.error is not None,
            session=session,
            resource=resource,
            spans=span,
        )
        self._queue.put_nowait(record)
        if self._exporter is not None:
            self._exporter.export_trace(record.trace_id, span)

    def close(self) -> None:
        """Write what is left; further calls do nothing."""
        atexit.unregister(self.close)
        self._queue.put(None)
        self._thread.join(timeout=10)
        if self._exporter is not None:
            self._exporter.close()

    def _work(self) -> None:
        while (record := self._queue.get()) is not None:
            batch = [record]
            while not self._queue.empty() and len(batch) < 500:
                following = self._queue.get()
                if following is None:
                    self._store.traces.add(batch)
                    return

                batch.append(following)
            self._store.traces.add(batch)


def start_trace(
    *,
    collection: str | None = None,
    resource_attributes: dict[str, Any] | None = None,
    session: str | None = None,
    **ignored: Any,
) -> StoreSink | None:
    """Keep traced calls, and calls with the `openai` package, from now on; look at them with `pfl trace list`.

    Args:
        collection: Name under which the traces are found again; default: the current folder's name.
        resource_attributes: Facts about this process, kept with every trace.
        session: Id that ties several traces together.
        ignored: Accepted for compatibility.

    Returns:
        Where traces go; None when the store cannot be opened, as tracing never stops a program.
    """
    from promptflow_lite.store import Store
    from promptflow_lite.tracing.export import exporter_from_environment

    try:
        sink = StoreSink(Store.open(), exporter_from_environment())
    except PromptflowException as error:
        logger.warning("Traces are not kept: %s", error)
        return None

    trace_openai()
    begin(collection=collection, resource_attributes=resource_attributes, session=session, sink=sink)
    atexit.register(sink.close)
    return sink


class TraceOperations:
    """Look at stored traces."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(
        self, *, collection: str | None = None, session: str | None = None, limit: int = 50
    ) -> builtins.list[TraceRecord]:
        """Traces of user code, newest first."""
        return self._store.traces.list(collection=collection, session=session, limit=limit)

    def get(self, trace_id: str) -> builtins.list[TraceRecord]:
        """Every tree of a trace; a prefix of its id will do."""
        return self._store.traces.get(trace_id)

    def delete(self, *, before: float | None = None, collection: str | None = None) -> int:
        """Forget traces; returns how many."""
        return self._store.traces.delete(collection, started_before=before)
