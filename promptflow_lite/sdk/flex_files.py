"""`flow.flex.yaml` files made from Python entries: their signatures, written next to the code or into a new folder."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import InputSpec, OutputSpec, dump_yaml_text
from promptflow_lite.flow.flex import is_entry
from promptflow_lite.sdk.flow_copy import flow_files

FLEX_FILE = "flow.flex.yaml"


def signature_to_yaml(entry: Any, code: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Inputs, outputs and init of an entry as its yaml would declare them.

    Args:
        entry: A callable, or `module:attr` below `code`.
        code: The folder of a `module:attr` entry; the current folder by default.
    """
    from promptflow_lite.runtime.entry import infer_signature, load_entry

    target = load_entry(entry, Path(code or ".").absolute()) if isinstance(entry, str) else entry
    signature = infer_signature(target)
    parts: dict[str, Any] = {"inputs": {name: _input(spec) for name, spec in signature.inputs.items()}}
    if signature.outputs:
        parts["outputs"] = {name: _output(spec) for name, spec in signature.outputs.items()}

    if signature.init:
        parts["init"] = {name: _input(spec) for name, spec in signature.init.items()}

    return parts


def save_flow(
    entry: Any,
    code: str | os.PathLike[str] | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    python_requirements_txt: str | None = None,
    image: str | None = None,
    signature: Mapping[str, Any] | None = None,
    sample: Mapping[str, Any] | None = None,
    **_ignored: Any,
) -> Path:
    """Write the `flow.flex.yaml` of an entry.

    Args:
        entry: `module:attr` in the folder `code`, or a callable.
        code: The folder with the code.
        path: A new or empty folder that receives a copy of the code; without it the file is written into `code`.
        python_requirements_txt: Requirements file, relative to the code.
        image: Base image for builds.
        signature: Declarations that win over the inferred ones.
        sample: `{"inputs": {...}, "init": {...}}`.

    Returns:
        The written file.

    Raises:
        UserErrorException: the entry does not fit `code`, or `path` holds files already.
    """
    text, source = _located(entry, code)
    data: dict[str, Any] = {"entry": text, **_merged(signature_to_yaml(text, source), signature or {})}
    environment = {"python_requirements_txt": python_requirements_txt, "image": image}
    if any(environment.values()):
        data["environment"] = {key: value for key, value in environment.items() if value}

    if sample:
        data["sample"] = dict(sample)

    target = source
    if path is not None:
        target = Path(path).absolute()
        _copy_code(source, target)

    (target / FLEX_FILE).write_text(dump_yaml_text(data), encoding="utf-8")
    return target / FLEX_FILE


def _located(entry: Any, code: str | os.PathLike[str] | None) -> tuple[str, Path]:
    """The entry as text and the folder of its module."""
    if isinstance(entry, str):
        if not is_entry(entry):
            raise UserErrorException(f"{entry!r} is not an entry.", hint="Write module:function or module:Class.")

        return entry, Path(code or ".").absolute()

    if code is not None:
        raise UserErrorException("`code` cannot be given with a callable.", hint="Leave it out, or name the entry.")

    module = inspect.getmodule(entry)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise UserErrorException("The callable is not defined in a file.", hint="Move it to a module of its own.")

    return f"{Path(file).stem}:{entry.__name__}", Path(file).absolute().parent


def _copy_code(source: Path, target: Path) -> None:
    if target.exists() and any(target.iterdir()):
        raise UserErrorException(f"Target path {target} exists and is not empty.", hint="Choose a new folder.")

    target.mkdir(parents=True, exist_ok=True)
    for relative in list(flow_files(source, skip=(target,))):
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / relative, target / relative)


def _merged(inferred: dict[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(inferred)
    for part, entries in declared.items():
        present = merged.get(part)
        if isinstance(present, dict) and isinstance(entries, Mapping):
            merged[part] = {
                name: {**present.get(name, {}), **dict(entries.get(name, {}))} for name in {**present, **entries}
            }
        else:
            merged[part] = entries
    return merged


def _input(spec: InputSpec) -> dict[str, Any]:
    return {"type": spec.type, **({} if spec.default is None else {"default": spec.default})}


def _output(spec: OutputSpec) -> dict[str, Any]:
    return {"type": spec.type}
