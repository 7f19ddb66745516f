"""Work shared between the cells of an experiment: a node with the same definition and inputs runs once.

A hit replays the tokens of the first call, so that every variant is charged what it would cost alone, and leaves a span
that says how many seconds were saved, so that its time can be told too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from promptflow_lite._utils.hashing import content_key
from promptflow_lite.records import Usage
from promptflow_lite.runtime import DagExecutor, LineExecutor
from promptflow_lite.runtime.plan import PlannedNode
from promptflow_lite.tracing.scope import add_usage, close_span, current_scope, open_span

SAVED_SECONDS = "pfl.saved_s"
"""Span attribute: how long the shared call took when it ran."""


@dataclass(slots=True)
class _Stored:
    output: Any
    usage: Usage
    seconds: float


@dataclass(slots=True)
class Memo:
    """Outputs of nodes by what determines them; wraps the tools of executors.

    Thread: safe. Equal calls at the same time wait for the first one.
    """

    hits: int = 0
    """Node runs that were answered from the memo."""
    runs: int = 0
    """Node runs that were executed."""
    model_calls: int = 0
    """Model calls behind them."""
    _stored: dict[str, Future[_Stored]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wrap(self, executor: LineExecutor, *, salt: str = "") -> None:
        """Make the nodes of an executor share their work.

        Args:
            executor: Of a cell that is about to run.
            salt: Kept apart from other salts; repeats have their own, so that they stay independent.
        """
        if isinstance(executor, DagExecutor):
            for node in executor.plan.nodes:
                self._wrap_node(node, salt)

    def _wrap_node(self, node: PlannedNode, salt: str) -> None:
        call = node.tool.call
        if node.tool.is_async:
            return

        definition = content_key(node.spec.type, node.tool.name, node.spec.name, node.tool.cache_parts, salt)

        def shared(**arguments: Any) -> Any:
            return self._call(call, arguments, content_key(definition, arguments))

        node.tool.call = shared

    def _call(self, call: Callable[..., Any], arguments: dict[str, Any], key: str) -> Any:
        mine: Future[_Stored] = Future()
        with self._lock:
            known = self._stored.setdefault(key, mine)

        if known is not mine:
            return self._replay(known, call, arguments)

        try:
            stored = self._execute(call, arguments)
        except BaseException as error:
            self._forget(key)
            mine.set_exception(error)
            raise

        if isinstance(stored.output, Iterator):
            self._forget(key)  # a stream is read once; whoever waited runs the node on its own

        mine.set_result(stored)
        return stored.output

    def _forget(self, key: str) -> None:
        with self._lock:
            self._stored.pop(key, None)

    def _execute(self, call: Callable[..., Any], arguments: dict[str, Any]) -> _Stored:
        scope = current_scope()
        before = Usage(**_fields(scope.usage)) if scope else Usage()
        started = perf_counter()
        output = call(**arguments)
        seconds = perf_counter() - started
        after = scope.usage if scope else Usage()
        usage = Usage(
            after.prompt_tokens - before.prompt_tokens,
            after.completion_tokens - before.completion_tokens,
            after.calls - before.calls,
        )
        with self._lock:
            self.runs += 1
            self.model_calls += usage.calls

        return _Stored(output, usage, seconds)

    def _replay(self, known: Future[_Stored], call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        try:
            stored = known.result()
        except Exception:  # the first call failed; this one may not
            return self._execute(call, arguments).output

        if isinstance(stored.output, Iterator):
            return self._execute(call, arguments).output

        with self._lock:
            self.hits += 1

        span, token = open_span("shared between cells", "Function")
        span.attributes[SAVED_SECONDS] = stored.seconds
        close_span(span, token)
        add_usage(stored.usage)
        return stored.output


def _fields(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "calls": usage.calls,
    }
