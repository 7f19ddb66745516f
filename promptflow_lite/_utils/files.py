"""Files and folders that are kept: names that stay inside, content that is whole, changes that are not lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from promptflow_lite.errors import InvalidNameError

_NEW_FILE_MODE = 0o644
_SEPARATORS = frozenset("/\\:")
_LONGEST_NAME = 200


def check_name(name: str, what: str) -> str:
    """The name itself, when a folder of that name lies inside the folder where it is made.

    Raises:
        InvalidNameError: it is empty, too long, or leads elsewhere.
    """
    is_odd = name != name.strip() or name.startswith(".") or set(name) & _SEPARATORS or not name.isprintable()
    if not name or is_odd or len(os.fsencode(name)) > _LONGEST_NAME:
        raise InvalidNameError(
            f"{name[:100]!r} is no name for {what}.", hint="Use letters, digits, '-' and '_'.", name=name
        )

    return name


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """A draft beside a file that takes its place when the block ends well; else the file stays as it was.

    Args:
        path: The file; what is no regular file, such as `/dev/stdout`, is written directly.
        mode: Permissions of the file; default: those it has, or 0644 when it is new.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        yield target
        return

    if mode is None:
        mode = target.stat().st_mode & 0o777 if target.exists() else _NEW_FILE_MODE
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
    os.close(descriptor)
    draft = Path(name)
    try:
        yield draft
        _flush(draft)
        draft.chmod(mode)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def replace_file(path: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Give a file new content at once: a crash or a full disk leaves the old or the new one."""
    with replacing(path, mode=mode) as draft:
        draft.write_bytes(content if isinstance(content, bytes) else content.encode())


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Keep other processes from changing a file between reading and writing it, where the system can.

    Its folder is what is locked, so that nothing is left beside it; blocks for files of one folder must not nest.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
