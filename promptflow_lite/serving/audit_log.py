"""The audit log as it is kept: entries in the store, the sealing key and the checkpoint beside the state folder."""

from __future__ import annotations

import getpass
import os
import secrets
import time
from pathlib import Path
from typing import Any

from promptflow_lite import settings
from promptflow_lite._utils.files import replace_file
from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.errors import AuditTamperedError
from promptflow_lite.records import AuditEntry
from promptflow_lite.serving.audit import GENESIS, AuditProblem, seal_entry, verify_chain
from promptflow_lite.store import Store


class AuditLog:
    """Writes and checks the audit log of a store.

    Args:
        store: Where entries are kept.
        home: Where the key (`audit.key`) and the checkpoint (`audit.checkpoint`) are kept; default: `PFL_HOME`.
            Replicas that share a database share the key through `PFL_AUDIT_KEY`.
    """

    def __init__(self, store: Store, home: Path | None = None) -> None:
        self._store = store
        self._home = home or settings.home()

    def write(
        self, action: str, target: str, *, before: Any = None, after: Any = None, actor: str | None = None
    ) -> None:
        """Append an entry; `actor` defaults to the user of this process."""
        key = self._key()

        def make(last: AuditEntry | None) -> AuditEntry:
            entry = AuditEntry(
                seq=1 + (last.seq if last else 0),
                at=time.time(),
                actor=actor or _user(),
                action=action,
                target=target,
                before=loads(dumps(before)),
                after=loads(dumps(after)),
            )
            return seal_entry(entry, last.seal if last else GENESIS, key)

        entry = self._store.audit.append(make)
        self._write_private("audit.checkpoint", dumps({"seq": entry.seq, "seal": entry.seal}))

    def entries(self, *, limit: int | None = 100) -> list[AuditEntry]:
        """The newest entries, newest first."""
        return self._store.audit.list(newest_first=True, limit=limit)

    def problems(self) -> list[AuditProblem]:
        """Everything that shows a change of the log; empty when it is as it was written."""
        entries = self._store.audit.list()
        if not entries and not (self._home / "audit.checkpoint").exists():
            return []

        return verify_chain(entries, self._key(), checkpoint=self._checkpoint())

    def verify(self) -> int:
        """The number of entries. Raises `AuditTamperedError` when the log was changed."""
        problems = self.problems()
        if problems:
            first = problems[0]
            raise AuditTamperedError(
                f"The audit log was changed: {len(problems)} problem(s), first at entry {first.seq}: {first.message}.",
                hint="Compare the log with a backup; entries before that one are intact.",
                problems=[f"{problem.seq}: {problem.message}" for problem in problems],
            )

        return len(self._store.audit.list())

    def _checkpoint(self) -> tuple[int, str] | None:
        try:
            data = loads((self._home / "audit.checkpoint").read_bytes())
        except (OSError, ValueError):
            return None

        return int(data["seq"]), str(data["seal"])

    def _key(self) -> bytes:
        given = settings.env("PFL_AUDIT_KEY")
        if given:
            return given.encode()

        path = self._home / "audit.key"
        if not path.exists():
            self._write_private("audit.key", secrets.token_hex(32))

        return path.read_text("ascii").strip().encode()

    def _write_private(self, name: str, text: str) -> None:
        replace_file(self._home / name, text, mode=0o600)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
