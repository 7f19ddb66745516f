"""`flow.flex.yaml` and `module:attr` entries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from promptflow_lite.errors import InvalidFlexFlowEntry, InvalidSampleError, UserErrorException
from promptflow_lite.flow.dag import check_language, parse_environment_variables, parse_inputs, parse_outputs
from promptflow_lite.flow.model import FlexFlow, InputSpec
from promptflow_lite.flow.problems import Cursor, Findings
from promptflow_lite.flow.prompty import message_format, read_reference_file
from promptflow_lite.flow.yaml_io import YamlDocument

FLEX_KEYS = (
    "$schema",
    "entry",
    "inputs",
    "outputs",
    "init",
    "sample",
    "environment",
    "environment_variables",
    "additional_includes",
    "code",
    "language",
    "type",
    "display_name",
    "description",
    "tags",
    "message_format",
    "name",
    "version",
)
_ENTRY = re.compile(r"[a-zA-Z0-9_.]+:[a-zA-Z0-9_]+\Z")
_FILE_REFERENCE = re.compile(r"\$\{file:(.*?)\}")


def is_entry(text: str) -> bool:
    """Whether a text has the form `module.path:attr`."""
    return _ENTRY.match(text) is not None


def parse_flex(path: Path, root_dir: Path, name: str, document: YamlDocument, findings: Findings) -> FlexFlow:
    """The specs of a flex flow; errors go to `findings`."""
    root = Cursor(document, findings, (), document.value)
    root.warn_unknown(FLEX_KEYS, "the flow")
    check_language(root)
    entry = root.text("entry")
    if not is_entry(entry):
        error = InvalidFlexFlowEntry(
            f"The entry {entry!r} is not of the form 'module:function'.",
            hint="Write 'entry: file_name:function_or_class', without '.py'.",
            where=root.where("entry"),
        )
        findings.error(error, ("entry",), entry)

    return FlexFlow(
        path=path,
        root=root_dir,
        name=name,
        entry=entry,
        inputs=_signature(root, "inputs"),
        outputs=parse_outputs(root.mapping("outputs"), needs_reference=False) if root.get("outputs") else None,
        init=_signature(root, "init", types=False),
        sample=_parse_sample(root, path.parent),
        type=root.remark("type", "standard"),
        display_name=root.remark("display_name"),
        description=root.remark("description"),
        tags={key: str(value) for key, value in root.remarks("tags").items()},
        environment=root.remarks("environment"),
        environment_variables=parse_environment_variables(root),
        additional_includes=tuple(str(item) for item in root.items("additional_includes")),
        message_format=message_format(root),
        warnings=findings.warnings,
    )


def _signature(root: Cursor, key: str, *, types: bool = True) -> dict[str, InputSpec] | None:
    if root.get(key) is None:
        return None

    cursor = root.mapping(key)
    declared = parse_inputs(cursor) if types else parse_inputs(cursor, types=None)
    return {name: _without_empty_default(spec) for name, spec in declared.items()}


def _without_empty_default(spec: InputSpec) -> InputSpec:
    if spec.default != "":
        return spec

    return InputSpec(
        name=spec.name,
        type=spec.type,
        description=spec.description,
        enum=spec.enum,
        is_chat_input=spec.is_chat_input,
        is_chat_history=spec.is_chat_history,
    )


def _parse_sample(root: Cursor, base_dir: Path) -> dict[str, Any]:
    raw = root.get("sample")
    if isinstance(raw, str):
        sample = root.child("sample", _sample_part(root, "sample", raw, base_dir) or {})
    else:
        sample = root.mapping("sample")

    result: dict[str, Any] = {}
    for key, value in sample.value.items():
        if key not in ("init", "inputs"):
            sample.warn(f"The key {key!r} of 'sample' is unknown and ignored.", key, code="flow.unknown_key")
            continue

        loaded = _sample_part(sample, key, value, base_dir)
        if loaded is not None:
            result[key] = loaded

    return result


def _sample_part(sample: Cursor, key: str, value: Any, base_dir: Path) -> dict[str, Any] | None:
    problem = "it must be a mapping or '${file:sample.json}'"
    match = _FILE_REFERENCE.match(value) if isinstance(value, str) else None
    if match:
        try:
            value = read_reference_file(base_dir, match.group(1))
        except UserErrorException as missing:
            problem = str(missing)

    if isinstance(value, dict):
        return value

    error = InvalidSampleError(f"'sample.{key}' cannot be used: {problem}.", where=sample.where(key))
    sample.findings.error(error, ("sample", key), value)
    return None
