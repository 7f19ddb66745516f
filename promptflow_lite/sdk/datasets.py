"""Data sets: rows under a name, every version kept by its content, with where it came from."""

from __future__ import annotations

import builtins
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.files import changing, check_name, replace_file
from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.batch.data import DataFile
from promptflow_lite.errors import DataError, Location
from promptflow_lite.evals import datasets
from promptflow_lite.settings import home

if TYPE_CHECKING:
    from promptflow_lite.sdk.evaluations import EvaluationOperations
    from promptflow_lite.store import Store

_INDEX = "versions.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """One version of a data set."""

    name: str
    version: str
    """Digest of the rows."""
    rows: int
    columns: list[str]
    created_on: float
    source: str
    """Where the rows came from: a file, a run, a sample of another set."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """What made them: seed, column, share …"""


class DatasetOperations:
    """Keeps data sets in `PFL_HOME/datasets`.

    Args:
        store: Where runs are read from.
        evaluations: Scores of runs.
    """

    def __init__(self, store: Store, evaluations: EvaluationOperations) -> None:
        self._store = store
        self._evaluations = evaluations

    @property
    def folder(self) -> Path:
        return home() / "datasets"

    # --- keep ---

    def import_file(self, path: str | Path, name: str | None = None) -> DatasetVersion:
        """Take over a data file as the newest version of a set; equal rows make no new version."""
        return self.add(name or Path(path).stem, list(DataFile(path)), source=str(Path(path).absolute()))

    def add(
        self,
        name: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        source: str,
        parameters: Mapping[str, Any] | None = None,
    ) -> DatasetVersion:
        """Keep rows under a name.

        Raises:
            DataError: no rows, or a name with an `@`.
            InvalidNameError: a name that is no file name.
        """
        if not rows:
            raise DataError("A data set needs at least one row.")

        if "@" in check_name(name, "a data set"):
            raise DataError(f"{name!r} is no name for a data set.", hint="What follows an '@' is a version.")

        with changing(self.folder / name):
            return self._add(name, rows, source, dict(parameters or {}))

    def _add(
        self, name: str, rows: Sequence[Mapping[str, Any]], source: str, parameters: dict[str, Any]
    ) -> DatasetVersion:
        version = datasets.version_of(rows)
        known = self.versions(name) if (self.folder / name).is_dir() else []
        found = next((item for item in known if item.version == version), None)
        made = found or DatasetVersion(
            name=name,
            version=version,
            rows=len(rows),
            columns=list(dict.fromkeys(column for row in rows for column in row)),
            created_on=time.time(),
            source=source,
            parameters=parameters,
        )
        others = [item for item in known if item.version != version]
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / f"{version}.jsonl", "".join(dumps(dict(row)) + "\n" for row in rows))
        replace_file(folder / _INDEX, dumps([asdict(item) for item in [*others, made]], indent=True))
        return made

    def from_run(
        self, run: str, name: str, *, metric: str | None = None, below: float | None = None, only_failed: bool = False
    ) -> DatasetVersion:
        """Make a set of a run's rows: those that failed, or scored badly, become a test set.

        Args:
            run: The run.
            name: Of the new set.
            metric: Keep rows whose score of this metric is below `below` (default: below the best score).
            below: The limit.
            only_failed: Keep rows without an output only.
        Raises:
            DataError: no row is left.
        """
        scores = self._evaluations.scores(run, metrics=[metric] if metric else ())
        wanted = set(scores.failed)
        if metric is not None:
            values = scores.metrics[0].scores if scores.metrics else {}
            limit = below if below is not None else max(values.values(), default=0.0)
            wanted |= {row for row, value in values.items() if value < limit}
        elif not only_failed:
            wanted = set(scores.rows)

        raw = self._raw_rows(run)
        rows = [
            {**raw.get(row, {}), **scores.inputs.get(row, {}), "source_run": run, "source_line": row}
            for row in sorted(wanted)
        ]
        if not rows:
            raise DataError(f"No row of run {run!r} is left.", hint="Name a --metric, or ask for fewer conditions.")

        parameters = {"metric": metric, "below": below, "only_failed": only_failed}
        return self.add(name, rows, source=f"run {run}", parameters=parameters)

    def _raw_rows(self, run: str) -> dict[int, dict[str, Any]]:
        record = self._store.runs.get(run)
        if not record.data or not Path(record.data).exists():
            return {}

        return {row.get("line_number", index): row for index, row in enumerate(DataFile(record.data))}

    # --- look ---

    def list(self) -> builtins.list[DatasetVersion]:
        """The newest version of every set."""
        if not self.folder.is_dir():
            return []

        return [self.versions(path.name)[-1] for path in sorted(self.folder.iterdir()) if (path / _INDEX).is_file()]

    def versions(self, name: str) -> builtins.list[DatasetVersion]:
        """All versions, the newest last.

        Raises:
            DataError: there is no such set, or its list of versions is damaged.
        """
        index = self.folder / name / _INDEX
        if not index.is_file():
            known = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
            raise DataError(f"There is no data set {name!r}.", hint=did_you_mean(name, known))

        try:
            return [DatasetVersion(**item) for item in loads(index.read_text("utf-8"))]
        except (ValueError, TypeError) as error:
            raise DataError(
                f"The versions of data set {name!r} cannot be read: {error}",
                hint="Restore the file, or remove it and import the rows beside it again.",
                where=Location(str(index)),
            ) from error

    def get(self, reference: str) -> DatasetVersion:
        """A version by `name` (the newest) or `name@version` (a prefix is enough).

        Raises:
            DataError: there is none, or several fit.
        """
        name, _, version = reference.partition("@")
        fitting = [item for item in self.versions(name) if item.version.startswith(version)]
        if version and len(fitting) != 1:
            raise DataError(f"{len(fitting)} versions of {name!r} begin with {version!r}.")

        return fitting[-1]

    def path(self, reference: str) -> Path:
        """The file of a version, to use as `--data`."""
        found = self.get(reference)
        return self.folder / found.name / f"{found.version}.jsonl"

    def rows(self, reference: str) -> builtins.list[dict[str, Any]]:
        """Rows of a set, or of a data file when there is one at that path."""
        path = Path(reference)
        return [*DataFile(path if path.exists() else self.path(reference))]

    # --- make ---

    def sample(
        self, reference: str, n: int, *, name: str | None = None, by: str | None = None, seed: int = 0
    ) -> DatasetVersion:
        """Keep a random sample as a set of its own."""
        rows = datasets.sample(self.rows(reference), n, by=by, seed=seed)
        parameters = {"n": n, "by": by, "seed": seed}
        return self.add(name or f"{_stem(reference)}-{n}", rows, source=f"sample of {reference}", parameters=parameters)

    def split(
        self,
        reference: str,
        shares: Mapping[str, float],
        *,
        by: str | None = None,
        group: str | None = None,
        seed: int = 0,
    ) -> dict[str, DatasetVersion]:
        """Keep the parts of a split as sets `name-part`."""
        parts = datasets.split(self.rows(reference), shares, by=by, group=group, seed=seed)
        parameters = {"shares": dict(shares), "by": by, "group": group, "seed": seed}
        return {
            part: self.add(f"{_stem(reference)}-{part}", rows, source=f"split of {reference}", parameters=parameters)
            for part, rows in parts.items()
        }

    def diff(self, before: str, after: str) -> datasets.Difference:
        """What changed between two sets, versions or files."""
        return datasets.diff(self.rows(before), self.rows(after))

    def leaks(
        self, examples: str, reference: str, *, column: str, near: float = datasets.NEAR
    ) -> builtins.list[datasets.Match]:
        """Rows of a set that occur among few-shot examples: rows of another set, or lines of a text file."""
        path = Path(examples)
        is_text = path.is_file() and path.suffix not in (".jsonl", ".csv", ".tsv", ".json", ".parquet")
        texts = path.read_text("utf-8").splitlines() if is_text else _column(self.rows(examples), column)
        return datasets.leaks(
            [text for text in texts if text.strip()], _column(self.rows(reference), column), near=near
        )

    def duplicates(self, reference: str, *, column: str, near: float = datasets.NEAR) -> builtins.list[datasets.Match]:
        """Rows of a set that say (nearly) the same as an earlier one."""
        return datasets.duplicates(_column(self.rows(reference), column), near=near)


def _stem(reference: str) -> str:
    return Path(reference).stem if Path(reference).exists() else reference.partition("@")[0]


def _column(rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    if rows and not any(column in row for row in rows):
        raise DataError(f"No row has a column {column!r}.", hint=f"Columns are: {', '.join(rows[0])}.")

    return [str(row.get(column, "")) for row in rows]
