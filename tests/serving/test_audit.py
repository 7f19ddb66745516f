"""The audit log's chain shows every kind of change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from promptflow_lite.records import AuditEntry
from promptflow_lite.serving.audit import GENESIS, seal_entry, verify_chain

KEY = b"k" * 32


def log(n: int = 4) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    previous = GENESIS
    for seq in range(1, n + 1):
        entry = AuditEntry(seq=seq, at=float(seq), actor="ann", action="key.create", target=f"k{seq}", after={"n": seq})
        entries.append(seal_entry(entry, previous, KEY))
        previous = entries[-1].seal
    return entries


def test_an_untouched_log_has_no_problems() -> None:
    entries = log()

    assert verify_chain(entries, KEY, checkpoint=(4, entries[3].seal)) == []
    assert verify_chain([], KEY) == []


def resealed_with_another_key(entries: list[AuditEntry]) -> list[AuditEntry]:
    forged = seal_entry(replace(entries[1], actor="eve"), entries[0].seal, b"other" * 8)
    return [entries[0], forged, *entries[2:]]


@pytest.mark.parametrize(
    "tamper",
    [
        lambda e: [e[0], replace(e[1], actor="eve"), *e[2:]],
        lambda e: [e[0], replace(e[1], after={"n": 99}), *e[2:]],
        lambda e: [e[0], replace(e[1], at=0.0), *e[2:]],
        lambda e: [e[0], *e[2:]],
        lambda e: [e[0], e[2], e[1], e[3]],
        lambda e: e[1:],
        lambda e: [replace(entry, seq=i) for i, entry in enumerate([e[0], *e[2:]], 1)],
        resealed_with_another_key,
    ],
    ids=["actor", "content", "time", "deleted", "reordered", "first-deleted", "renumbered", "forged-seal"],
)
def test_every_change_shows(tamper: Callable[[list[AuditEntry]], list[AuditEntry]]) -> None:
    assert verify_chain(tamper(log()), KEY)


def test_a_log_cut_at_its_end_misses_its_checkpoint() -> None:
    entries = log()

    assert verify_chain(entries[:-1], KEY) == []
    assert verify_chain(entries[:-1], KEY, checkpoint=(4, entries[3].seal))
    assert verify_chain([], KEY, checkpoint=(4, entries[3].seal))
