"""What executing a node or a line produced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.records.status import Status
from promptflow_lite.records.usage import Usage


@dataclass(slots=True)
class Span:
    """One traced call inside a node: a function or a model call."""

    name: str
    kind: str
    """`Function`, `LLM`, `Embedding`, `Retrieval`, `Flow` …"""
    start_time: float
    """Seconds since the epoch."""
    end_time: float | None = None
    inputs: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    usage: Usage | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    children: list[Span] = field(default_factory=list)


@dataclass(slots=True)
class NodeResult:
    """Outcome of one node in one line (or of one aggregation node)."""

    node: str
    status: Status
    inputs: dict[str, Any] | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    start_time: float | None = None
    end_time: float | None = None
    usage: Usage | None = None
    stdout: str = ""
    stderr: str = ""
    spans: list[Span] = field(default_factory=list)
    is_cached: bool = False
    attempts: int = 1
    exception: BaseException | None = None
    """The live exception behind `error`; never stored."""


@dataclass(slots=True)
class LineResult:
    """Outcome of one line: one row of data through the whole flow."""

    line_number: int | None
    status: Status
    inputs: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    start_time: float = 0.0
    end_time: float | None = None
    usage: Usage = field(default_factory=Usage)
    nodes: list[NodeResult] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    """Traced calls outside any node: those of flex flows and prompties."""
    run_id: str | None = None
    """Id of this line execution: `<run>_<line>` in batch, a UUID in tests and serving."""
    exception: BaseException | None = None
    """The live exception behind `error`; never stored."""

    @property
    def duration_s(self) -> float:
        return (self.end_time or self.start_time) - self.start_time

    def node(self, name: str) -> NodeResult | None:
        return next((node for node in self.nodes if node.node == name), None)
