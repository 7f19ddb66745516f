"""Reproducible mode's decisions: every row is computed in the same pieces, whoever else is there; no model."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptflow_lite.engine.settings import EngineSettings
from promptflow_lite.engine.step import Phase, Row
from promptflow_lite.engine.streams import PIECE, StreamScheduler
from promptflow_lite.errors import ContextFullError
from tests.support.fake_cells import FakeContext, next_token

N_ROW = 512


def planner(*, max_rows: int = 4, n_idle: int = 2, n_together: int = 8) -> StreamScheduler:
    chosen = EngineSettings(n_cells=N_ROW * (max_rows + n_idle), max_rows=max_rows, reproducible=True)
    return StreamScheduler(chosen, n_streams=max_rows + n_idle, n_ctx_row=N_ROW, n_together=n_together)


def row_of(tokens: Sequence[int], n_new: int = 2, **changes: object) -> Row:
    return Row(caller="one", tokens=list(tokens), n_new=n_new, **changes)  # type: ignore[arg-type]


def run(scheduler: StreamScheduler, rows: Sequence[Row], context: FakeContext | None = None) -> dict[Row, list[int]]:
    """All rows to their end; checks that prompts are computed in whole pieces, alone in their step."""
    context = context or FakeContext(10**6)
    answers: dict[Row, list[int]] = {row: [] for row in rows}
    for row in rows:
        scheduler.submit(row)
    for _ in range(5000):
        plan = scheduler.plan()
        if plan is None:
            return answers

        context.perform(plan.operations)
        context.set_adapter(plan.adapter)
        if len(set(plan.seqs)) < len(plan.seqs):
            assert len(set(plan.seqs)) == 1
            assert plan.positions[0] % PIECE == 0 or plan.outputs[0].row.chains
        context.decode(plan.tokens, plan.positions, plan.seqs, [output.index for output in plan.outputs])
        scheduler.commit(plan)
        for row in dict.fromkeys(output.row for output in plan.outputs):
            index = next(output.index for output in plan.outputs if output.row is row)
            _answer(scheduler, row, int(context.logits(index).argmax()), answers)
    raise AssertionError("the rows did not end")


def _answer(scheduler: StreamScheduler, row: Row, token: int, answers: dict[Row, list[int]]) -> None:
    if row.chains:
        if not scheduler.next_chain(row):
            scheduler.finish(row)
        return

    answers[row].append(token)
    if len(answers[row]) == row.n_new:
        scheduler.finish(row)
    else:
        scheduler.append(row, token)


def reference(row: Row) -> list[int]:
    answer: list[int] = []
    for _ in range(row.n_new):
        answer.append(next_token([*row.tokens[: row.n_prompt], *answer], row.adapter))
    return answer


def test_whole_pieces_of_a_shared_prefix_are_computed_once() -> None:
    context = FakeContext(10**6)
    shared = [1] * (2 * PIECE + 10)

    run(planner(), [row_of([*shared, k], n_new=1) for k in range(2, 8)], context)

    assert context.evaluated == 2 * PIECE + 6 * 11


def test_one_row_at_a_time_generates_when_kernels_differ_by_batch() -> None:
    context = FakeContext(10**6)

    run(planner(n_together=1), [row_of([k] * 5, n_new=4) for k in range(1, 5)], context)

    assert all(len(step) == 1 for step in context.steps)


def test_chains_are_read_along_one_stream() -> None:
    context = FakeContext(10**6)
    chains = ((0, (5, 6)), (1, (7,)), (0, (8,)))

    run(planner(), [row_of([3] * 10, n_new=3, chains=chains)], context)

    assert context.evaluated == 10 + 4


def test_row_longer_than_a_stream_is_refused() -> None:
    with pytest.raises(ContextFullError):
        planner().submit(row_of([1] * N_ROW))


def test_cancelled_row_leaves_its_stream_usable() -> None:
    scheduler = planner(max_rows=1)
    context = FakeContext(10**6)
    scheduler.submit(row := row_of([1] * 100))
    plan = scheduler.plan()
    assert plan is not None
    context.perform(plan.operations)
    context.decode(plan.tokens, plan.positions, plan.seqs, [])
    scheduler.commit(plan)

    scheduler.finish(row)
    follower = row_of([*[1] * PIECE, 2])

    assert run(scheduler, [follower], context)[follower] == reference(follower)
    assert follower.n_evaluated == 1
    assert row.phase is Phase.DONE


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200), st.sampled_from(["", "style"])), min_size=1, max_size=9),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(0, 99),
)
@settings(max_examples=60)
def test_every_row_answers_as_it_does_alone(
    shapes: list[tuple[int, int, str]], max_rows: int, n_idle: int, n_together: int, seed: int
) -> None:
    draw = random.Random(seed)
    rows = [row_of([*[1] * (PIECE * k), *[draw.randint(1, 3) for _ in range(n)]], 3, adapter=a) for k, n, a in shapes]

    answers = run(planner(max_rows=max_rows, n_idle=n_idle, n_together=n_together), rows)

    assert all(answers[row] == reference(row) for row in rows)
