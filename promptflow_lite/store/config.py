"""Settings that commands keep: `config.yaml` in `PFL_HOME`, overlaid by the nearest `pf.yaml` of a project.

Keys are dotted (`connection.provider`) and nest in the files. The project's file wins key by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from promptflow_lite import settings
from promptflow_lite._utils.files import changing, replace_file
from promptflow_lite.errors import InvalidConfigValue, Location, SettingsError

PROJECT_FILE = "pf.yaml"


class ConfigFiles:
    """The global and the project's settings file.

    Args:
        start: The folder from which the project's file is searched upward; default: the working directory.
    """

    def __init__(self, start: Path | None = None) -> None:
        self._start = start or Path.cwd()

    @property
    def global_file(self) -> Path:
        return settings.home() / "config.yaml"

    @property
    def project_file(self) -> Path | None:
        """The nearest `pf.yaml` upward, if any."""
        folder = self._start.absolute()
        return next((f for f in (parent / PROJECT_FILE for parent in (folder, *folder.parents)) if f.is_file()), None)

    def show(self) -> dict[str, Any]:
        """Everything that is set, nested, the project's values over the global ones."""
        merged = _read(self.global_file)
        project = self.project_file
        return _overlaid(merged, _read(project)) if project else merged

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key."""
        value: Any = self.show()
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default

            value = value[part]
        return value

    def set(self, key: str, value: Any, *, folder: Path | None = None) -> None:
        """Set a dotted key (None removes it) in the global file, or in the `pf.yaml` of a folder."""
        path = self.global_file if folder is None else folder / PROJECT_FILE
        try:
            with changing(path):
                self._set(path, key, value)
        except OSError as error:
            raise SettingsError(
                f"The settings file cannot be written: {error.strerror}.", where=Location(str(path))
            ) from error

    @staticmethod
    def _set(path: Path, key: str, value: Any) -> None:
        document = _read(path)
        section = document
        *parents, last = key.split(".")
        for parent in parents:
            below = section.setdefault(parent, {})
            if not isinstance(below, dict):
                raise InvalidConfigValue(f"{key!r} cannot be set: {parent!r} already has the value {below!r}.")

            section = below
        if value is None:
            section.pop(last, None)
        else:
            section[last] = value
        replace_file(path, yaml.safe_dump(document, allow_unicode=True, sort_keys=False))


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = Location(str(path), mark.line + 1, mark.column + 1) if mark else Location(str(path))
        raise SettingsError(
            "The settings file is not valid YAML.", hint="Correct or remove it.", where=where
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(
            f"The settings file cannot be read: {reason}.", hint="Correct or remove it.", where=Location(str(path))
        ) from error
    if document is None:
        return {}

    if not isinstance(document, dict):
        raise SettingsError(
            "The settings file must hold a mapping.", hint="Correct or remove it.", where=Location(str(path))
        )

    return document


def _overlaid(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in top.items():
        below = result.get(key)
        both_nest = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _overlaid(below, value) if both_nest else value  # type: ignore[arg-type]
    return result
