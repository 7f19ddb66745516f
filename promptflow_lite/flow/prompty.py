"""`.prompty` files: front matter, template and the `${env:…}` and `${file:…}` references in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import (
    FlowDefinitionError,
    FlowSyntaxError,
    InvalidMessageFormatType,
    InvalidSampleError,
    Location,
    UserErrorException,
)
from promptflow_lite.flow.dag import parse_environment_variables, parse_outputs
from promptflow_lite.flow.model import INPUT_TYPES, InputSpec, PromptyFlow
from promptflow_lite.flow.problems import Cursor, Findings, kind_of
from promptflow_lite.flow.yaml_io import YamlDocument, load_yaml, parse_yaml, read_text
from promptflow_lite.settings import environ as process_environ

PROMPTY_KEYS = (
    "name",
    "description",
    "version",
    "authors",
    "tags",
    "model",
    "inputs",
    "outputs",
    "sample",
    "template",
    "environment",
    "environment_variables",
    "format",
    "type",
    "display_name",
    "message_format",
    "$schema",
)
MODEL_KEYS = ("api", "configuration", "parameters", "response")

_FENCE = re.compile(r"^-{3,}[ \t]*\r?\n", re.MULTILINE)
_CLOSING_FENCE = re.compile(r"^-{3,}[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_REFERENCE = re.compile(r"\$\{(env|file):(.*?)\}", re.DOTALL)


def load_prompty(
    path: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> PromptyFlow:
    """A prompty ready to run: overrides merged in, `${env:…}` and `${file:…}` resolved.

    Args:
        path: The `.prompty` file.
        overrides: Deep-merged over the front matter; a `model.configuration` that is no mapping replaces it whole.
        environ: Where `${env:…}` looks; the process environment by default.
    Raises:
        PromptflowException: the file is malformed, or a referenced file is missing.
    """
    findings = Findings()
    document, template, template_line = read_prompty(path)
    front = document.value if isinstance(document.value, dict) else {}
    merged = merge_overrides(front, overrides or {})
    document.value = resolve_references(merged, path.parent, environ)
    return parse_prompty(path, document, template, template_line, findings)


def read_prompty(path: Path, text: str | None = None) -> tuple[YamlDocument, str, int]:
    """Front matter, template and the line at which the template starts.

    Raises:
        FlowSyntaxError: the file has no front matter, or the front matter is not YAML.
    """
    if text is None:
        text = read_text(path)

    opening = _FENCE.search(text)
    closing = _CLOSING_FENCE.search(text, opening.end()) if opening else None
    if opening is None or closing is None:
        missing = "first" if opening is None else "second"
        raise FlowSyntaxError(
            f"The prompty has no front matter between two '---' lines: the {missing} one is missing.",
            hint="Start the file with '---', the settings as YAML, and '---' again; the template follows.",
            where=Location(str(path), 1),
        )
    first_line = text.count("\n", 0, opening.end()) + 1
    document = parse_yaml(text[opening.end() : closing.start()], path=str(path), first_line=first_line)
    return document, text[closing.end() :], text.count("\n", 0, closing.end()) + 1


def parse_prompty(
    path: Path, document: YamlDocument, template: str, template_line: int, findings: Findings
) -> PromptyFlow:
    """The specs of a prompty; errors go to `findings`."""
    root = Cursor(document, findings, (), document.value)
    if document.value is not None and not isinstance(document.value, dict):
        message = f"The front matter must be a mapping, not {kind_of(document.value)}."
        findings.error(FlowDefinitionError(message, code="flow.not_a_mapping", where=root.where()))

    model = _parse_model(root)
    sample = _parse_sample(root, path)
    return PromptyFlow(
        path=path,
        root=path.parent,
        name=root.text("name") or path.stem,
        template=template,
        api=model.choice("api", ("chat", "completion"), "chat", code="flow.unknown_api", what="The API"),  # type: ignore[arg-type]
        configuration=_configuration(model),
        parameters=_mapping(model, "parameters"),
        response=model.choice("response", ("first", "all"), "first", code="flow.unknown_response", what="The response"),  # type: ignore[arg-type]
        inputs=_parse_inputs(root, sample),
        outputs=parse_outputs(root.mapping("outputs"), needs_reference=False) if root.get("outputs") else None,
        sample=sample,
        template_line=template_line,
        description=root.remark("description"),
        type=root.remark("type", "standard"),
        display_name=root.remark("display_name"),
        tags={key: str(value) for key, value in root.remarks("tags").items()},
        environment_variables=parse_environment_variables(root),
        message_format=message_format(root),
        warnings=findings.warnings,
    )


def _configuration(model: Cursor) -> dict[str, Any]:
    """The configuration mapping; an object given from Python stands under its own key."""
    raw = model.get("configuration")
    if raw is None or isinstance(raw, dict | list | str | int | float):
        return _mapping(model, "configuration")

    return {"__object__": raw}


def _mapping(model: Cursor, key: str) -> dict[str, Any]:
    """A mapping below `model`; one that a file holds is empty until the prompty is loaded to be called."""
    raw = model.get(key)
    return {} if isinstance(raw, str) and _REFERENCE.match(raw) else dict(model.mapping(key).value)


def _parse_model(root: Cursor) -> Cursor:
    model = root.mapping("model")
    if "model" not in root.value:
        hint = "Add 'model:' with 'configuration:' and 'parameters:'."
        root.wrong("The prompty names no model.", code="flow.prompty_model", hint=hint)
        return model

    for key in model.value:
        if key not in MODEL_KEYS:
            hint = f"Known keys: {', '.join(MODEL_KEYS)}."
            model.wrong(f"The key {key!r} of 'model' is unknown.", key, code="flow.prompty_model", hint=hint)

    return model


def _parse_sample(root: Cursor, path: Path) -> dict[str, Any] | None:
    raw = root.get("sample")
    if raw is None or isinstance(raw, dict):
        return raw

    if isinstance(raw, str):
        match = _REFERENCE.match(raw)
        name = match.group(2) if match else raw
        try:
            loaded = read_reference_file(path.parent, name)
        except UserErrorException as error:
            root.findings.error(InvalidSampleError(str(error), where=root.where("sample")), ("sample",), raw)
            return None

        if isinstance(loaded, dict):
            return loaded

    message = f"'sample' must be a mapping or name a JSON file that holds one, not {raw!r}."
    root.findings.error(InvalidSampleError(message, where=root.where("sample")), ("sample",), raw)
    return None


def _parse_inputs(root: Cursor, sample: dict[str, Any] | None) -> dict[str, InputSpec]:
    declared = root.mapping("inputs")
    if not declared.value:
        return {str(name): InputSpec(name=str(name), type=type_of(value)) for name, value in (sample or {}).items()}

    return {str(name): _parse_input(str(name), declared, value) for name, value in declared.value.items()}


def _parse_input(name: str, parent: Cursor, value: Any) -> InputSpec:
    if not isinstance(value, dict):
        return InputSpec(name=name, type=type_of(value), default=value)

    cursor = parent.child(name, value)
    default = cursor.get("default")
    kind = cursor.text("type") or type_of(default)
    if kind not in INPUT_TYPES:
        message = f"Input {name!r} has the unknown type {kind!r}; its values are passed as they are."
        cursor.warn(message, "type", code="flow.unknown_type")

    history = cursor.get("is_chat_history")
    return InputSpec(
        name=name,
        type=kind if kind in INPUT_TYPES else "object",
        default=default,
        description=cursor.remark("description"),
        is_chat_input=cursor.flag("is_chat_input"),
        is_chat_history=None if history is None else cursor.flag("is_chat_history"),
    )


def type_of(value: Any) -> str:
    """The input type that fits a sample value."""
    types = {bool: "bool", int: "int", float: "double", list: "list", dict: "object"}
    return types.get(type(value), "string")


def message_format(root: Cursor) -> Any:
    """`message_format` of any kind of flow."""
    known = ("basic", "openai-vision")
    value = root.remark("message_format", "basic")
    if value in known:
        return value

    error = InvalidMessageFormatType(
        f"The message format {value!r} is unknown.",
        hint=did_you_mean(value, known),
        where=root.where("message_format"),
    )
    root.findings.error(error, ("message_format",), value)
    return "basic"


def merge_overrides(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `overrides` merged in: mappings merge, anything else replaces."""
    merged = dict(base)
    for key, value in overrides.items():
        present = merged.get(key)
        both_merge = isinstance(present, dict) and isinstance(value, Mapping)
        merged[key] = merge_overrides(present, value) if both_merge and isinstance(present, dict) else value

    return merged


def resolve_references(value: Any, base_dir: Path, environ: Mapping[str, str] | None = None) -> Any:
    """A value with every text that starts with `${env:NAME}` or `${file:PATH}` replaced.

    An unset variable leaves the text as it is; text after a reference is dropped.

    Raises:
        UserErrorException: a referenced file does not exist.
    """
    if isinstance(value, str):
        match = _REFERENCE.match(value)
        if match is None:
            return value

        kind, name = match.groups()
        if kind == "file":
            return read_reference_file(base_dir, name.strip())

        variables = process_environ() if environ is None else environ
        return variables.get(name.strip(), value)

    if isinstance(value, dict):
        return {key: resolve_references(item, base_dir, environ) for key, item in value.items()}

    return [resolve_references(item, base_dir, environ) for item in value] if isinstance(value, list) else value


def read_reference_file(base_dir: Path, name: str) -> Any:
    """The content of a file named in a flow: parsed JSON or YAML, or its text.

    Raises:
        UserErrorException: the file does not exist or cannot be parsed.
    """
    try:
        path = (base_dir / name).resolve()
        exists = path.is_file()
    except (OSError, ValueError):
        path, exists = base_dir, False

    if not exists:
        hint = f"The path is relative to {base_dir}."
        raise UserErrorException(f"The referenced file {name!r} does not exist.", hint=hint)

    if path.suffix.lower() == ".json":
        try:
            return json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise UserErrorException(f"The referenced file {name!r} is not JSON: {error}.") from error

    return load_yaml(path).value if path.suffix.lower() in (".yaml", ".yml") else read_text(path)
