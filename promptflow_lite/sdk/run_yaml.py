"""`run.yaml`: a file that says everything about a run (contract 11.2)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from promptflow_lite._utils.jsonable import loads
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import Location, RunOperationParameterError, UserErrorException
from promptflow_lite.flow import load_yaml
from promptflow_lite.flow.validate import RUN_KEYS
from promptflow_lite.sdk.runs import RunRequest

logger = logging.getLogger("promptflow")

_PATHS = ("flow", "data")
_IGNORED = {"$schema", "runtime", "resources", "identity", "type", "resume_from", "output_path"}
_KNOWN = set(RUN_KEYS) - _IGNORED


def load_run_request(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunRequest:
    """The request that a file describes, with overrides on top.

    Paths, also overriding ones, are relative to the file.

    Raises:
        FlowSyntaxError: the file is no YAML.
        RunOperationParameterError: it holds no mapping.
        UserErrorException: it does not exist, or names a file that does not.
    """
    file = Path(path)
    values = _read(file)
    for key in set(values) - _KNOWN - _IGNORED:
        logger.warning("%s: unknown key %r is ignored. %s", file, key, did_you_mean(str(key), _KNOWN))

    merged = {key: value for key, value in values.items() if key in _KNOWN and value is not None}
    merged.update(overrides or {})
    folder = file.absolute().parent
    for key in _PATHS:
        if key in merged:
            merged[key] = _beside(folder, str(merged[key]))

    merged["environment_variables"] = _environment(merged.get("environment_variables"), folder)
    if isinstance(merged.get("init"), str):
        merged["init"] = loads((folder / merged["init"]).read_text("utf-8"))

    return RunRequest(**merged)


def resume_request(path: str | Path) -> dict[str, Any] | None:
    """What a file that names `resume_from` asks for: `source` and what the new run is called; None for other files.

    Raises:
        FlowSyntaxError, RunOperationParameterError, UserErrorException: see `load_run_request`.
    """
    values = _read(Path(path))
    if not values.get("resume_from"):
        return None

    shown = {key: values.get(key) for key in ("name", "display_name", "description", "tags")}
    return {"source": str(values["resume_from"]), **shown}


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UserErrorException(f"Run file {str(file)!r} does not exist.", hint="Correct --file.")

    values = load_yaml(file).value
    if not isinstance(values, dict):
        raise RunOperationParameterError("A run file must hold a mapping.", where=Location(str(file), 1))

    return values


def _beside(folder: Path, text: str) -> str:
    """A path relative to the run file; what is no path there (`module:attr`) stays as it is."""
    candidate = folder / text
    return str(candidate) if candidate.exists() or ":" not in text else text


def _environment(value: Any, folder: Path) -> dict[str, str] | None:
    if isinstance(value, str):
        file = folder / value
        if not file.is_file():
            raise UserErrorException(f"Environment file {value!r} does not exist.", where=Location(str(file)))

        return {key: text or "" for key, text in dotenv_values(file).items()}

    return None if value is None else {str(key): str(text) for key, text in value.items()}
