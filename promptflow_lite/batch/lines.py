"""Several sources joined line by line, streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from promptflow_lite.batch.data import DataFile
from promptflow_lite.errors import DataError, EmptyInputsData, InputMappingError, Location

LINE_NUMBER = "line_number"
Source = Iterable[Mapping[str, Any]]


class Lines:
    """Sources joined line by line; iterates over `(line number, {source: row})` and can be iterated again.

    A source whose rows have a `line_number` is joined on it, others by position. Lines that a source lacks are left
    out.

    Args:
        sources: Name (`data`, `run.inputs`, `run.outputs`) -> rows, iterable more than once.

    Raises:
        EmptyInputsData: the only source has no rows.
        InputMappingError: a source is empty, or sources without line numbers differ in length.
        DataError: a `line_number` is no whole number, or occurs twice.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = dict(sources)
        surveys = {name: _survey(source) for name, source in self._sources.items()}
        self._check(surveys)
        self._unordered = {name for name, survey in surveys.items() if not survey.is_ordered}
        alone = next(iter(surveys.values())).count if len(surveys) == 1 else None
        self.total = alone if alone is not None else sum(1 for _ in self)
        """Number of lines."""
        if not self.total:
            raise InputMappingError(
                "Could not find one complete line on the provided input.",
                hint="The sources have no line number in common.",
                sources=", ".join(self._sources),
            )

    @property
    def source_names(self) -> list[str]:
        """Names of the sources that every line has."""
        return list(self._sources)

    def columns(self, name: str) -> frozenset[str]:
        """The columns that any row of a source has; reads the source once."""
        return columns(self._sources[name])

    def __iter__(self) -> Iterator[tuple[int, dict[str, Mapping[str, Any]]]]:
        if len(self._sources) == 1:
            ((name, source),) = self._sources.items()
            for number, row in _numbered(source):
                yield number, {name: row}
            return

        cursors = {n: _ordered(s) if n in self._unordered else _numbered(s) for n, s in self._sources.items()}
        yield from _merged(cursors)

    @staticmethod
    def _check(surveys: Mapping[str, _Survey]) -> None:
        empty = [name for name, survey in surveys.items() if survey.count == 0]
        if empty and len(surveys) == 1:
            raise EmptyInputsData(
                "Couldn't find any inputs data at the given input paths.", hint="Check that the data file has rows."
            )

        if empty:
            raise InputMappingError(
                f"Input from key {empty[0]!r} is an empty list, which means no line can be generated.",
                hint="Check that the data file has rows, or that the base run has completed lines.",
            )

        lengths = {name: survey.count for name, survey in surveys.items() if not survey.has_numbers}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} has {count}" for name, count in lengths.items())
            raise InputMappingError(
                f"Line numbers are not aligned: {shown} rows.",
                hint="Give the rows a line_number column, or make the sources equally long.",
            )


def columns(source: Source) -> frozenset[str]:
    """The columns that any row of a source has."""
    return frozenset(key for row in source for key in row)


class _Survey:
    """What one pass over a source tells."""

    __slots__ = ("count", "has_numbers", "is_ordered")

    def __init__(self, count: int, *, has_numbers: bool, is_ordered: bool) -> None:
        self.count = count
        self.has_numbers = has_numbers
        self.is_ordered = is_ordered


def _survey(source: Source) -> _Survey:
    first = next(iter(source), None)
    if first is None:
        return _Survey(0, has_numbers=False, is_ordered=True)

    if LINE_NUMBER not in first:
        count = source.count() if isinstance(source, DataFile) else sum(1 for _ in source)
        return _Survey(count, has_numbers=False, is_ordered=True)

    count, last, is_ordered = 0, -1, True
    for number, _ in _numbered(source):
        is_ordered = is_ordered and number > last
        last = number
        count += 1
    if not is_ordered:
        _check_unique(source)
    return _Survey(count, has_numbers=True, is_ordered=is_ordered)


def _check_unique(source: Source) -> None:
    seen: set[int] = set()
    for number, _ in _numbered(source):
        if number in seen:
            raise DataError(
                f"The line_number {number} occurs more than once.",
                hint="Make the line_number column unique, or remove it.",
                where=_place(source),
            )

        seen.add(number)


def _numbered(source: Source) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for position, row in enumerate(source):
        number = row.get(LINE_NUMBER, position)
        yield (number if type(number) is int else _line_number(number, position, source)), row


def _line_number(value: Any, position: int, source: Source) -> int:
    try:
        if isinstance(value, bool) or float(value) != int(value):
            raise ValueError

        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"Row {position} has the line_number {value!r}, which is no whole number.",
            hint="Correct or remove the line_number column.",
            where=_place(source),
        ) from None


def _place(source: Source) -> Location | None:
    return Location(str(source.path)) if isinstance(source, DataFile) else None


def _ordered(source: Source) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows by line number, for a source that is out of order: held in memory."""
    return iter(sorted(_numbered(source), key=lambda pair: pair[0]))


def _merged(
    cursors: Mapping[str, Iterator[tuple[int, Mapping[str, Any]]]],
) -> Iterator[tuple[int, dict[str, Mapping[str, Any]]]]:
    """Merge join of cursors that are in order of line number."""
    heads: dict[str, tuple[int, Mapping[str, Any]]] = {}
    while True:
        for name, cursor in cursors.items():
            if name not in heads:
                head = next(cursor, None)
                if head is None:
                    return

                heads[name] = head
        highest = max(number for number, _ in heads.values())
        behind = [name for name, (number, _) in heads.items() if number < highest]
        if not behind:
            yield highest, {name: row for name, (_, row) in heads.items()}
            behind = list(heads)
        for name in behind:
            del heads[name]
