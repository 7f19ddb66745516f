"""Tells whoever runs a line what its nodes do, while they do it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from promptflow_lite.records import NodeResult, Status
from promptflow_lite.tracing import current_scope

NodeObserver = Callable[[NodeResult], None]

_observer: ContextVar[NodeObserver | None] = ContextVar("pfl_node_observer", default=None)


@contextmanager
def observed_nodes(observer: NodeObserver) -> Iterator[None]:
    """Hear of the nodes of lines that run inside the block.

    Args:
        observer: Called with a node's record when it starts (status `Running`) and when it ends, and once more when
            an output that streams has ended. Calls come from the threads that run the nodes.
    """
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def tell_start(node: str) -> None:
    """Report that a node of the line starts."""
    observer = _listening()
    if observer is not None:
        observer(NodeResult(node, Status.RUNNING, start_time=time.time()))


def tell(result: NodeResult) -> None:
    """Report how a node of the line ended."""
    observer = _listening()
    if observer is not None:
        observer(result)


def _listening() -> NodeObserver | None:
    """The observer; None inside of a node, because the nodes of a sub-flow are no nodes of the line."""
    observer = _observer.get()
    return observer if observer is not None and current_scope() is None else None
