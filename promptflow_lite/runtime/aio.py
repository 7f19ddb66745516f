"""One background event loop on which every async tool runs, so that clients made there keep working across lines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def _background_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="pfl-async-tools", daemon=True).start()

        return _loop


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the background loop in the caller's context and wait for its result.

    Thread: any, except the background loop's own.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _background_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(items: AsyncIterator[Any]) -> Iterator[Any]:
    """A plain iterator over an asynchronous one."""

    async def advance() -> tuple[bool, Any]:
        try:
            return True, await anext(items)
        except StopAsyncIteration:
            return False, None

    while True:
        has_item, item = run_coroutine(advance())
        if not has_item:
            return

        yield item
