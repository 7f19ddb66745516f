"""The text files of a flow's folder, for a person to edit: nothing outside of the folder can be reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from promptflow_lite.errors import FileChangedError, PromptflowException, UserErrorException
from promptflow_lite.flow import edit

MAX_BYTES = 512 * 1024
MAX_FILES = 500
_ENDINGS = "cfg csv html ini jinja jinja2 json jsonl md prompty py sh sql toml tsv txt xml yaml yml"
TEXT_SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())


@dataclass(slots=True)
class OpenFile:
    """A file as it was read last."""

    text: str
    digest: str
    conflict: str | None = None
    """A text that could not be saved, because somebody else changed the file meanwhile."""


class FlowFiles:
    """The text files of one folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: dict[str, OpenFile] = {}

    def names(self) -> list[str]:
        """Paths of the text files, relative to the folder."""
        found = [name for name in self._walk() if PurePosixPath(name).suffix.lower() in TEXT_SUFFIXES]
        return sorted(found, key=lambda name: (name.count("/"), name))[:MAX_FILES]

    def open(self, name: str) -> OpenFile:
        """A file as it is on disk now; one with an unsaved text stays as it is.

        Raises:
            UserErrorException: it cannot be edited here.
        """
        known = self._open.get(name)
        if known is not None and known.conflict is not None:
            return known

        path = self.path(name)
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            self._open.pop(name, None)
            raise UserErrorException(
                f"{name} cannot be edited here.", hint=f"Only files up to {MAX_BYTES // 1024} KiB are opened."
            )

        try:
            self._open[name] = OpenFile(*edit.read_for_edit(path))
        except PromptflowException as error:
            raise UserErrorException(f"{name} is no text file.") from error

        return self._open[name]

    def save(self, name: str, text: str) -> bool:
        """Write a file that was opened; False when it changed on disk meanwhile."""
        file = self._open.get(name) or self.open(name)
        try:
            file.digest = edit.save(self.path(name), text, file.digest)
        except FileChangedError:
            file.conflict = text
            return False

        file.text, file.conflict = text, None
        return True

    def reload(self, name: str) -> None:
        """Drop a text that could not be saved."""
        self._open.pop(name, None)

    def overwrite(self, name: str) -> None:
        """Save a text over what is on disk now."""
        file, path = self._open[name], self.path(name)
        if file.conflict is not None:
            digest = edit.digest_of(path.read_bytes()) if path.is_file() else None
            file.digest = edit.save(path, file.conflict, digest)
            file.text, file.conflict = file.conflict, None

    def create(self, name: str, text: str = "") -> None:
        """Make a file. Raises UserErrorException when there is one, or the name is unusable."""
        path = self._free(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        edit.save(path, text, None)

    def rename(self, name: str, new_name: str) -> None:
        """Move a file within the folder. Raises UserErrorException when that place is taken or unusable."""
        path, target = self.path(name), self._free(new_name)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        self._open.pop(name, None)

    def delete(self, name: str) -> None:
        """Remove a file."""
        self.path(name).unlink(missing_ok=True)
        self._open.pop(name, None)

    def path(self, name: str) -> Path:
        """The file behind a relative path.

        Raises:
            UserErrorException: the path leads out of the folder, by itself or by a symbolic link, or is hidden.
        """
        relative = PurePosixPath(name)
        is_plain = bool(relative.parts) and not relative.is_absolute() and "\\" not in name and "\0" not in name
        if not is_plain or any(part.startswith(".") for part in relative.parts):
            raise UserErrorException(f"{name!r} is no usable file name.", hint="Give a path below the flow's folder.")

        path = self.root / relative
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise UserErrorException(f"{name!r} leads out of the flow's folder.")

        return path

    def _free(self, name: str) -> Path:
        path = self.path(name)
        if path.suffix.lower() not in TEXT_SUFFIXES:
            raise UserErrorException(
                f"{name!r} is no text file.", hint=f"Known endings: {', '.join(sorted(TEXT_SUFFIXES))}."
            )

        if path.exists():
            raise UserErrorException(f"{name!r} exists already.", hint="Choose another name.")

        return path

    def _walk(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
            for name in files:
                if not name.startswith("."):
                    yield (Path(folder) / name).relative_to(self.root).as_posix()
