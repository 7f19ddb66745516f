"""Decides what the next decode call computes; performs nothing.

`(waiting, running, cells) -> StepPlan`. The same inputs always give the same plan, so every promise is tested by
counting tokens: each shared prefix is computed once, a row admitted is a row that ends, callers take turns.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Protocol

from promptflow_lite.engine.kv import Copy, Node, PrefixTree, Remove
from promptflow_lite.engine.settings import EngineSettings
from promptflow_lite.engine.step import Output, Phase, Row, StepPlan
from promptflow_lite.errors import ContextFullError

ADAPTER_QUANTUM = 16
"""Steps one adapter keeps the context while rows of another wait."""


class Planner(Protocol):
    """What the worker drives; implemented for shared cells here and for reproducible rows in `streams`."""

    running: list[Row]

    def submit(self, row: Row) -> None:
        """Queue a row. Raises `ContextFullError` when it can never fit."""
        ...

    def plan(self) -> StepPlan | None:
        """The next step; None when nothing can run."""
        ...

    def commit(self, plan: StepPlan) -> None:
        """The step was computed."""
        ...

    def append(self, row: Row, token: int) -> None:
        """The row goes on with a generated token."""
        ...

    def next_chain(self, row: Row) -> bool:
        """The row goes on with its next chain; False when all were read."""
        ...

    def finish(self, row: Row) -> None:
        """The row has what it asked for, or is given up."""
        ...

    @property
    def n_waiting(self) -> int: ...

    @property
    def n_cells_used(self) -> int: ...


class WaitingRows:
    """A queue a caller, served in turns."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Row]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, row: Row) -> None:
        self._queues.setdefault(row.caller, deque()).append(row)
        self._length += 1

    def heads(self) -> list[Row]:
        """The first row of each caller, whose turn is next first."""
        return [queue[0] for queue in self._queues.values()]

    def take(self, row: Row) -> None:
        """Remove a caller's first row and give the turn to the next caller."""
        queue = self._queues.pop(row.caller)
        queue.popleft()
        self._length -= 1
        if queue:
            self._queues[row.caller] = queue

    def remove(self, row: Row) -> None:
        """Remove a row from wherever it waits."""
        queue = self._queues[row.caller]
        queue.remove(row)
        self._length -= 1
        if not queue:
            del self._queues[row.caller]


def check_fits(row: Row, *, n_cells: int, n_ctx_row: int) -> None:
    """Refuse a row that can never be admitted, naming need and have."""
    need = row.n_prompt + row.n_new
    have = min(n_cells, n_ctx_row)
    if need > have:
        raise ContextFullError(
            f"The request needs {need} tokens of context ({row.n_prompt} of prompt and {row.n_new} new), "
            f"the model was loaded with {have}.",
            hint="Shorten the prompt, lower max_tokens, or load the model with a larger context.",
            need=need,
            have=have,
            prompt_tokens=row.n_prompt,
            new_tokens=row.n_new,
        )


def n_sequences(settings: EngineSettings) -> int:
    """Sequence ids a context must offer: running rows, one more for a caller that has none, and kept prefixes."""
    return settings.max_rows + 1 + settings.n_cached


class Scheduler:
    """Continuous batching over shared cells.

    Args:
        settings: Pool sizes; `n_cells` must be resolved.
        n_ctx_row: Longest sequence the model takes.
        allow_partial: See `PrefixTree`.
    """

    def __init__(self, settings: EngineSettings, *, n_ctx_row: int, allow_partial: bool = True) -> None:
        self.settings = settings
        self.n_ctx_row = n_ctx_row
        self.tree = PrefixTree(allow_partial=allow_partial)
        self.running: list[Row] = []
        self._waiting = WaitingRows()
        self._free_seqs = list(range(n_sequences(settings)))[::-1]
        self._ends: dict[int, list[Row]] = {}
        """id of a node -> rows whose prompt ends there and who wait for its last logits."""
        self._repeats: dict[int, list[Row]] = {}
        """id of a node -> rows whose prompt is computed up to there and lacks its last token only."""
        self._adapter = ""
        self._adapter_steps = 0
        self._advances: list[tuple[Row, int]] = []
        """(row, tokens) of own tokens in the planned step."""
        self._computed: list[tuple[Row, Node, int]] = []
        """(row, node, tokens) of shared tokens in the planned step; others may use them after it."""
        self._repeated: list[list[Row]] = []
        """Rows that read one repeated last token, the one that computes it first."""

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @property
    def n_reserved(self) -> int:
        return sum(row.n_cells_own for row in self.running)

    @property
    def n_cells_used(self) -> int:
        return self.tree.n_cells + sum(max(row.n_have - row.n_path, 0) for row in self.running)

    def submit(self, row: Row) -> None:
        check_fits(row, n_cells=self.settings.n_cells, n_ctx_row=self.n_ctx_row)
        self._waiting.push(row)

    # --- admission -----------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        while len(self.running) <= self.settings.max_rows:
            row = self._next_waiting()
            if row is None or not self._has_room(row):
                return

            self._waiting.take(row)
            self._start(row)

    def _next_waiting(self) -> Row | None:
        """The next caller's first row; one place more than `max_rows` waits for a caller that has none running."""
        heads = self._waiting.heads()
        if len(self.running) == self.settings.max_rows:
            busy = {row.caller for row in self.running}
            return next((row for row in heads if row.caller not in busy), None)

        return heads[0] if heads else None

    def _has_room(self, row: Row) -> bool:
        shareable = row.tokens[:-1]
        pinned = self.tree.pinned_cells(row.adapter, shareable)
        missing = row.n_prompt - self.tree.match(row.adapter, shareable)
        return pinned + self.n_reserved + missing + row.n_new <= self.settings.n_cells

    def _start(self, row: Row) -> None:
        self._attach(row, self._free_seqs.pop())
        row.phase = Phase.PREFILL
        self.running.append(row)
        while self.tree.n_cells + self.n_reserved > self.settings.n_cells and self.tree.idle:
            self._release(self.tree.idle[0])

    def _attach(self, row: Row, seq: int) -> None:
        """Plan the prompt. When all of it has cells already, its last token is computed again for its logits."""
        row.seq = seq
        row.n_path = row.n_prompt
        self.tree.attach(seq, row.adapter, row.tokens)
        if self.tree.ready_depth(seq) == row.n_prompt:
            self.tree.release(seq)
            self.tree.operations.pop()
            row.n_path = row.n_prompt - 1
            self.tree.attach(seq, row.adapter, row.tokens[:-1])
            self._repeats.setdefault(id(self.tree.tip(seq)), []).append(row)
        else:
            self._ends.setdefault(id(self.tree.tip(seq)), []).append(row)

    def _release(self, seq: int) -> None:
        self.tree.release(seq)
        self._free_seqs.append(seq)

    # --- planning ------------------------------------------------------------------------------------------------

    def plan(self) -> StepPlan | None:
        self._advances, self._computed, self._repeated = [], [], []
        self._admit()
        if not self.running:
            return self._flush()

        self._choose_adapter()
        plan = StepPlan(operations=[], adapter=self._adapter)
        rows = [row for row in self.running if row.adapter == self._adapter]
        for row in rows:
            if row.phase is Phase.DECODE:
                self._plan_own(plan, row)
        for row in rows:
            if row.phase is Phase.PREFILL and len(plan.tokens) < self.settings.step_tokens:
                self._plan_prefill(plan, row)
        plan.operations = self._drain()
        return plan

    def _flush(self) -> StepPlan | None:
        operations = self._drain()
        return StepPlan(operations=operations, adapter=self._adapter) if operations else None

    def _drain(self) -> list[Copy | Remove]:
        operations, self.tree.operations = self.tree.operations, []
        return operations

    def _choose_adapter(self) -> None:
        present = list(OrderedDict.fromkeys(row.adapter for row in self.running))
        self._adapter_steps += 1
        if self._adapter in present and (len(present) == 1 or self._adapter_steps < ADAPTER_QUANTUM):
            return

        following = present.index(self._adapter) + 1 if self._adapter in present else 0
        self._adapter = present[following % len(present)]
        self._adapter_steps = 0

    def _plan_own(self, plan: StepPlan, row: Row) -> None:
        """Tokens beyond the tree: the last generated one, a repeated last prompt token, or a chain of labels."""
        if row.n_have < row.n_path:
            self.tree.sync(row.seq)
            row.n_have = row.n_path
        if row.next_chain > 0:
            self._plan_chain(plan, row)
            return

        tokens = row.tokens[row.n_have :]
        index = plan.add(row.seq, row.n_have, tokens)
        plan.outputs.append(Output(row, index, 0))
        self._advances.append((row, len(tokens)))

    def _plan_chain(self, plan: StepPlan, row: Row) -> None:
        n_kept, chain = row.chains[row.next_chain - 1]
        if len(plan.tokens) + len(chain) > self.settings.step_tokens:
            return

        last = plan.add(row.seq, row.n_prompt + n_kept, list(chain))
        first = last - len(chain) + 1
        plan.outputs += [Output(row, first + offset, n_kept + offset + 1) for offset in range(len(chain))]

    def _plan_prefill(self, plan: StepPlan, row: Row) -> None:
        path = self.tree.path(row.seq)
        unready = [node for node in path if not node.is_ready]
        if not unready:
            self._plan_repeat(plan, row)
            return

        if unready[0].owner != row.seq:
            return

        self.tree.sync(row.seq)
        for node in unready:
            room = self.settings.step_tokens - len(plan.tokens)
            n_tokens = min(room, len(node.tokens) - node.n_ready)
            if node.owner != row.seq or n_tokens <= 0:
                return

            start = node.n_ready
            index = plan.add(row.seq, node.depth + start, node.tokens[start : start + n_tokens])
            self._computed.append((row, node, n_tokens))
            if start + n_tokens < len(node.tokens):
                return

            for ending in self._ends.pop(id(node), []):
                plan.outputs.append(Output(ending, index, 0))

    def _plan_repeat(self, plan: StepPlan, row: Row) -> None:
        """Compute the last prompt token again, once for all rows that ask the same."""
        group = self._repeats[id(self.tree.tip(row.seq))]
        same = [other for other in group if other.tokens[-1] == row.tokens[-1]]
        if same[0] is not row:
            return

        self._plan_own(plan, row)
        index = plan.outputs[-1].index
        plan.outputs += [Output(other, index, 0) for other in same[1:]]
        self._repeated.append(same)

    # --- after the step ------------------------------------------------------------------------------------------

    def commit(self, plan: StepPlan) -> None:
        for row, node, n_tokens in self._computed:
            self.tree.computed(row.seq, node, n_tokens)
            row.n_evaluated += n_tokens
        for row, n_tokens in self._advances:
            row.n_have += n_tokens
            if row.n_have <= row.n_prompt:
                row.n_evaluated += n_tokens
        for output in plan.outputs:
            output.row.phase = Phase.DECODE
        for leader, *followers in self._repeated:
            self._share_repeat(leader, followers)

    def _share_repeat(self, leader: Row, followers: list[Row]) -> None:
        for row in (leader, *followers):
            self._forget_repeat(row)
        for row in followers:
            self.tree.sync(row.seq)
            self.tree.operations.append(Copy(leader.seq, row.seq, row.n_path, row.n_prompt))
            row.n_have = row.n_prompt

    def _forget_repeat(self, row: Row) -> None:
        key = id(self.tree.tip(row.seq))
        rows = [other for other in self._repeats.pop(key, []) if other is not row]
        if rows:
            self._repeats[key] = rows

    def append(self, row: Row, token: int) -> None:
        row.tokens.append(token)

    def next_chain(self, row: Row) -> bool:
        """Move a row to its next chain; False when all were read. The cells of the one before are taken back."""
        if row.n_have < row.n_path:
            self.tree.sync(row.seq)
            row.n_have = row.n_path
        if row.next_chain == len(row.chains):
            return False

        if row.next_chain > 0:
            self.tree.operations.append(Remove(row.seq, row.n_prompt + row.chains[row.next_chain][0]))
        row.next_chain += 1
        return True

    def finish(self, row: Row) -> None:
        """Take a row out at any time; what it computed may stay as a starting point."""
        if row.phase is Phase.WAITING:
            self._waiting.remove(row)
        elif row.phase in (Phase.PREFILL, Phase.DECODE):
            self.running.remove(row)
            self._ends = {
                node: kept for node, rows in self._ends.items() if (kept := [r for r in rows if r is not row])
            }
            self._forget_repeat(row)
            self._keep_or_release(row)
        row.phase = Phase.DONE

    def _idle_budget(self) -> int:
        """Fewer tails are kept while rows wait: their cells would slow every token of the batch."""
        return self.settings.idle_cells // 8 if len(self._waiting) else self.settings.idle_cells

    def _keep_or_release(self, row: Row) -> None:
        is_complete = self.tree.ready_depth(row.seq) == row.n_path
        if not is_complete or self.settings.n_cached == 0:
            self._release(row.seq)
            return

        n_own = max(row.n_have, row.n_path) - row.n_path
        if row.next_chain > 0:
            self.tree.operations.append(Remove(row.seq, row.n_path + n_own))
        self.tree.retire(row.seq, row.tokens[row.n_path : row.n_path + n_own])
        before = set(self.tree.idle)
        self.tree.trim_idle(self._idle_budget())
        self._free_seqs += sorted(before - set(self.tree.idle))
        while len(self.tree.idle) > self.settings.n_cached:
            self._release(self.tree.idle[0])
