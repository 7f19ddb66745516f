"""Text that user code prints while a node runs is kept with that node, whichever thread prints it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from promptflow_lite.connections import without_secrets
from promptflow_lite.tracing import current_scope

_lock = threading.Lock()
_installed = 0


class _Tee:
    """Stands in for `sys.stdout` or `sys.stderr`; outside a node everything passes through untouched."""

    def __init__(self, original: TextIO, attribute: str, *, echo: bool) -> None:
        self._original = original
        self._attribute = attribute
        self.echo = echo

    def write(self, text: str) -> int:
        scope = current_scope()
        if scope is None:
            return self._original.write(text)

        getattr(scope, self._attribute).append(text)
        if self.echo:
            self._original.write(without_secrets(text))

        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


@contextmanager
def captured_prints(*, echo: bool) -> Iterator[None]:
    """Keep prints with the node that makes them; nested use is counted.

    Args:
        echo: Show them as well.
    """
    global _installed
    with _lock:
        _installed += 1
        if _installed == 1:
            sys.stdout = _Tee(sys.stdout, "stdout", echo=echo)
            sys.stderr = _Tee(sys.stderr, "stderr", echo=echo)
    try:
        yield
    finally:
        with _lock:
            _installed -= 1
            if _installed == 0:
                for name in ("stdout", "stderr"):
                    stream = getattr(sys, name)
                    if isinstance(stream, _Tee):
                        setattr(sys, name, stream._original)
