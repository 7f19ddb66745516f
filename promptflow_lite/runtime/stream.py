"""Generator outputs, without losing what they produced."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

from promptflow_lite.runtime.size import refuse_beyond_limit


class RecordingIterator:
    """Hands on a node's items one by one and remembers them, so that records and later readers see all of them.

    Iterating again replays the remembered items first. The node's code keeps running in the context it started in.
    """

    def __init__(
        self,
        source: Iterator[Any],
        on_end: Callable[[BaseException | None], None] | None = None,
        *,
        name: str = "A stream",
    ) -> None:
        self.items: list[Any] = []
        self.is_exhausted = False
        self._source = source
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._on_end = on_end
        self._position = 0
        self._name = name
        self._size = 0

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while True:
            if position == len(self.items) and not self._advance(position):
                return

            yield self.items[position]
            position += 1

    def __next__(self) -> Any:
        if self._position == len(self.items) and not self._advance(self._position):
            raise StopIteration

        self._position += 1
        return self.items[self._position - 1]

    def _advance(self, position: int) -> bool:
        """Fetch the item at `position`; False when the source ended before it."""
        with self._lock:
            if position < len(self.items):
                return True

            if self.is_exhausted:
                return False

            try:
                item = self._context.run(next, self._source)
                self._size += len(item) if isinstance(item, str) else 0
                refuse_beyond_limit(self._size, self._name)
                self.items.append(item)
            except StopIteration:
                self._end(None)
                return False
            except BaseException as error:
                self._end(error)
                raise

            return True

    def _end(self, error: BaseException | None) -> None:
        self.is_exhausted = True
        if self._on_end is not None:
            self._on_end(error)

    def close(self) -> None:
        """Stop the source early; what was produced so far stays recorded."""
        with self._lock:
            if not self.is_exhausted:
                close = getattr(self._source, "close", None)
                if close is not None:
                    self._context.run(close)

                self._end(None)

    def text(self) -> str:
        """All items joined as text; consumes what is left."""
        return "".join(str(item) for item in self)

    def __jsonable__(self) -> Any:
        return list(self.items)

    def __repr__(self) -> str:
        return f"<stream of {len(self.items)} items{'' if self.is_exhausted else ', not finished'}>"
