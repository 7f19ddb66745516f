"""Additional includes: a temporary copy of the flow's folder with the named files and folders merged in.

A symbolic link inside the flow or an include that leads out of its folder is refused: only what the yaml names is
copied.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from promptflow_lite.errors import IncludeError, Location
from promptflow_lite.flow.yaml_io import YamlDocument

_SKIPPED = frozenset([".git", ".promptflow", ".runs", ".venv", "__pycache__", "node_modules"])
_PREFIX = "pfl-flow-"
_lock = threading.Lock()
_copies: dict[Path, _Copy] = {}
"""Flow file -> its copy, those that a forked process inherited included."""


class _Copy(NamedTuple):
    fingerprint: tuple[object, ...]
    """What was copied: every file with its time and size."""
    folder: Path
    owner: int
    """The process that made it, and alone may remove it."""


def materialise(flow_file: Path, includes: Sequence[str], document: YamlDocument | None = None) -> Path:
    """The merged copy of a flow's folder; made once and again only after something changed.

    The copy is removed when the process ends, or by `release`.

    Raises:
        IncludeError: an include does not exist, or a link leads out of its folder.
    """
    folder = flow_file.parent
    sources = [_source(folder, item, _where(document, index, flow_file)) for index, item in enumerate(includes)]
    fingerprint = _fingerprint([folder, *(source.path for source in sources)])
    with _lock:
        known = _copies.get(flow_file)
        if known is not None and known.fingerprint == fingerprint and known.folder.is_dir():
            return known.folder

        copy = _build(folder, sources)
        _remove(known)
        _copies[flow_file] = _Copy(fingerprint, copy, os.getpid())
        return copy


def release(flow_file: Path) -> None:
    """Remove the merged copy of a flow, if there is one."""
    with _lock:
        _remove(_copies.pop(flow_file, None))


def _remove(copy: _Copy | None) -> None:
    if copy is not None and copy.owner == os.getpid():
        shutil.rmtree(copy.folder, ignore_errors=True)


def check_includes(
    flow_file: Path, includes: Sequence[str], document: YamlDocument | None = None
) -> Iterator[IncludeError]:
    """What is wrong with the includes, without copying anything."""
    for index, item in enumerate(includes):
        try:
            source = _source(flow_file.parent, item, _where(document, index, flow_file))
            for _ in _files(source.path):
                pass
        except IncludeError as error:
            yield error


class _Source:
    """One include: what to copy and under which name."""

    def __init__(self, path: Path, name: str, is_zipped: bool) -> None:
        self.path = path
        self.name = name
        self.is_zipped = is_zipped


def _where(document: YamlDocument | None, index: int, flow_file: Path) -> Location:
    return document.locate(("additional_includes", index)) if document else Location(str(flow_file))


def _source(folder: Path, item: str, where: Location) -> _Source:
    try:
        path = (folder / item).resolve()
        if path.exists() and path.name:
            return _Source(path, path.name, False)

        unzipped = path.with_suffix("") if path.suffix == ".zip" else None
        if unzipped is not None and unzipped.is_dir():
            return _Source(unzipped, path.name, True)
    except (OSError, ValueError):
        pass

    raise IncludeError(
        f"The additional include {item!r} does not exist.",
        hint=f"The path is relative to {str(folder)!r}.",
        where=where,
    )


def _files(root: Path) -> Iterator[tuple[Path, Path]]:
    """Every file below `root` with its relative path; `root` itself when it is a file."""
    if root.is_file():
        yield root, Path(root.name)
        return

    resolved_root = root.resolve()
    for current, folders, files in os.walk(root, followlinks=False):
        links = [name for name in (*folders, *files) if os.path.islink(os.path.join(current, name))]
        for name in links:
            _check_link(Path(current, name), resolved_root)

        folders[:] = sorted(name for name in folders if name not in _SKIPPED and name not in links)
        for name in sorted([*files, *(link for link in links if link not in files)]):
            path = Path(current, name)
            if path.is_file():
                yield path, path.relative_to(root)


def _check_link(link: Path, root: Path) -> None:
    target = link.resolve()
    if not target.is_relative_to(root):
        raise IncludeError(
            f"The link {str(link)!r} leads out of its folder, to {str(target)!r}.",
            hint="Name the file itself in 'additional_includes', or replace the link by a copy.",
            where=Location(str(link)),
        )


def _fingerprint(roots: Sequence[Path]) -> tuple[object, ...]:
    found: list[object] = []
    for root in roots:
        for path, relative in _files(root):
            stat = path.stat()
            found.append((str(root), str(relative), stat.st_mtime_ns, stat.st_size))

    return tuple(found)


def _build(folder: Path, sources: Sequence[_Source]) -> Path:
    _remove_abandoned()
    target = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")).resolve()
    try:
        _copy(folder, target)
        for source in sources:
            if source.is_zipped:
                _zip(source.path, target / source.name)
            elif source.path.is_dir():
                _copy(source.path, target / source.name)
            else:
                _copy_file(source.path, target / source.name)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise

    return target


def _copy(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path, relative in _files(source):
        _copy_file(path, target / relative)


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _zip(source: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, relative in _files(source):
            archive.write(path, Path(source.name, relative))


def _remove_abandoned() -> None:
    """Copies of processes of ours that were killed before they could clean up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    if os.name == "nt":  # asking about a process there would end it
        return True

    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True

    return True


@atexit.register
def _remove_copies() -> None:
    for copy in _copies.values():
        _remove(copy)
