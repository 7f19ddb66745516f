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

from promptflow_lite.errors import IncludeError, Location
from promptflow_lite.flow.yaml_io import YamlDocument

_SKIPPED = frozenset([".git", ".promptflow", ".runs", ".venv", "__pycache__", "node_modules"])
_PREFIX = "pfl-flow-"
_lock = threading.Lock()
_copies: dict[Path, tuple[tuple[object, ...], Path]] = {}
"""Flow file -> fingerprint of everything that was copied, and the copy."""


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
        if known is not None and known[0] == fingerprint and known[1].is_dir():
            return known[1]

        copy = _build(folder, sources)
        if known is not None:
            shutil.rmtree(known[1], ignore_errors=True)
        _copies[flow_file] = (fingerprint, copy)
        return copy


def release(flow_file: Path) -> None:
    """Remove the merged copy of a flow, if there is one."""
    with _lock:
        known = _copies.pop(flow_file, None)

    if known is not None:
        shutil.rmtree(known[1], ignore_errors=True)


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
    target = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    if not _copies:
        atexit.register(_remove_copies, os.getpid())

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


def _remove_copies(owner: int) -> None:
    """At exit, in the process that made them: a forked worker leaves its parent's copies alone."""
    if os.getpid() == owner:
        for _, copy in _copies.values():
            shutil.rmtree(copy, ignore_errors=True)
