"""Where this installation keeps its state, and the one module that reads the environment for settings.

`PFL_HOME` names the folder that holds everything of ours (default: `~/.promptflow_lite`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from promptflow_lite.errors import SettingsError


def home() -> Path:
    """The state folder; created on first use, readable by its owner only."""
    path = Path(os.environ.get("PFL_HOME") or "~/.promptflow_lite").expanduser().absolute()
    try:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(
            f"The state folder {str(path)!r} cannot be made: {error.strerror}.",
            hint="Set PFL_HOME to a folder that may be written.",
        ) from error

    return path


def env(name: str, default: str | None = None) -> str | None:
    """An environment variable; empty counts as unset."""
    return os.environ.get(name) or default


def env_int(name: str) -> int | None:
    """A whole number from the environment; None when unset or not a number."""
    text = os.environ.get(name, "").strip()
    try:
        return int(text) if text else None
    except ValueError:
        return None


def env_float(name: str) -> float | None:
    """A number from the environment; None when unset or not a number."""
    text = os.environ.get(name, "").strip()
    try:
        return float(text) if text else None
    except ValueError:
        return None


def env_bool(name: str, *, default: bool = False) -> bool:
    """`true`/`1`/`yes`/`on` in any case is true; unset is `default`."""
    text = os.environ.get(name, "").strip().lower()
    return default if not text else text in ("1", "true", "yes", "on")


def log_level() -> int | None:
    """The level that `PF_LOGGING_LEVEL` names; None when unset or no level."""
    return logging.getLevelNamesMapping().get(os.environ.get("PF_LOGGING_LEVEL", "").strip().upper())


def environ() -> Mapping[str, str]:
    """The whole environment, read-only."""
    return os.environ


def set_env(values: Mapping[str, str], *, overwrite: bool = True) -> None:
    """Put a flow's environment variables into the process, for user code to read."""
    for name, value in values.items():
        if overwrite or name not in os.environ:
            os.environ[name] = value
