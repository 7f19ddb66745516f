"""The planner of reproducible mode: every forward pass a row takes part in is the same whoever else is there.

Each row has a stream of cells of its own, filled from the first cell on. A prompt is computed in pieces at fixed
positions, each alone in its step, so a piece copied from another stream equals one computed anew, bit by bit. Rows
generate together only where the kernels proved to give each row what it gets alone; the engine probes that at start.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from promptflow_lite.engine.kv import Copy, Operation, Remove, common_length
from promptflow_lite.engine.scheduler import WaitingRows, check_fits
from promptflow_lite.engine.settings import EngineSettings
from promptflow_lite.engine.step import Output, Phase, Row, StepPlan

PIECE = 64
"""Tokens of a prompt computed together; pieces start at its multiples."""


@dataclass(slots=True, eq=False)
class Stream:
    """One sequence's cells."""

    seq: int
    adapter: str = ""
    tokens: list[int] = field(default_factory=list)
    """Leading prompt tokens computed as whole pieces: what another row may copy."""
    used_at: int = 0


class StreamScheduler:
    """Plans steps over separate streams.

    Args:
        settings: `n_cells` is the length of one stream times their number.
        n_ctx_row: Cells of one stream.
        n_together: Rows that may generate in one step; 1 where the kernels' sums depend on the batch.
    """

    def __init__(self, settings: EngineSettings, *, n_streams: int, n_ctx_row: int, n_together: int) -> None:
        self.settings = settings
        self.n_ctx_row = n_ctx_row
        self.n_together = n_together
        self.running: list[Row] = []
        self._waiting = WaitingRows()
        self._streams = [Stream(seq) for seq in range(n_streams)]
        self._operations: list[Operation] = []
        self._clock = 0
        self._is_prefill_turn = True

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @property
    def n_cells_used(self) -> int:
        busy = {row.seq for row in self.running}
        idle = sum(len(stream.tokens) for stream in self._streams if stream.seq not in busy)
        return idle + sum(row.n_have for row in self.running)

    def submit(self, row: Row) -> None:
        check_fits(row, n_cells=self.settings.n_cells, n_ctx_row=self.n_ctx_row)
        self._waiting.push(row)

    # --- admission -----------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        while len(self.running) < self.settings.max_rows and (heads := self._waiting.heads()):
            row = heads[0]
            self._waiting.take(row)
            row.seq = self._free_stream(row).seq
            row.phase = Phase.PREFILL
            self.running.append(row)

    def _free_stream(self, row: Row) -> Stream:
        """The stream to overwrite: the longest unused whose content is not the best start for this row."""
        busy = {other.seq for other in self.running}
        free = [stream for stream in self._streams if stream.seq not in busy]
        best = max(self._streams, key=lambda stream: self._shared(row, stream))
        others = [stream for stream in free if stream is not best]
        return min(others or free, key=lambda stream: (bool(stream.tokens), stream.used_at))

    def _shared(self, row: Row, stream: Stream) -> int:
        """Tokens of whole pieces that the row can take from a stream."""
        if stream.adapter != row.adapter:
            return 0

        return _whole_pieces(common_length(stream.tokens, row.tokens[: row.n_prompt - 1]))

    # --- planning ------------------------------------------------------------------------------------------------

    def plan(self) -> StepPlan | None:
        self._admit()
        if not self.running:
            return None

        self._clock += 1
        decoding = [row for row in self.running if row.phase is Phase.DECODE]
        prefilling = [row for row in self.running if row.phase is Phase.PREFILL]
        self._is_prefill_turn = bool(prefilling) and (not self._is_prefill_turn or not decoding)
        plan = self._plan_prefill(prefilling) if self._is_prefill_turn else self._plan_decode(decoding)
        plan.operations = self._operations
        self._operations = []
        return plan

    def _plan_prefill(self, rows: list[Row]) -> StepPlan:
        """One piece of the first row that need not wait for another's."""
        row = next(row for index, row in enumerate(rows) if not self._waits(row, rows[:index]))
        self._start_from_copy(row)
        plan = StepPlan(operations=[], adapter=row.adapter)
        tokens = row.tokens[row.n_have : min(row.n_have + PIECE, row.n_prompt)]
        index = plan.add(row.seq, row.n_have, tokens)
        if row.n_have + len(tokens) == row.n_prompt:
            plan.outputs.append(Output(row, index, 0))
        return plan

    def _waits(self, row: Row, earlier: list[Row]) -> bool:
        """Whether an earlier row is about to compute pieces that this one can copy."""
        if row.n_have:
            return False

        present = max(self._shared(row, stream) for stream in self._streams)
        planned = (
            _whole_pieces(common_length(other.tokens[: other.n_prompt], row.tokens[: row.n_prompt - 1]))
            for other in earlier
            if other.adapter == row.adapter
        )
        return max(planned, default=0) > present

    def _start_from_copy(self, row: Row) -> None:
        if row.n_have:
            return

        own = self._streams[row.seq]
        best = max(self._streams, key=lambda stream: self._shared(row, stream))
        n_shared = self._shared(row, best)
        if best is not own:
            self._operations.append(Remove(row.seq, 0))
            if n_shared:
                self._operations.append(Copy(best.seq, row.seq, 0, n_shared))
                best.used_at = self._clock
        self._operations.append(Remove(row.seq, n_shared))
        own.tokens = row.tokens[:n_shared]
        own.adapter = row.adapter
        row.n_have = n_shared

    def _plan_decode(self, rows: list[Row]) -> StepPlan:
        chained = next((row for row in rows if row.next_chain > 0), None)
        if chained is not None:
            return self._plan_chain(chained)

        adapter = rows[self._clock % len(rows)].adapter
        same = [row for row in rows if row.adapter == adapter]
        first = self._clock % len(same) if self.n_together < len(same) else 0
        plan = StepPlan(operations=[], adapter=adapter)
        for row in (same[first:] + same[:first])[: self.n_together]:
            index = plan.add(row.seq, row.n_have, row.tokens[row.n_have :])
            plan.outputs.append(Output(row, index, 0))
        return plan

    def _plan_chain(self, row: Row) -> StepPlan:
        n_kept, chain = row.chains[row.next_chain - 1]
        plan = StepPlan(operations=[], adapter=row.adapter)
        last = plan.add(row.seq, row.n_prompt + n_kept, list(chain))
        first = last - len(chain) + 1
        plan.outputs += [Output(row, first + offset, n_kept + offset + 1) for offset in range(len(chain))]
        return plan

    # --- after the step ------------------------------------------------------------------------------------------

    def commit(self, plan: StepPlan) -> None:
        by_seq = {row.seq: row for row in self.running}
        for seq in dict.fromkeys(plan.seqs):
            row = by_seq[seq]
            if row.next_chain > 0:
                continue
            n_tokens = plan.seqs.count(seq)
            row.n_have += n_tokens
            if row.phase is Phase.PREFILL:
                row.n_evaluated += n_tokens
                self._streams[seq].tokens = row.tokens[: _whole_pieces(row.n_have)]
            self._streams[seq].used_at = self._clock
        for output in plan.outputs:
            output.row.phase = Phase.DECODE

    def append(self, row: Row, token: int) -> None:
        row.tokens.append(token)

    def next_chain(self, row: Row) -> bool:
        """See `Scheduler.next_chain`."""
        if row.next_chain == len(row.chains):
            return False

        if row.next_chain > 0:
            self._operations.append(Remove(row.seq, row.n_prompt + row.chains[row.next_chain][0]))
        row.next_chain += 1
        return True

    def finish(self, row: Row) -> None:
        """Take a row out; the whole pieces of its prompt stay for others to copy."""
        if row.phase is Phase.WAITING:
            self._waiting.remove(row)
        elif row.phase is not Phase.DONE:
            self.running.remove(row)
            self._operations.append(Remove(row.seq, len(self._streams[row.seq].tokens)))
        row.phase = Phase.DONE


def _whole_pieces(n_tokens: int) -> int:
    return n_tokens // PIECE * PIECE
