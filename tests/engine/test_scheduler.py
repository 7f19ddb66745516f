"""Decisions of the scheduler, proven by counting tokens and cells; no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptflow_lite.engine.scheduler import Scheduler
from promptflow_lite.engine.settings import EngineSettings
from promptflow_lite.engine.step import Phase, Row
from promptflow_lite.errors import ContextFullError
from tests.support.fake_cells import FakeContext, next_token


def scheduler_of(*, allow_partial: bool = True, **changes: int) -> Scheduler:
    sizes = {"n_cells": 512, "max_rows": 8, "n_cached": 8, "step_tokens": 64, "idle_cells": 64, **changes}
    return Scheduler(EngineSettings(**sizes), n_ctx_row=512, allow_partial=allow_partial)


@dataclass
class Drive:
    """Runs a scheduler on fake cells until all rows are done."""

    scheduler: Scheduler
    context: FakeContext
    generated: dict[Row, list[int]] = field(default_factory=dict)
    finished: list[Row] = field(default_factory=list)
    readings: dict[Row, list[int]] = field(default_factory=dict)

    def step(self) -> bool:
        plan = self.scheduler.plan()
        if plan is None:
            return False

        self.context.perform(plan.operations)
        if plan.tokens:
            self.context.set_adapter(plan.adapter)
            self.context.decode(plan.tokens, plan.positions, plan.seqs, [output.index for output in plan.outputs])
        self.scheduler.commit(plan)
        seen: list[Row] = []
        for output in plan.outputs:
            self.readings.setdefault(output.row, []).append(output.index)
            if output.row not in seen:
                seen.append(output.row)
                self._answer(output.row, int(self.context.logits(output.index).argmax()))
        return True

    def _answer(self, row: Row, token: int) -> None:
        if row.chains:
            if not self.scheduler.next_chain(row):
                self._finish(row)
            return

        tokens = self.generated.setdefault(row, [])
        tokens.append(token)
        if len(tokens) >= row.n_new:
            self._finish(row)
        else:
            self.scheduler.append(row, token)

    def _finish(self, row: Row) -> None:
        self.scheduler.finish(row)
        self.finished.append(row)

    def run(self, limit: int = 2000) -> None:
        for _ in range(limit):
            if not self.step():
                return

        raise AssertionError("the rows did not end")


def drive(rows: Sequence[Row], scheduler: Scheduler | None = None) -> Drive:
    scheduler = scheduler or scheduler_of()
    run = Drive(scheduler, FakeContext(scheduler.settings.n_cells, allow_partial=scheduler.tree.allow_partial))
    for row in rows:
        scheduler.submit(row)
    run.run()
    return run


def row_of(tokens: Sequence[int], n_new: int = 1, **changes: object) -> Row:
    return Row(caller=str(changes.pop("caller", "one")), tokens=list(tokens), n_new=n_new, **changes)  # type: ignore[arg-type]


def trie_size(prompts: Sequence[Sequence[int]]) -> int:
    """Distinct non-empty prefixes: the fewest tokens that must be evaluated."""
    return len({tuple(prompt[:length]) for prompt in prompts for length in range(1, len(prompt) + 1)})


def reference(row: Row) -> list[int]:
    tokens = row.tokens[: row.n_prompt]
    answer: list[int] = []
    for _ in range(row.n_new):
        answer.append(next_token([*tokens, *answer], row.adapter))
    return answer


PREFIX_A = [1] * 20
PREFIX_B = [2] * 20


def interleaved(n_rows: int, n_tail: int = 3) -> list[list[int]]:
    prefixes = (PREFIX_A, PREFIX_B)
    return [[*prefixes[index % 2], *[3 + (index * 7 + k) % 29 for k in range(n_tail)]] for index in range(n_rows)]


def test_interleaved_prefixes_are_computed_once_each() -> None:
    prompts = interleaved(24)

    run = drive([row_of(prompt, n_new=4) for prompt in prompts])

    assert run.context.evaluated == trie_size(prompts) + 24 * 3


def test_later_request_finds_the_prefix_of_a_finished_one() -> None:
    run = drive([row_of([*PREFIX_A, 5, 6])])
    before = run.context.evaluated

    run.scheduler.submit(row := row_of([*PREFIX_A, 5, 6, 7, 8]))
    run.run()

    assert run.context.evaluated - before == 2
    assert row.n_evaluated == 2


def test_samples_of_one_prompt_share_all_of_it() -> None:
    prompt = [4] * 10

    run = drive([row_of(prompt, n_new=3) for _ in range(5)])

    assert run.context.evaluated == 10 + 5 * 2


def test_samples_of_a_known_prompt_repeat_its_last_token_once() -> None:
    run = drive([row_of([4] * 10)])
    before = run.context.evaluated
    for _ in range(5):
        run.scheduler.submit(row_of([4] * 10, n_new=3))

    run.run()

    assert run.context.evaluated - before == 1 + 5 * 2


def test_prompt_that_ends_inside_another_costs_nothing_more() -> None:
    run = drive([row_of([*PREFIX_A, 9, 9, 9]), row_of(PREFIX_A)])

    assert run.context.evaluated == 23


def test_chains_evaluate_every_inner_node_once() -> None:
    chains = ((0, (5, 6)), (1, (7,)), (0, (8,)))
    rows = [row_of([*PREFIX_A, k], n_new=3, chains=chains) for k in range(1, 5)]

    run = drive(rows)

    assert run.context.evaluated == 20 + 4 * (1 + 4)
    assert all(len(run.readings[row]) == 1 + 4 for row in rows)


def test_rows_of_different_adapters_share_nothing_and_no_step() -> None:
    rows = [row_of([*PREFIX_A, k], n_new=3, adapter=name) for k in range(1, 4) for name in ("", "style")]

    run = drive(rows)

    assert run.context.evaluated == 2 * (20 + 3 + 3 * 2)
    assert all(run.generated[row] == reference(row) for row in rows)


def test_long_prefill_does_not_stop_running_rows() -> None:
    scheduler = scheduler_of(step_tokens=10)
    run = Drive(scheduler, FakeContext(512))
    scheduler.submit(short := row_of([1, 2], n_new=20))
    run.step()
    scheduler.submit(row_of([3] * 100, caller="other"))

    for _ in range(8):
        run.step()

    assert len(run.generated[short]) == 9


def test_callers_take_turns() -> None:
    scheduler = scheduler_of(max_rows=1)
    rows = [row_of([k, 1], caller="batch") for k in range(1, 6)] + [row_of([9, 1], caller="person")]

    run = drive(rows, scheduler)

    assert run.finished.index(rows[-1]) <= 1


def test_person_gets_a_place_beside_a_full_batch() -> None:
    scheduler = scheduler_of(max_rows=2)
    run = Drive(scheduler, FakeContext(512))
    for k in range(1, 5):
        scheduler.submit(row_of([k, 1], n_new=50, caller="batch"))
    run.step()

    scheduler.submit(person := row_of([9, 1], n_new=1, caller="person"))
    run.step()

    assert person.phase is Phase.DONE


def test_too_long_a_row_is_refused_with_need_and_have() -> None:
    with pytest.raises(ContextFullError) as caught:
        scheduler_of(n_cells=256).submit(row_of([1] * 250, n_new=10))

    assert (caught.value.facts["need"], caught.value.facts["have"]) == (260, 256)


def test_row_as_long_as_the_pool_still_runs_after_others() -> None:
    prompts = [*interleaved(6), [7] * 255]

    run = drive([row_of(prompt) for prompt in prompts], scheduler_of(n_cells=256))

    assert len(run.finished) == 7


def test_known_prompt_as_long_as_the_pool_runs_again() -> None:
    run = drive([row_of([7] * 255)], scheduler_of(n_cells=256))

    run.scheduler.submit(row_of([7] * 255))
    run.run()

    assert len(run.finished) == 2


def test_cancelled_row_hands_shared_work_to_the_next() -> None:
    scheduler = scheduler_of(step_tokens=8)
    run = Drive(scheduler, FakeContext(512))
    first, second = row_of([*PREFIX_A, 5], n_new=2), row_of([*PREFIX_A, 6], n_new=2)
    scheduler.submit(first)
    scheduler.submit(second)
    run.step()

    scheduler.finish(first)
    run.run()

    assert run.generated[second] == reference(second)
    assert run.context.evaluated == 20 + 1 + 1


def test_cancelled_row_frees_its_cells() -> None:
    scheduler = scheduler_of()
    run = Drive(scheduler, FakeContext(512))
    scheduler.submit(row := row_of([5] * 40, n_new=8))
    scheduler.plan()

    scheduler.finish(row)

    assert scheduler.n_cells_used == 0
    assert run.scheduler.n_reserved == 0


def test_tails_used_once_are_dropped_and_shared_prefixes_stay() -> None:
    prompts = interleaved(40, n_tail=5)

    run = drive([row_of(prompt) for prompt in prompts], scheduler_of(idle_cells=12))

    run.step()
    kept = {tuple(run.context.content(seq)) for seq in run.scheduler.tree.idle}
    assert any(content[:20] == tuple(PREFIX_A) for content in kept)
    assert any(content[:20] == tuple(PREFIX_B) for content in kept)
    assert run.scheduler.tree.n_cells <= 40 + 12 + 5


def test_without_partial_removal_whole_sequences_are_still_reused() -> None:
    scheduler = scheduler_of(allow_partial=False, idle_cells=512)
    run = drive([row_of([1, 2, 3, 4], n_new=2)], scheduler)
    spoken = [1, 2, 3, 4, *run.generated[run.finished[0]][:1]]
    before = run.context.evaluated

    scheduler.submit(row := row_of([*spoken, 7, 8], n_new=2))
    run.run()

    assert run.context.evaluated - before == 2 + 1
    assert run.generated[row] == reference(row)


prompts_strategy = st.lists(st.integers(1, 3), min_size=1, max_size=12)


@st.composite
def workloads(draw: st.DrawFn) -> list[tuple[int, Row, int | None]]:
    """(step of arrival, row, step of cancellation)."""
    work = []
    for _ in range(draw(st.integers(1, 12))):
        chains: tuple[tuple[int, tuple[int, ...]], ...] = draw(
            st.sampled_from([(), (), (), ((0, (1, 2)), (1, (3,))), ((0, (2,)),)])
        )
        row = Row(
            caller=draw(st.sampled_from("ab")),
            tokens=draw(prompts_strategy),
            n_new=2 if chains else draw(st.integers(1, 5)),
            adapter=draw(st.sampled_from(["", "", "style"])),
            chains=chains,
        )
        work.append((draw(st.integers(0, 10)), row, draw(st.one_of(st.none(), st.none(), st.integers(0, 14)))))
    return work


@pytest.mark.parametrize("allow_partial", [True, False])
@given(workloads(), st.integers(17, 40), st.integers(1, 4), st.integers(0, 3), st.integers(0, 8))
@settings(max_examples=150)
def test_no_cell_leaks_no_row_starves_every_row_ends(
    allow_partial: bool,
    work: list[tuple[int, Row, int | None]],
    n_cells: int,
    max_rows: int,
    n_cached: int,
    idle_cells: int,
) -> None:
    if not allow_partial:
        work = [(start, row, stop) for start, row, stop in work if not row.chains]
    scheduler = scheduler_of(
        allow_partial=allow_partial,
        n_cells=n_cells,
        max_rows=max_rows,
        n_cached=n_cached,
        idle_cells=idle_cells,
        step_tokens=max(6, max_rows + 1),
    )
    run = Drive(scheduler, FakeContext(n_cells, allow_partial=allow_partial))
    cancelled = set()
    for step in range(300):
        for _, row, _ in (item for item in work if item[0] == step):
            scheduler.submit(row)
        for _, row, _ in (item for item in work if item[2] is not None and max(item[2], item[0]) == step):
            if row.phase is not Phase.DONE:
                cancelled.add(row)
                scheduler.finish(row)
        assert scheduler.tree.n_cells + scheduler.n_reserved <= n_cells
        is_busy = run.step()
        if not is_busy and step > 14:
            break

    rows = [row for _, row, _ in work]
    assert set(run.finished) | cancelled == set(rows)
    for row in run.finished:
        if not row.chains:
            assert run.generated[row] == reference(row)
    run.step()
    assert len(run.context.cells) == scheduler.tree.n_cells == scheduler.n_cells_used


@given(st.lists(prompts_strategy, min_size=1, max_size=8), st.integers(1, 4))
def test_evaluated_tokens_equal_the_minimum_of_the_prefix_tree(prompts: list[list[int]], n_new: int) -> None:
    run = drive([row_of(prompt, n_new=n_new) for prompt in prompts])

    assert run.context.evaluated == trie_size(prompts) + len(prompts) * (n_new - 1)
