"""The audit log's hash chain: each entry seals the one before it, so that a change anywhere shows.

Entries are sealed with HMAC-SHA256 under a key that lies outside the database: who can write rows cannot forge a chain.
A checkpoint (count and last seal) beside the key shows a log that was cut at its end.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson

from promptflow_lite.records import AuditEntry

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """Where the log and its seals disagree."""

    seq: int
    message: str


def seal_entry(entry: AuditEntry, previous: str, key: bytes) -> AuditEntry:
    """The entry linked to the seal before it, and sealed."""
    linked = replace(entry, previous=previous, seal="")
    return replace(linked, seal=_seal(linked, key))


def verify_chain(
    entries: Iterable[AuditEntry], key: bytes, *, checkpoint: tuple[int, str] | None = None
) -> list[AuditProblem]:
    """Every disagreement, in order; empty when the log is as it was written.

    Args:
        entries: The whole log by `seq`.
        key: The sealing key.
        checkpoint: A `(seq, seal)` that the log must contain.
    """
    problems: list[AuditProblem] = []
    previous, expected_seq = GENESIS, 1
    seal_by_seq: dict[int, str] = {}
    for entry in entries:
        if entry.seq != expected_seq:
            problems.append(AuditProblem(entry.seq, f"entry {expected_seq} is missing or out of order"))

        if not hmac.compare_digest(entry.previous, previous):
            problems.append(AuditProblem(entry.seq, "it does not follow the entry before it"))

        if not hmac.compare_digest(entry.seal, _seal(entry, key)):
            problems.append(AuditProblem(entry.seq, "its content was changed"))

        previous, expected_seq = entry.seal, entry.seq + 1
        seal_by_seq[entry.seq] = entry.seal
    if checkpoint and seal_by_seq.get(checkpoint[0]) != checkpoint[1]:
        problems.append(AuditProblem(checkpoint[0], "the log ends before, or differs from, its checkpoint"))

    return problems


def _seal(entry: AuditEntry, key: bytes) -> str:
    content = {
        "seq": entry.seq,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "before": entry.before,
        "after": entry.after,
        "previous": entry.previous,
    }
    return hmac.new(key, orjson.dumps(content, option=orjson.OPT_SORT_KEYS), hashlib.sha256).hexdigest()
