"""Which local models a piece of work asked, and everything that determined their answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def recorded_models() -> Iterator[list[dict[str, Any]]]:
    """Collect, when the context ends, the fingerprint of each local model that answered inside it.

    Work that runs beside it in the same process and asks the same models cannot be told apart. The engine is not
    imported for work that does not use it.
    """
    before = _answered()
    found: list[dict[str, Any]] = []
    try:
        yield found
    finally:
        found.extend(engine.fingerprint for engine, count in _answered().items() if count > before.get(engine, 0))


def _answered() -> dict[Any, int]:
    """Loaded engine -> rows it has answered."""
    if "promptflow_lite.engine" not in sys.modules:
        return {}

    from promptflow_lite.engine import loaded_engines

    return {engine: engine.stats.finished_rows for engine in loaded_engines()}
