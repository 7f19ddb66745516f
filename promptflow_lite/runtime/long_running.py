"""Warnings about nodes that run long, with the place where they are, for finding out what a flow waits for."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from promptflow_lite.connections import without_secrets
from promptflow_lite.settings import env_float

logger = logging.getLogger("execution.flow")

_NOTHING = nullcontext()
"""Shared, because every node enters it."""


def warned_while_running(node: str) -> AbstractContextManager[None]:
    """Warn every `PF_LONG_RUNNING_LOGGING_INTERVAL` seconds that the block runs; without the variable do nothing."""
    interval_s = env_float("PF_LONG_RUNNING_LOGGING_INTERVAL") or 0.0
    return _warned(node, interval_s) if interval_s > 0 else _NOTHING


@contextmanager
def _warned(node: str, interval_s: float) -> Iterator[None]:
    ended = threading.Event()
    arguments = (node, threading.get_ident(), interval_s, ended)
    threading.Thread(target=_warn, args=arguments, name=f"pfl-watch-{node}", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _warn(node: str, thread: int, interval_s: float, ended: threading.Event) -> None:
    start = time.monotonic()
    while not ended.wait(interval_s):
        frame = sys._current_frames().get(thread)
        if frame is not None:
            stack = without_secrets("".join(traceback.format_stack(frame)))
            logger.warning("Node %r has been running for %.0f s:\n%s", node, time.monotonic() - start, stack)
