"""Which runs and which lines a list shows, as conditions of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, Float, case, cast, exists, func, literal, or_, select, true
from sqlalchemy.dialects.postgresql import JSONB

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.records import Status
from promptflow_lite.store.tables import lines, runs

View = Literal["active", "archived", "all"]

_NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs; everything that is None does not matter."""

    view: View = "active"
    status: Status | None = None
    flow: str | None = None
    """The flow's path."""
    flow_name: str | None = None
    variant: str | None = None
    """Part of the variant, or of the cell of an experiment."""
    base_runs: tuple[str, ...] | None = None
    """Only runs that read the outputs of one of these runs."""
    is_evaluation: bool | None = None
    """Only runs that read (or do not read) the outputs of another run."""
    experiment: str | None = None
    tag: str | None = None
    """Part of a tag's name or value."""
    since: float | None = None
    """Only runs created at this time or later."""
    search: str | None = None
    """Part of the name, display name, flow name, variant or tags."""

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """For the `WHERE` of a query over runs."""
        if self.view != "all":
            yield runs.c.is_archived.is_(self.view == "archived")

        equal = {"flow": self.flow, "flow_name": self.flow_name}
        yield from (runs.c[name] == value for name, value in equal.items() if value is not None)
        if self.base_runs is not None:
            yield runs.c.run.in_(self.base_runs)

        if self.status is not None:
            yield runs.c.status == self.status.value

        if self.is_evaluation is not None:
            yield runs.c.run.is_not(None) if self.is_evaluation else runs.c.run.is_(None)

        if self.experiment is not None:
            yield runs.c.properties.contains(f'"experiment":{dumps(self.experiment)}', autoescape=True)

        if self.since is not None:
            yield runs.c.created_on >= self.since

        yield from self._texts()

    def _texts(self) -> Iterator[ColumnElement[bool]]:
        if self.variant:  # the cells of an experiment are displayed as what they combine
            columns = (runs.c.variant, runs.c.display_name)
            yield or_(*(column.icontains(self.variant, autoescape=True) for column in columns))

        if self.tag:
            yield runs.c.tags.icontains(_inside(self.tag), autoescape=True)

        if self.search:
            everywhere = (runs.c.name, runs.c.display_name, runs.c.flow_name, runs.c.variant, runs.c.tags)
            yield or_(*(column.icontains(self.search, autoescape=True) for column in everywhere))


RUN_SORTS: dict[str, ColumnElement[Any]] = {
    "created": runs.c.created_on,
    "name": runs.c.name,
    "duration": func.coalesce(runs.c.end_time, runs.c.heartbeat) - runs.c.start_time,
    "failed": runs.c.failed_lines,
    "lines": runs.c.completed_lines + runs.c.failed_lines,
    "tokens": runs.c.prompt_tokens + runs.c.completion_tokens,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRange:
    """Lines that an evaluation run gave a score within bounds."""

    run: str
    """The evaluation run."""
    output: str
    low: float | None = None
    high: float | None = None
    words: Mapping[str, float] = field(default_factory=dict)
    """Texts in lower case that stand for a score."""

    def condition(self, evaluation_id: int, *, is_sqlite: bool) -> ColumnElement[bool]:
        """For the `WHERE` of a query over lines."""
        judged = lines.alias("judged")
        if is_sqlite:
            entries = func.json_each(judged.c.output)
        else:
            entries = func.jsonb_each_text(cast(judged.c.output, JSONB))
        entry = entries.table_valued("key", "value", name="entry")
        score = self._score(entry.c.value, is_sqlite=is_sqlite)
        wanted = [
            judged.c.run_id == evaluation_id,
            judged.c.line_number == lines.c.line_number,
            entry.c.key == self.output,
            score.is_not(None) if self.low is None else score >= self.low,
            *([] if self.high is None else [score <= self.high]),
        ]
        return exists(select(literal(1)).select_from(judged.join(entry, true())).where(*wanted))

    def _score(self, value: ColumnElement[Any], *, is_sqlite: bool) -> ColumnElement[Any]:
        """The number that an output holds, or that its word stands for."""
        if is_sqlite:
            is_number, number = func.typeof(value).in_(("integer", "real")), value
        else:
            is_number, number = value.op("~")(_NUMBER), cast(value, Float)

        word = func.lower(value)
        return case((is_number, number), *((word == text, literal(score, Float)) for text, score in self.words.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFilter:
    """Which lines of a run; everything that is None does not matter."""

    status: Status | None = None
    search: str | None = None
    """Text that inputs, output or error contain, in any case."""
    min_seconds: float | None = None
    """Only lines that took at least so long."""
    score: ScoreRange | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """For the `WHERE` of a query over lines; the score's needs the run's id and is made by the repository."""
        if self.status is not None:
            yield lines.c.status == self.status.value

        if self.min_seconds is not None:
            yield lines.c.end_time - lines.c.start_time >= self.min_seconds

        if self.search:
            columns = (lines.c.inputs, lines.c.output, lines.c.error)
            yield or_(*(column.icontains(_inside(self.search), autoescape=True) for column in columns))


LINE_SORTS: dict[str, ColumnElement[Any]] = {
    "line_number": lines.c.line_number,
    "status": lines.c.status,
    "duration": lines.c.end_time - lines.c.start_time,
    "tokens": lines.c.prompt_tokens + lines.c.completion_tokens,
}


def ordered(sorts: Mapping[str, ColumnElement[Any]], sort: str) -> ColumnElement[Any]:
    """The order that a name means; a leading `-` turns it round."""
    column = sorts[sort.removeprefix("-")]
    return column.desc() if sort.startswith("-") else column.asc()


def _inside(text: str) -> str:
    """A text as it stands inside a JSON text."""
    return dumps(text)[1:-1]
