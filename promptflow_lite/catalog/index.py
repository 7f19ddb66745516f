"""The list of models that a user added: one JSON file in the state folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promptflow_lite import settings
from promptflow_lite._utils.files import changing, replace_file
from promptflow_lite._utils.hashing import file_digest
from promptflow_lite.errors import ModelNotFoundError, SDKError


def models_folder() -> Path:
    """Where downloaded models lie."""
    folder = settings.home() / "models"
    folder.mkdir(exist_ok=True)
    return folder


class ModelIndex:
    """Added models, aliases and known checksums.

    Every change is written at once, by replacing the file, so a reader never sees half of one.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or settings.home() / "models.json"

    def read(self) -> dict[str, Any]:
        """`{"models": {name: entry}, "aliases": {alias: name}, "checksums": {path: [size, time, sha256]}}`."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            parts = {key: content.get(key, {}) for key in ("models", "aliases", "checksums")}
            if not all(isinstance(part, dict) for part in parts.values()):
                raise TypeError("its parts must be mappings")
        except FileNotFoundError:
            return {"models": {}, "aliases": {}, "checksums": {}}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise SDKError(
                f"The list of models {str(self.path)!r} cannot be read: {error}.", hint="Repair or delete the file."
            ) from error

        return parts

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """Read, let the caller change, write; other processes wait meanwhile."""
        with changing(self.path):
            content = self.read()
            yield content
            replace_file(self.path, json.dumps(content, indent=2, ensure_ascii=False))

    def add(self, name: str, path: Path, *, source: str, **details: Any) -> None:
        """Register a file under a name; an existing name is replaced."""
        with self.change() as content:
            content["models"][name] = {"path": str(path.resolve()), "source": source, "details": details}

    def remove(self, name: str) -> dict[str, Any]:
        """Take a model off the list with its aliases; returns its entry. Raises `ModelNotFoundError`."""
        with self.change() as content:
            if name not in content["models"]:
                raise ModelNotFoundError(f"No added model is named {name!r}.", name=name)

            entry: dict[str, Any] = content["models"].pop(name)
            content["aliases"] = {alias: model for alias, model in content["aliases"].items() if model != name}
        return entry

    def set_alias(self, alias: str, name: str) -> None:
        with self.change() as content:
            content["aliases"][alias] = name

    def record(self, name: str, **details: Any) -> None:
        """Keep facts about a model, such as results of an evaluation, for its card."""
        with self.change() as content:
            entry = content["models"].setdefault(name, {"path": None, "source": "bundled", "details": {}})
            entry["details"].update(details)

    def checksum(self, path: Path) -> str:
        """SHA-256 of a file; computed again only when its size or time changed."""
        stat = path.stat()
        known = self.read()["checksums"].get(str(path))
        if known and known[:2] == [stat.st_size, stat.st_mtime]:
            return str(known[2])

        digest = file_digest(path)
        with self.change() as content:
            content["checksums"][str(path)] = [stat.st_size, stat.st_mtime, digest]
        return digest
