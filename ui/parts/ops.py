"""Operations that components send: repeated there until acknowledged, applied here exactly once and in order."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

OnOp = Callable[[Mapping[str, Any]], None]


@dataclass(slots=True)
class Inbox:
    """What one component has sent.

    Thread: safe. A gesture during a rerun makes Streamlit start the next run while the thread of the last one still
    goes on, so the operations of one component may be offered by two threads at once.
    """

    on_op: OnOp
    ack: int = 0
    """Number of the last operation that was applied."""
    epoch: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells the component whether its numbers are those of this session."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, ops: Iterable[Mapping[str, Any]]) -> None:
        """Apply the operations that are new."""
        with self._lock:
            for op in ops:
                if op["seq"] > self.ack:
                    self.ack = op["seq"]
                    self.on_op(op)


def inbox_of(key: str, on_op: OnOp) -> Inbox:
    """The inbox of a component, from now on with this handler."""
    inbox: Inbox = _inboxes().setdefault(key, Inbox(on_op))
    inbox.on_op = on_op
    return inbox


def deliver() -> None:
    """Apply what components have sent; every page, and every fragment with such components, begins with it.

    Callbacks would not do: one that Streamlit interrupts for the next rerun is not called again when that rerun
    brings the same value, and pages that are left are never drawn again.
    """
    for key, inbox in list(_inboxes().items()):
        value = st.session_state.get(key)  # Streamlit may end the run here, before anything is applied
        inbox.take((value or {}).get("ops") or [])


def _inboxes() -> dict[str, Inbox]:
    return st.session_state.setdefault("inboxes", {})
