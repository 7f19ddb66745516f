"""The words between scheduler and worker: a row, a step's plan, and what was counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from promptflow_lite.engine.kv import Operation


class Phase(StrEnum):
    """Where a row is in its life."""

    WAITING = "waiting"
    PREFILL = "prefill"
    DECODE = "decode"
    DONE = "done"


@dataclass(slots=True, eq=False, kw_only=True)
class Row:
    """One sequence of tokens that asks the model for something: one sample of one request."""

    caller: str
    """Whose work it is; callers take turns."""
    tokens: list[int]
    """The prompt, followed by what was generated."""
    n_new: int
    """Most tokens beyond the prompt; their cells are reserved at admission."""
    adapter: str = ""
    """LoRA adapter; rows of different adapters share neither cells nor steps."""
    chains: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """Continuations to read logits along: (tokens kept of the chain before, tokens). Such a row generates nothing."""

    phase: Phase = Phase.WAITING
    n_prompt: int = 0
    seq: int = -1
    n_path: int = 0
    """Leading tokens that live in the prefix tree; the rest are this row's own."""
    n_have: int = 0
    """Leading tokens with cells, once the path is complete."""
    n_evaluated: int = 0
    """Prompt tokens this row computed itself; the others were found."""
    next_chain: int = 0

    def __post_init__(self) -> None:
        self.n_prompt = self.n_prompt or len(self.tokens)

    @property
    def n_cells_own(self) -> int:
        """Cells to reserve beside those in the tree."""
        return self.n_prompt - self.n_path + self.n_new


@dataclass(frozen=True, slots=True)
class Output:
    """Logits that a row asked for."""

    row: Row
    index: int
    """Index in the step's batch."""
    offset: int
    """Tokens after the prompt along the current chain; 0 at the prompt's end and while generating."""


@dataclass(slots=True)
class StepPlan:
    """One decode call: operations first, then a batch of tokens."""

    operations: list[Operation]
    adapter: str
    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    """In batch order. Several rows may read one index."""

    def add(self, seq: int, position: int, tokens: list[int]) -> int:
        """Append a run of tokens; returns the batch index of its last token."""
        self.tokens.extend(tokens)
        self.positions.extend(range(position, position + len(tokens)))
        self.seqs.extend([seq] * len(tokens))
        return len(self.tokens) - 1


@dataclass(slots=True)
class EngineStats:
    """Counters since the engine started."""

    steps: int = 0
    evaluated_tokens: int = 0
    """Tokens given to the model, each one forward pass of one token."""
    prompt_tokens: int = 0
    """Prompt tokens of admitted rows, computed or found."""
    generated_tokens: int = 0
    finished_rows: int = 0
    failed_rows: int = 0
    cells_used: int = 0
    cells_total: int = 0
    waiting_rows: int = 0
    running_rows: int = 0
    decode_s: float = 0.0
    """Seconds inside the model's decode call."""
    busy_s: float = 0.0
    """Seconds in which the engine had work."""
