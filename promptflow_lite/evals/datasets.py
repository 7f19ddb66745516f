"""Operations on rows of data: content versions, stratified samples and splits, differences, duplicates and leaks."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptflow_lite._utils.hashing import content_key
from promptflow_lite._utils.imports import require
from promptflow_lite.errors import DataError

Row = dict[str, Any]

NEAR = 0.9
"""Two texts with at least this similarity count as near duplicates."""

_CANDIDATE_WORDS = 4


def version_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """A version that depends on the rows and their order alone."""
    return content_key([dict(row) for row in rows])[:12]


def row_key(row: Mapping[str, Any]) -> str:
    """What makes two rows the same row: their content."""
    return content_key({name: value for name, value in row.items() if name != "line_number"})


def sample(rows: Sequence[Row], n: int, *, by: str | None = None, seed: int = 0) -> list[Row]:
    """A random sample in the order of the rows; with `by`, every value of the column keeps its share.

    Raises:
        DataError: fewer rows than asked for, or a column that no row has.
    """
    if n > len(rows):
        raise DataError(f"A sample of {n} rows needs {n} rows; there are {len(rows)}.")

    rng = random.Random(seed)
    chosen: list[int] = []
    for indexes, count in _shares(_strata(rows, by), n):
        chosen += rng.sample(indexes, count)

    return [rows[index] for index in sorted(chosen)]


def split(
    rows: Sequence[Row], shares: Mapping[str, float], *, by: str | None = None, group: str | None = None, seed: int = 0
) -> dict[str, list[Row]]:
    """Split rows at random into named parts; every row is in exactly one.

    Args:
        rows: What to split.
        shares: Name -> fraction; they sum to one.
        by: Column whose values keep their share in every part.
        group: Column whose rows with one value stay together (turns of a conversation, questions on a document).
        seed: Same seed, same split.
    Raises:
        DataError: the fractions do not sum to one, or a column that no row has.
    """
    if abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values(), default=0) < 0:
        raise DataError(f"The parts of a split sum to 1; got {dict(shares)}.")

    rng = random.Random(seed)
    part_of: dict[int, str] = {}
    for stratum in _strata(rows, by):
        units = _groups(rows, stratum, group)
        rng.shuffle(units)
        _deal(units, shares, part_of)

    return {name: [row for index, row in enumerate(rows) if part_of[index] == name] for name in shares}


def _deal(units: Sequence[Sequence[int]], shares: Mapping[str, float], part_of: dict[int, str]) -> None:
    """Give each unit to the part that lacks most of its share."""
    total = sum(len(unit) for unit in units)
    missing = {name: share * total for name, share in shares.items()}
    for unit in units:
        name = max(missing, key=lambda part: missing[part])
        missing[name] -= len(unit)
        part_of.update(dict.fromkeys(unit, name))


def _strata(rows: Sequence[Row], by: str | None) -> list[list[int]]:
    if by is None:
        return [list(range(len(rows)))]

    _require_column(rows, by)
    strata: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        strata.setdefault(str(row.get(by)), []).append(index)

    return [strata[value] for value in sorted(strata)]


def _groups(rows: Sequence[Row], indexes: Sequence[int], group: str | None) -> list[list[int]]:
    if group is None:
        return [[index] for index in indexes]

    _require_column(rows, group)
    groups: dict[str, list[int]] = {}
    for index in indexes:
        groups.setdefault(str(rows[index].get(group)), []).append(index)

    return list(groups.values())


def _require_column(rows: Sequence[Row], column: str) -> None:
    if rows and not any(column in row for row in rows):
        known = sorted({name for row in rows for name in row})
        raise DataError(f"No row has a column {column!r}.", hint=f"Columns are: {', '.join(known)}.")


def _shares(strata: Sequence[Sequence[int]], n: int) -> list[tuple[Sequence[int], int]]:
    """How many of each stratum: its share of n, the largest remainders rounded up."""
    total = sum(len(stratum) for stratum in strata) or 1
    exact = [len(stratum) * n / total for stratum in strata]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(strata)), key=lambda i: counts[i] - exact[i])
    for index in by_remainder[: n - sum(counts)]:
        counts[index] += 1

    return list(zip(strata, counts, strict=True))


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two versions."""

    added: list[Row]
    removed: list[Row]
    n_same: int


def diff(before: Sequence[Row], after: Sequence[Row]) -> Difference:
    """Rows that one version has and the other lacks, counted with repetition."""
    left, right = Counter(map(row_key, before)), Counter(map(row_key, after))
    return Difference(
        added=_only(after, right - left), removed=_only(before, left - right), n_same=(left & right).total()
    )


def _only(rows: Sequence[Row], counts: Counter[str]) -> list[Row]:
    left = Counter(counts)
    found = []
    for row in rows:
        key = row_key(row)
        if left[key] > 0:
            left[key] -= 1
            found.append(row)

    return found


# --- duplicates and leaks ---


@dataclass(frozen=True, slots=True)
class Match:
    """Two texts that say nearly the same."""

    left: int
    """Position on the left side."""
    right: int
    similarity: float
    """1 for equal texts after normalising case, spaces and punctuation."""


def duplicates(texts: Sequence[str], *, near: float = NEAR) -> list[Match]:
    """Pairs of (near) equal texts, each right one reported with its first partner on the left."""
    return _matches(list(enumerate(texts)), list(enumerate(texts)), near, is_same_side=True)


def leaks(examples: Sequence[str], rows: Sequence[str], *, near: float = NEAR) -> list[Match]:
    """Rows of a test set that occur (nearly) among the examples of a prompt."""
    return _matches(list(enumerate(examples)), list(enumerate(rows)), near, is_same_side=False)


def _matches(
    left: Sequence[tuple[int, str]], right: Sequence[tuple[int, str]], near: float, *, is_same_side: bool
) -> list[Match]:
    similarity = require("rapidfuzz.fuzz", extra="eval", feature="Finding near duplicates").ratio
    normal = {index: _normal(text) for index, text in left}
    by_word: dict[str, list[int]] = {}
    rarity = Counter(word for text in normal.values() for word in set(text.split()))
    for index, text in normal.items():
        for word in _rare_words(text, rarity):
            by_word.setdefault(word, []).append(index)

    found = []
    for position, text in right:
        own = _normal(text)
        candidates = dict.fromkeys(i for word in set(own.split()) for i in by_word.get(word, ()))
        scored = [(similarity(normal[i], own) / 100, -i) for i in candidates if not is_same_side or i < position]
        best = max(scored, default=(0.0, 0))
        if best[0] >= near:
            found.append(Match(-best[1], position, round(best[0], 4)))

    return found


def _rare_words(text: str, rarity: Mapping[str, int]) -> list[str]:
    """The rarest words of a text: a near copy shares at least one of them."""
    return sorted(set(text.split()), key=lambda word: (rarity[word], word))[:_CANDIDATE_WORDS]


def _normal(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())
