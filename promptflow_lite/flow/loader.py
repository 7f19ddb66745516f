"""From a path to a flow: recognises the kind, parses it and raises the first problem. Never runs user code."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptflow_lite.errors import Location, UserErrorException, ValidationException
from promptflow_lite.flow import dag, topology
from promptflow_lite.flow.flex import is_entry, parse_flex
from promptflow_lite.flow.model import DagFlow, FlexFlow, Flow, PromptyFlow
from promptflow_lite.flow.overrides import inline_variants, with_overrides
from promptflow_lite.flow.problems import Cursor, Findings
from promptflow_lite.flow.prompty import message_format, parse_prompty, read_prompty
from promptflow_lite.flow.yaml_io import YamlDocument, load_yaml

FLOW_FILES = ("flow.dag.yaml", "flow.dag.yml", "flow.flex.yaml", "flow.flex.yml")


def load_flow(
    path: str | os.PathLike[str],
    *,
    variant: str | None = None,
    code: str | os.PathLike[str] | None = None,
    allow_prompty_folder: bool = False,
    include: bool = True,
    overrides: Mapping[str, Any] | None = None,
) -> Flow:
    """Load a flow and raise its first problem.

    Args:
        path: A flow's folder, a `.yaml`, `.yml` or `.prompty` file, or a `module:attr` entry.
        variant: `${node.variant}`; every other node with variants uses its default.
        code: The folder of a `module:attr` entry; the current folder by default.
        allow_prompty_folder: Whether a folder that holds exactly one `.prompty` counts as a flow.
        include: Whether to merge additional includes into a working copy; without, `root` is the flow's own folder.
        overrides: Values to replace in a DAG flow's yaml, by dotted path; nodes by name (`nodes.fetch.inputs.url`).
    Raises:
        PromptflowException: what is wrong, where, and what to do.
    """
    text = os.fspath(path)
    file = existing_path(text)
    if file is None and is_entry(text):
        root = Path(code or ".").absolute()
        return FlexFlow(path=None, root=root, name=text.partition(":")[2], entry=text)

    if file is None:
        raise UserErrorException(
            f"The flow path {text!r} does not exist.", hint="Check the path and the current folder."
        )

    if file.is_dir():
        file = find_flow_file(file, allow_prompty=allow_prompty_folder)

    return _load_file(file, variant, include, overrides)


def existing_path(text: str) -> Path | None:
    """The absolute path of something that exists, else None."""
    try:
        path = Path(text).expanduser()
        return path.absolute() if path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None


def find_flow_file(folder: Path, *, allow_prompty: bool = False) -> Path:
    """The one flow file of a folder.

    Raises:
        ValidationException: several flow files.
        UserErrorException: none.
    """
    found = [folder / name for name in FLOW_FILES if (folder / name).is_file()]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        hint = "Name the file to use, or remove the others."
        raise ValidationException(f"Multiple files {names} exist in {str(folder)!r}.", hint=hint)

    if found:
        return found[0]

    prompties = sorted(folder.glob("*.prompty"))
    if allow_prompty and len(prompties) == 1:
        return prompties[0]

    hint = f"Did you mean {str(prompties[0])!r}?" if prompties else "Create one with: pfl flow init --flow NAME"
    raise UserErrorException(f"Neither flow.dag.yaml nor flow.flex.yaml exists in {str(folder)!r}.", hint=hint)


def _load_file(file: Path, variant: str | None, include: bool, overrides: Mapping[str, Any] | None) -> Flow:
    suffix = file.suffix.lower()
    if suffix == ".prompty":
        return _load_prompty(file)

    if suffix not in (".yaml", ".yml"):
        raise UserErrorException(
            f"{str(file)!r} is not a flow: only .yaml, .yml and .prompty files are.",
            hint="Name the flow's folder or its flow.dag.yaml.",
            where=Location(str(file)),
        )
    document = load_yaml(file)
    if isinstance(document.value, dict) and "entry" in document.value:
        return _load_flex(file, document, include)

    if overrides:
        document.value = with_overrides(inline_variants(document, variant), overrides)
        return dataclasses.replace(_load_dag(file, document, None, include), variant=variant)

    return _load_dag(file, document, variant, include)


def _load_prompty(file: Path) -> PromptyFlow:
    document, template, template_line = read_prompty(file)
    return parse_prompty(file, document, template, template_line, Findings())


def _load_flex(file: Path, document: YamlDocument, include: bool) -> FlexFlow:
    findings = Findings()
    root = Cursor(document, findings, (), document.value)
    includes = tuple(str(item) for item in root.items("additional_includes"))
    folder = _merged(file, includes, document) if includes and include else file.parent
    code = root.optional_text("code")
    root_dir = (folder / code).absolute() if code else folder
    if not root_dir.is_dir():
        raise UserErrorException(f"The code folder {code!r} does not exist.", where=root.where("code"))

    return parse_flex(file, Path(os.path.normpath(root_dir)), folder_name(file.parent), document, findings)


def _merged(file: Path, includes: tuple[str, ...], document: YamlDocument) -> Path:
    from promptflow_lite.flow.includes import materialise

    return materialise(file, includes, document)


def _load_dag(file: Path, document: YamlDocument, variant: str | None, include: bool) -> DagFlow:
    findings = Findings()
    root = Cursor(document, findings, (), document.value)
    flow = parse_dag(file, root, variant)
    if not flow.additional_includes or not include:
        return flow

    return dataclasses.replace(flow, root=_merged(file, flow.additional_includes, document))


def parse_dag(file: Path, root: Cursor, variant: str | None = None) -> DagFlow:
    """The specs of a DAG flow, nodes in topological order; errors go to the cursor's findings."""
    dag.require_mapping(root.document.value, root)
    dag.check_language(root)
    inputs = dag.parse_inputs(root.mapping("inputs"))
    outputs = dag.parse_outputs(root.mapping("outputs"))
    nodes = dag.parse_nodes(root, variant)
    dag.check_graph(root, inputs, outputs, nodes)
    by_name = {node.name: node for _, node in nodes}
    outputs = dag.drop_aggregation_outputs(root, outputs, by_name)
    return DagFlow(
        path=file,
        root=file.parent,
        name=root.text("name") or folder_name(file.parent),
        inputs=inputs,
        outputs=outputs,
        nodes=topology.sort_nodes([node for _, node in nodes]),
        id=root.remark("id", "default_flow_id"),
        type=root.remark("type", "standard"),
        display_name=root.remark("display_name"),
        description=root.remark("description"),
        tags={key: str(value) for key, value in root.remarks("tags").items()},
        environment=root.remarks("environment"),
        environment_variables=dag.parse_environment_variables(root),
        additional_includes=tuple(str(item) for item in root.items("additional_includes")),
        message_format=message_format(root),
        variant=variant,
        tools=tuple(tool for tool in root.items("tools") if isinstance(tool, dict)),
        warnings=root.findings.warnings,
    )


def folder_name(folder: Path) -> str:
    """A flow's name from its folder: lower case, other characters as `_`, never starting with a digit."""
    name = re.sub(r"\W+", "_", folder.name.lower())
    return f"n{name}" if name[:1].isdigit() else name or "flow"
