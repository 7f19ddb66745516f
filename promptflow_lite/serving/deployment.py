"""A flow made ready to answer: its executor, its interface, and how fast it has shown to be."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from promptflow_lite.flow import image_files
from promptflow_lite.records import DeploymentSpec, LineResult, Status
from promptflow_lite.runtime import LineExecutor
from promptflow_lite.serving.schema import Interface

FAST_S = 0.001
"""A flow whose requests take less may run on the event loop: a switch of threads would cost more than the flow."""
BLOCKED_S = 0.05
"""A single request that took longer held up all others, so the flow must prove itself again, for ten times as long."""
_TRIALS = 20
"""Requests that are timed before a flow may count as fast."""


class Deployment:
    """One running deployment.

    Thread: counters are changed by the event loop only.
    """

    def __init__(self, spec: DeploymentSpec, executor: LineExecutor, interface: Interface, *, may_inline: bool) -> None:
        self.spec = spec
        self.executor = executor
        self.interface = interface
        self.hidden_outputs = interface.hidden_outputs
        self.n_in_flight = 0
        self._may_inline = may_inline and not executor.calls_models
        self._n_needed = _TRIALS
        self._n_timed = 0
        self._mean_s = 0.0

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def is_fast(self) -> bool:
        """Whether the next request may run on the event loop."""
        return self._may_inline and self._n_timed >= self._n_needed and self._mean_s < FAST_S

    def note_duration(self, seconds: float) -> None:
        """Learn from a finished request."""
        self._n_timed += 1
        self._mean_s += max(0.05, 1 / self._n_timed) * (seconds - self._mean_s)
        if seconds > BLOCKED_S and self._n_timed > self._n_needed:
            self._n_needed *= 10
            self._n_timed = 0

    def run(
        self, inputs: Mapping[str, Any], run_id: str, *, allow_stream: bool, cancel: threading.Event | None = None
    ) -> LineResult:
        """Run the flow once in this thread; inputs that name files of this machine are refused."""
        with image_files(allowed=False):
            return self.executor.run_line(inputs, run_id=run_id, allow_stream=allow_stream, cancel=cancel)

    def cost_of(self, line: LineResult) -> float:
        """What the line's tokens cost at this deployment's prices."""
        usage = line.usage
        spec = self.spec
        return (usage.prompt_tokens * spec.prompt_price + usage.completion_tokens * spec.completion_price) / 1e6


def is_failed(line: LineResult) -> bool:
    return line.status is not Status.COMPLETED
