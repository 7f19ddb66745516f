"""What every kind of executable flow offers: one line, one node, one aggregation."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from promptflow_lite.flow import Flow, InputSpec
from promptflow_lite.records import LineResult
from promptflow_lite.runtime.aggregation import AggregationResult, LineValues


class LineExecutor(Protocol):
    """A flow made ready to run; safe to use from several threads at once."""

    @property
    def flow(self) -> Flow: ...

    @property
    def input_specs(self) -> Mapping[str, InputSpec]:
        """Declared (or inferred) inputs, for the default column mapping and for forms."""
        ...

    @property
    def has_aggregation(self) -> bool: ...

    @property
    def calls_models(self) -> bool:
        """Lines wait for models, so many of them should run at once."""
        ...

    def run_line(
        self,
        inputs: Mapping[str, Any],
        *,
        line_number: int | None = None,
        run_id: str | None = None,
        allow_stream: bool = False,
        cancel: threading.Event | None = None,
        timeout_s: float | None = None,
    ) -> LineResult: ...

    def aggregation_values(self, line: LineResult) -> LineValues: ...

    def run_aggregation(self, lines: Sequence[LineValues]) -> AggregationResult: ...

    def close(self) -> None: ...
