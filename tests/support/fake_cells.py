"""A context without a model: keeps KV cells as llama.cpp does, and computes tokens from whole sequences.

Its answers depend on a sequence's content only, so a row that saw a wrong, missing or foreign cell answers wrongly.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from promptflow_lite.engine.kv import Copy, Operation
from promptflow_lite.errors import EngineError

N_VOCAB = 32
END_TOKEN = 0


def next_token(tokens: Sequence[int], adapter: str = "") -> int:
    """What the fake model says after some tokens; never the end token."""
    return 1 + zlib.crc32(bytes(tokens) + adapter.encode()) % (N_VOCAB - 1)


class Cell:
    def __init__(self, position: int, token: int, adapter: str) -> None:
        self.position = position
        self.token = token
        self.adapter = adapter
        self.seqs: set[int] = set()


class FakeContext:
    """Cells with positions and tags; decode refuses what llama.cpp refuses."""

    def __init__(self, n_cells: int, *, allow_partial: bool = True) -> None:
        self.n_cells = n_cells
        self.allow_partial = allow_partial
        self.cells: list[Cell] = []
        self.peak = 0
        self.evaluated = 0
        self.decoded: list[list[int]] = []
        self.steps: list[list[tuple[int, tuple[int, ...]]]] = []
        """Of each step, what each sequence computed."""
        self.adapter = ""
        self.fail_next = False
        self._logits: dict[int, Any] = {}

    def clear(self) -> None:
        self.cells.clear()

    def load_adapter(self, path: str) -> None:
        if path == "missing":
            raise EngineError("no such adapter")

    def set_adapter(self, path: str) -> None:
        self.adapter = path

    def perform(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, Copy):
                self._copy(operation)
            else:
                self._remove(operation.seq, operation.start)

    def _copy(self, operation: Copy) -> None:
        wanted = set(range(operation.start, operation.end))
        for cell in self.cells:
            if operation.source in cell.seqs and cell.position in wanted:
                cell.seqs.add(operation.target)
                wanted.discard(cell.position)
        assert not wanted, f"{operation} copies cells that are not there: {wanted}"

    def _remove(self, seq: int, start: int) -> None:
        assert start == 0 or self.allow_partial
        for cell in self.cells:
            if cell.position >= start:
                cell.seqs.discard(seq)
        self.cells = [cell for cell in self.cells if cell.seqs]

    def content(self, seq: int) -> list[int]:
        """Tokens of a sequence; its positions must be whole and unique."""
        mine = sorted((cell for cell in self.cells if seq in cell.seqs), key=lambda cell: cell.position)
        assert [cell.position for cell in mine] == list(range(len(mine))), f"holes or doubles in sequence {seq}"
        assert len({cell.adapter for cell in mine}) <= 1
        return [cell.token for cell in mine]

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], seqs: Sequence[int], outputs: Sequence[int] | None
    ) -> None:
        if self.fail_next:
            self.fail_next = False
            raise EngineError("the step failed")

        self.decoded.append(list(tokens))
        self.steps.append([(seq, tuple(t for t, s in zip(tokens, seqs, strict=True) if s == seq)) for seq in set(seqs)])
        self.evaluated += len(tokens)
        self._logits = {}
        wanted = set(range(len(tokens))) if outputs is None else set(outputs)
        for index, (token, position, seq) in enumerate(zip(tokens, positions, seqs, strict=True)):
            before = self.content(seq)
            assert position == len(before), f"sequence {seq} continues at {position}, it has {len(before)} tokens"
            cell = Cell(position, token, self.adapter)
            cell.seqs.add(seq)
            self.cells.append(cell)
            if index in wanted:
                logits = np.zeros(N_VOCAB, np.float32)
                logits[next_token([*before, token], self.adapter)] = 1.0
                self._logits[index] = logits
        self.peak = max(self.peak, len(self.cells))
        assert len(self.cells) <= self.n_cells, "more cells than there are"

    def logits(self, index: int) -> Any:
        return self._logits[index]
