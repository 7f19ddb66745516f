"""Runs and their lines: takes and returns records only."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from sqlalchemy import Connection, Insert, delete, func, insert, literal, null, select, update

from promptflow_lite._utils.files import check_name
from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import RunExistsError, RunInterruptedError, RunNotFoundError, error_to_dict
from promptflow_lite.records import LineResult, NodeResult, RunRecord, Status
from promptflow_lite.records.data import node_from_data, node_to_data
from promptflow_lite.store.database import Database
from promptflow_lite.store.filters import LINE_SORTS, RUN_SORTS, LineFilter, RunFilter, View, ordered
from promptflow_lite.store.liveness import is_alive, process_identity
from promptflow_lite.store.rows import (
    LINE_COLUMNS,
    RUN_FIELDS,
    line_from_row,
    line_to_row,
    run_from_row,
    run_values,
)
from promptflow_lite.store.tables import aggregations, lines, runs

_UNFINISHED = tuple(status.value for status in Status if not status.is_final)
_LINE_COLUMNS = tuple(lines.c[name] for name in LINE_COLUMNS)
_WITHOUT_STEPS = tuple(null().label("nodes") if name == "nodes" else lines.c[name] for name in LINE_COLUMNS)


class RunRepository:
    """Runs and lines of one database.

    Thread: safe. Every method is its own short transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._upsert_lines = _upsert(database.insert(lines), ("run_id", "line_number"), LINE_COLUMNS)
        self._upsert_aggregations = _upsert(
            database.insert(aggregations), ("run_id", "node"), ("run_id", "node", "position", "result")
        )
        self._upsert_lines_sql = str(self._upsert_lines.compile(dialect=database.engine.dialect))

    # --- runs ---

    def create(self, record: RunRecord) -> None:
        """Add a run.

        Raises:
            InvalidNameError: the run's folder cannot have that name.
            RunExistsError: the name is taken.
        """
        check_name(record.name, "a run")
        values = run_values({name: getattr(record, name) for name in RUN_FIELDS})
        values["process"] = process_identity(record.pid) if record.pid else None
        with self._database.write() as connection:
            taken = connection.execute(select(runs.c.id).where(runs.c.name == record.name)).first()
            if taken:
                raise RunExistsError(
                    f"Run {record.name!r} already exists.",
                    hint="Choose another name, or delete the run.",
                    run=record.name,
                )

            connection.execute(insert(runs).values(values))

    def get(self, name: str) -> RunRecord:
        """The run of that name.

        Raises:
            RunNotFoundError: there is none.
        """
        self._reap_interrupted()
        with self._database.read() as connection:
            row = connection.execute(select(runs).where(runs.c.name == name)).mappings().first()
            if row is None:
                raise self._not_found(connection, name)

        return run_from_row(dict(row))

    def exists(self, name: str) -> bool:
        with self._database.read() as connection:
            return connection.execute(select(runs.c.id).where(runs.c.name == name)).first() is not None

    def list(
        self,
        max_results: int | None = 50,
        view: View = "active",
        *,
        status: Status | None = None,
        flow: str | None = None,
        base_run: str | None = None,
        search: str | None = None,
        experiment: str | None = None,
    ) -> builtins.list[RunRecord]:
        """Runs, newest first.

        Args:
            max_results: At most so many; None for all.
            view: Which of the active and archived runs.
            status: Only runs in this status.
            flow: Only runs of this flow path.
            base_run: Only runs that read the outputs of this run.
            search: Part of the name, display name, flow name, variant or tags.
            experiment: Only runs of this experiment.
        """
        wanted = RunFilter(
            view=view,
            status=status,
            flow=flow,
            base_runs=None if base_run is None else (base_run,),
            search=search,
            experiment=experiment,
        )
        return self.page(wanted, limit=max_results)[0]

    def page(
        self, wanted: RunFilter, *, limit: int | None = 50, offset: int = 0, sort: str = "-created"
    ) -> tuple[builtins.list[RunRecord], int]:
        """One page of runs, and how many runs match.

        Args:
            wanted: Which runs.
            limit: Runs on a page; None for all.
            offset: Runs before the page.
            sort: `created`, `name`, `duration`, `failed`, `lines` or `tokens`; a leading `-` turns the order round.
        """
        self._reap_interrupted()
        conditions = list(wanted.conditions())
        query = select(runs).where(*conditions).order_by(ordered(RUN_SORTS, sort), runs.c.id.desc())
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(runs).where(*conditions)).scalar_one()
            found = connection.execute(query.limit(limit).offset(offset)).mappings().all()

        return [run_from_row(dict(row)) for row in found], total

    def flow_names(self) -> builtins.list[str]:
        """The names of flows that ran."""
        query = select(runs.c.flow_name).where(runs.c.flow_name.is_not(None)).distinct().order_by(runs.c.flow_name)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def update(self, name: str, **fields: Any) -> None:
        """Set fields of a run; names are those of `RunRecord`.

        Raises:
            RunNotFoundError: there is no such run.
        """
        unknown = set(fields) - RUN_FIELDS
        if unknown:
            raise TypeError(f"RunRecord has no field {', '.join(sorted(unknown))}")

        values = run_values(fields)
        if "pid" in fields:
            values["process"] = process_identity(fields["pid"]) if fields["pid"] else None

        self._update(name, values)

    def set_metrics(self, name: str, metrics: Mapping[str, Any]) -> None:
        """Replace the metrics of a run."""
        self.update(name, metrics=dict(metrics))

    def archive(self, name: str) -> None:
        self._update(name, {"is_archived": True})

    def restore(self, name: str) -> None:
        self._update(name, {"is_archived": False})

    def delete(self, name: str) -> None:
        """Remove a run with everything recorded for it."""
        with self._database.write() as connection:
            if connection.execute(delete(runs).where(runs.c.name == name)).rowcount == 0:
                raise self._not_found(connection, name)

    def request_cancel(self, name: str) -> None:
        """Ask the process that executes the run to stop."""
        self._update(name, {"is_cancel_requested": True})

    def clear_cancel(self, name: str) -> None:
        """Forget a request to stop, before a run is resumed."""
        self._update(name, {"is_cancel_requested": False})

    def is_cancel_requested(self, name: str) -> bool:
        with self._database.read() as connection:
            return bool(connection.execute(select(runs.c.is_cancel_requested).where(runs.c.name == name)).scalar())

    def heartbeat(self, name: str) -> None:
        """Note that the run is alive."""
        self._update(name, {"heartbeat": time.time()})

    # --- lines ---

    def add_lines(self, name: str, results: Sequence[LineResult]) -> None:
        """Record lines and count them in their run, in one transaction.

        A line that is there already is replaced and counted once, so a repeated call changes nothing.
        """
        if not results:
            return

        run_id = self._run_id(name)
        rows = [line_to_row(run_id, line) for line in results]
        with self._database.write() as connection:
            before = self._recorded(connection, run_id, rows)
            self._insert_lines(connection, rows)
            self._count(connection, run_id, rows, before)

    def iter_lines(
        self,
        name: str,
        *,
        statuses: Iterable[Status] | None = None,
        after: int | None = None,
        chunk: int = 500,
        with_steps: bool = True,
    ) -> Iterator[LineResult]:
        """Lines in order of their number, read in chunks; memory does not grow with the run.

        Args:
            name: The run.
            statuses: Only lines in these statuses.
            after: Only lines with a higher number.
            chunk: Rows per query.
            with_steps: Read nodes and spans too, the larger part of a line.
        """
        run_id = self._run_id(name)
        columns = _LINE_COLUMNS if with_steps else _WITHOUT_STEPS
        query = select(*columns).where(lines.c.run_id == run_id).order_by(lines.c.line_number).limit(chunk)
        if statuses is not None:
            query = query.where(lines.c.status.in_([status.value for status in statuses]))

        last = after
        while True:
            page = query if last is None else query.where(lines.c.line_number > last)
            with self._database.read() as connection:
                rows = connection.execute(page).all()

            for row in rows:
                yield line_from_row(name, row)

            if len(rows) < chunk:
                return

            last = rows[-1].line_number

    def page_lines(
        self,
        name: str,
        wanted: LineFilter | None = None,
        *,
        limit: int = 50,
        offset: int = 0,
        sort: str = "line_number",
    ) -> tuple[builtins.list[LineResult], int]:
        """One page of lines, and how many lines match.

        Args:
            name: The run.
            wanted: Which lines; all without.
            limit: Lines on a page.
            offset: Lines before the page.
            sort: `line_number`, `status`, `duration` or `tokens`; a leading `-` turns the order round.
        """
        wanted = wanted or LineFilter()
        conditions = [lines.c.run_id == self._run_id(name), *wanted.conditions()]
        if wanted.score is not None:
            evaluation = self._run_id(wanted.score.run)
            conditions.append(wanted.score.condition(evaluation, is_sqlite=self._database.is_sqlite))

        query = select(*_LINE_COLUMNS).where(*conditions).order_by(ordered(LINE_SORTS, sort), lines.c.line_number)
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(lines).where(*conditions)).scalar_one()
            rows = connection.execute(query.limit(limit).offset(offset)).all()

        return [line_from_row(name, row) for row in rows], total

    def lines_at(self, name: str, numbers: Sequence[int]) -> dict[int, LineResult]:
        """Some lines without their nodes and spans, by number."""
        query = select(*_WITHOUT_STEPS).where(
            lines.c.run_id == self._run_id(name), lines.c.line_number.in_(list(numbers))
        )
        with self._database.read() as connection:
            return {row.line_number: line_from_row(name, row) for row in connection.execute(query)}

    def line(self, name: str, number: int) -> LineResult | None:
        """One line; None when it is not recorded."""
        run_id = self._run_id(name)
        query = select(*_LINE_COLUMNS).where(lines.c.run_id == run_id, lines.c.line_number == number)
        with self._database.read() as connection:
            row = connection.execute(query).first()

        return None if row is None else line_from_row(name, row)

    def count_lines(self, name: str) -> dict[Status, int]:
        """How many lines are recorded in each status."""
        query = (
            select(lines.c.status, func.count()).where(lines.c.run_id == self._run_id(name)).group_by(lines.c.status)
        )
        with self._database.read() as connection:
            return {Status(status): count for status, count in connection.execute(query)}

    def completed_line_numbers(self, name: str) -> set[int]:
        """Numbers of the lines that need not run again."""
        run_id = self._run_id(name)
        query = select(lines.c.line_number).where(lines.c.run_id == run_id, lines.c.status == Status.COMPLETED.value)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def copy_completed_lines(self, source: str, target: str) -> int:
        """Copy completed lines of one run into another, inside the database; returns how many."""
        source_id, target_id = self._run_id(source), self._run_id(target)
        copied = [column for column in _LINE_COLUMNS if column is not lines.c.run_id]
        wanted = select(literal(target_id), *copied).where(
            lines.c.run_id == source_id, lines.c.status == Status.COMPLETED.value
        )
        with self._database.write() as connection:
            connection.execute(insert(lines).from_select(LINE_COLUMNS, wanted))
            counted = connection.execute(
                select(
                    func.count(),
                    func.coalesce(func.sum(lines.c.prompt_tokens), 0),
                    func.coalesce(func.sum(lines.c.completion_tokens), 0),
                ).where(lines.c.run_id == target_id, lines.c.status == Status.COMPLETED.value)
            ).one()
            connection.execute(
                update(runs)
                .where(runs.c.id == target_id)
                .values(completed_lines=counted[0], prompt_tokens=counted[1], completion_tokens=counted[2])
            )
        return int(counted[0])

    # --- aggregation ---

    def add_node_results(self, name: str, results: Sequence[NodeResult]) -> None:
        """Record what aggregation nodes produced, replacing earlier results of the same nodes."""
        run_id = self._run_id(name)
        rows = [
            {"run_id": run_id, "node": node.node, "position": position, "result": dumps(node_to_data(node))}
            for position, node in enumerate(results)
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(self._upsert_aggregations, rows)

    def node_results(self, name: str) -> builtins.list[NodeResult]:
        """What aggregation nodes produced, in the order they were recorded."""
        query = select(aggregations.c.result).where(aggregations.c.run_id == self._run_id(name))
        with self._database.read() as connection:
            texts = connection.execute(query.order_by(aggregations.c.position)).scalars().all()

        return [node_from_data(loads(text)) for text in texts]

    # --- inside ---

    def _run_id(self, name: str) -> int:
        """Never remembered: another process may delete the run and make a new one of its name."""
        with self._database.read() as connection:
            found = connection.execute(select(runs.c.id).where(runs.c.name == name)).scalar()
            if found is None:
                raise self._not_found(connection, name)

        return int(found)

    def _update(self, name: str, values: Mapping[str, Any]) -> None:
        with self._database.write() as connection:
            if connection.execute(update(runs).where(runs.c.name == name).values(**values)).rowcount == 0:
                raise self._not_found(connection, name)

    def _not_found(self, connection: Connection, name: str) -> RunNotFoundError:
        recent = connection.execute(select(runs.c.name).order_by(runs.c.created_on.desc()).limit(500)).scalars()
        hint = did_you_mean(name, recent) or "No run is recorded yet."
        return RunNotFoundError(f"Run name {name!r} cannot be found.", hint=hint, run=name)

    def _recorded(
        self, connection: Connection, run_id: int, rows: Sequence[tuple[Any, ...]]
    ) -> dict[int, tuple[str, int, int]]:
        """Status and tokens of those rows that the database has already, by line number."""
        found: dict[int, tuple[str, int, int]] = {}
        columns = (lines.c.line_number, lines.c.status, lines.c.prompt_tokens, lines.c.completion_tokens)
        for start in range(0, len(rows), 500):
            numbers = [row[1] for row in rows[start : start + 500]]
            query = select(*columns).where(lines.c.run_id == run_id, lines.c.line_number.in_(numbers))
            found.update({number: (status, p, c) for number, status, p, c in connection.execute(query)})
        return found

    def _insert_lines(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        if self._database.is_sqlite:
            connection.exec_driver_sql(self._upsert_lines_sql, list(rows))
        else:
            connection.execute(self._upsert_lines, [dict(zip(LINE_COLUMNS, row, strict=True)) for row in rows])

    def _count(
        self,
        connection: Connection,
        run_id: int,
        rows: Sequence[tuple[Any, ...]],
        before: Mapping[int, tuple[str, int, int]],
    ) -> None:
        after = {row[1]: (row[2], row[9], row[10]) for row in rows}
        change = [new - old for new, old in zip(_tally(after.values()), _tally(before.values()), strict=True)]
        columns = (runs.c.completed_lines, runs.c.failed_lines, runs.c.prompt_tokens, runs.c.completion_tokens)
        values: dict[Any, Any] = {column: column + delta for column, delta in zip(columns, change, strict=True)}
        values[runs.c.heartbeat] = time.time()
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))

    def _reap_interrupted(self) -> None:
        """Mark runs whose process died as failed; what they recorded stays, and they can be resumed."""
        query = select(runs.c.id, runs.c.name, runs.c.process, runs.c.heartbeat).where(runs.c.status.in_(_UNFINISHED))
        with self._database.read() as connection:
            unfinished = connection.execute(query).all()

        for run_id, name, process, heartbeat in unfinished:
            if is_alive(process, heartbeat):
                continue

            error = RunInterruptedError(
                f"The process that executed run {name!r} ended before the run did.",
                hint=f"Continue it with: pfl run create --resume-from {quote(name)}",
                run=name,
            )
            values = {
                "status": Status.FAILED.value,
                "error": dumps(error_to_dict(error, include_debug_info=False)),
                "end_time": heartbeat,
            }
            # The process is compared again because a resumed run has a new one by now.
            is_same = (runs.c.id == run_id) & (runs.c.process == process) & runs.c.status.in_(_UNFINISHED)
            with self._database.write() as connection:
                connection.execute(update(runs).where(is_same).values(**values))


def _tally(lines_recorded: Iterable[tuple[str, int, int]]) -> tuple[int, int, int, int]:
    """Completed lines, failed lines, prompt tokens, completion tokens."""
    completed = failed = prompt = completion = 0
    for status, prompt_tokens, completion_tokens in lines_recorded:
        completed += status == "Completed"
        failed += status == "Failed"
        prompt += prompt_tokens
        completion += completion_tokens
    return completed, failed, prompt, completion


def _upsert(statement: Any, keys: Sequence[str], columns: Sequence[str]) -> Insert:
    changed = {name: statement.excluded[name] for name in columns if name not in keys}
    upsert: Insert = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    return upsert
