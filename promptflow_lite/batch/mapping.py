"""Column mapping: which value of a line's sources goes into which flow input; compiled once, applied to every line."""

from __future__ import annotations

import copy
import functools
import logging
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from promptflow_lite.batch.lines import LINE_NUMBER
from promptflow_lite.errors import ApplyInputMappingError, InputNotFound, ValidationException
from promptflow_lite.flow.model import InputSpec

_logger = logging.getLogger(__name__)
_REFERENCE = re.compile(r"\$\{([^{}]+)}")
_Sources = Mapping[str, Mapping[str, Any]]


class ColumnMapping:
    """A compiled mapping.

    Args:
        mapping: Flow input -> `${data.column}`, `${run.inputs.column}`, `${run.outputs.name}` or a literal; laid over
            the default, which maps `${data.<input>}` to every flow input without a default value.
        inputs: The flow's inputs; None when they are not known, then all columns of `data` are passed.
        sources: Names of the sources that lines have.
        columns: Every column of a source, over all its rows; asked once when a row lacks one. A column that some rows
            have is None in the others. Without it, each row must have every column.

    Raises:
        InputNotFound: the flow has no inputs.
        ValidationException: the mapping refers to no source at all.
    """

    def __init__(
        self,
        mapping: Mapping[str, Any] | None,
        inputs: Mapping[str, InputSpec] | None,
        sources: Collection[str],
        columns: Callable[[str], Collection[str]] = lambda source: (),
    ) -> None:
        if inputs is not None and not inputs:
            raise InputNotFound(
                "The input for flow cannot be empty in batch mode.", hint="Declare at least one input in the flow."
            )

        if not mapping:
            _logger.warning("Starting run without column mapping may lead to unexpected results.")
        elif not any(isinstance(value, str) and value.startswith("$") for value in mapping.values()):
            raise ValidationException(
                "Column mapping must contain at least one mapping binding, "
                f"current column mapping contains all static values: {dict(mapping)}",
                hint="Bind at least one input to a column, such as ${data.question}.",
            )

        self._columns = functools.cache(columns)
        self._passes_everything = inputs is None and not mapping
        defaults = {n: f"${{data.{n}}}" for n, spec in (inputs or {}).items() if spec.default is None}
        self._defaulted = {n for n, spec in (inputs or {}).items() if spec.default is not None} - set(mapping or ())
        """Inputs that keep their default; warned about once if the data has a column of that name."""
        self._literals: dict[str, Any] = {}
        self._mutable_literals: dict[str, Any] = {}
        self._bindings: list[tuple[str, str, str]] = []
        self._choices: list[tuple[str, str, list[tuple[str, str]]]] = []
        """Input, reference and every way to read it, where there is not exactly one way."""
        for name, value in {**defaults, **(mapping or {})}.items():
            if name != LINE_NUMBER:
                self._compile(name, value, sources)

    def _compile(self, name: str, value: Any, sources: Collection[str]) -> None:
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            target = self._mutable_literals if isinstance(value, dict | list) else self._literals
            target[name] = value
            return

        parts = match[1].split(".")
        splits = ((".".join(parts[:i]), ".".join(parts[i:])) for i in range(1, len(parts)))
        ways = [(source, key) for source, key in splits if source in sources]
        if len(ways) == 1:
            self._bindings.append((name, *ways[0]))
        else:
            self._choices.append((name, value, ways))

    def apply(self, line: _Sources, line_number: int | None = None) -> dict[str, Any]:
        """The flow inputs of a line, with `line_number` added if given.

        Raises:
            ApplyInputMappingError: a source lacks a column; names all of them.
        """
        if self._defaulted:
            self._warn_of_ignored_columns(line.get("data", {}))

        values = dict(line["data"]) if self._passes_everything else dict(self._literals)
        for name, value in self._mutable_literals.items():
            values[name] = copy.deepcopy(value)
        try:
            for name, source, key in self._bindings:
                values[name] = line[source][key]
        except KeyError:
            self._check_columns(line)
            values.update({name: line[source].get(key) for name, source, key in self._bindings})
        for name, _, ways in self._choices:
            found = [(source, key) for source, key in ways if key in line[source]]
            if not found:
                self._check_columns(line)
                found = ways

            source, key = found[0]
            values[name] = line[source].get(key)
        if line_number is not None:
            values[LINE_NUMBER] = line_number
        return values

    def _warn_of_ignored_columns(self, columns: Collection[str]) -> None:
        for name in sorted(self._defaulted.intersection(columns)):
            _logger.warning(
                "Column %r of the data is not used: the input of that name has a default. To use it, map it: "
                "--column-mapping %s='${data.%s}'",
                name,
                name,
                name,
            )
        self._defaulted = set()

    def _check_columns(self, line: _Sources) -> None:
        """Refuse references to columns that no row has."""

        def is_known(source: str, key: str) -> bool:
            return key in line[source] or key in self._columns(source)

        missing = [f"${{{source}.{key}}}" for _, source, key in self._bindings if not is_known(source, key)]
        missing += [ref for _, ref, ways in self._choices if not any(is_known(*way) for way in ways)]
        if not missing:
            return

        columns = {source: ", ".join(map(str, row)) for source, row in line.items()}
        known = "; ".join(f"{source} has the columns {names}" for source, names in columns.items())
        raise ApplyInputMappingError(
            "The input for batch run is incorrect. Couldn't find these mapping relations: "
            f"{', '.join(missing)}. Please make sure your input mapping keys and values match your YAML input section "
            "and input data.",
            hint=f"{known[:1].upper()}{known[1:]}.",
            invalid_relations=", ".join(missing),
        )
