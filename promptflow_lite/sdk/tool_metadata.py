"""Metadata of tools: those that packages offer, and those of a flow, read without running its code."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

from promptflow_lite.errors import PromptflowException, UserErrorException
from promptflow_lite.flow import DagFlow, NodeSpec, load_flow, read_module, template_variables
from promptflow_lite.sdk.tool_settings import read_input_settings
from promptflow_lite.tools.package import package_tools

TOOLS_FILE = "flow.tools.json"


def list_tools(flow: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """`{"package": {id: metadata}, "code": {file: metadata}}`; `code` is empty without a flow."""
    return {"package": package_tools(), "code": code_tools(flow) if flow is not None else {}}


def code_tools(flow: str | os.PathLike[str] | DagFlow) -> dict[str, Any]:
    """Metadata of a flow's scripts and templates by file; a file that cannot be read is left out."""
    loaded = flow if isinstance(flow, DagFlow) else load_flow(flow)
    if not isinstance(loaded, DagFlow):
        return {}

    found: dict[str, Any] = {}
    for node in loaded.nodes:
        source = node.source
        if source is None or source.type != "code" or not source.path:
            continue

        metadata = _metadata(node, source.path, loaded.root)
        if metadata is not None:
            found[source.path] = metadata
    return found


def write_tools_file(flow: DagFlow) -> Path:
    """Write `.promptflow/flow.tools.json` of a flow: its own tools and the package tools that it uses."""
    used = {node.source.tool for node in flow.nodes if node.source and node.source.tool}
    offered = package_tools() if used else {}
    data = {"package": {name: tool for name, tool in offered.items() if name in used}, "code": code_tools(flow)}
    target = flow.path.parent / ".promptflow" / TOOLS_FILE
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(data, indent=4, ensure_ascii=False, default=str), encoding="utf-8")
    return target


def _metadata(node: NodeSpec, path: str, root: Path) -> dict[str, Any] | None:
    try:
        text = (root / path).read_text(encoding="utf-8-sig")
        if path.endswith(".py"):
            tools = read_module(text, path).tools
            return _with_settings(tools[0].to_dict(path), text) if len(tools) == 1 else None

        inputs = {name: {"type": [kind]} for name, kind in template_variables(text).items()}
        return {"type": node.type, "inputs": inputs, "source": path}
    except (OSError, UnicodeDecodeError, PromptflowException):
        return None


def _with_settings(metadata: dict[str, Any], source: str) -> dict[str, Any]:
    """The metadata with what the tool says about how its inputs are shown."""
    for name, settings in read_input_settings(source, metadata["function"]).items():
        metadata["inputs"].setdefault(name, {}).update(settings)
    return metadata


def validate_tools(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Whether a script or a package holds usable tools: `{"result": ..., "errors": [...]}`.

    Args:
        source: A `.py` file, or the name of an installed module or package.

    Raises:
        UserErrorException: there is no such file or module.
    """
    path = Path(source)
    if path.suffix == ".py":
        if not path.is_file():
            raise UserErrorException(f"The script {str(path)!r} does not exist.")

        return _report(_script_problems(path))

    return _report(_package_problems(str(source)))


def _script_problems(path: Path) -> list[str]:
    try:
        tools = read_module(path.read_text(encoding="utf-8-sig"), str(path)).tools
    except PromptflowException as error:
        return [str(error)]

    if len(tools) == 1:
        return []

    if not tools:
        return [f"No tool found in {path.name!r}. Decorate one function with @tool."]

    return [f"Expected 1 but collected {len(tools)} tools: {', '.join(tool.function for tool in tools)}."]


def _package_problems(name: str) -> list[str]:
    from promptflow_lite.tools.package import import_package_tool

    try:
        importlib.import_module(name)
    except ImportError as error:
        raise UserErrorException(f"The module {name!r} cannot be imported: {error}.") from error

    metadata = {key: value for key, value in package_tools().items() if str(value.get("module", "")).startswith(name)}
    if not metadata:
        return [f"No package tool of {name!r} is registered in the entry point group 'package_tools'."]

    problems = []
    for tool_id, tool in metadata.items():
        try:
            import_package_tool(tool)
        except PromptflowException as error:
            problems.append(f"{tool_id}: {error}")
    return problems


def _report(problems: list[str]) -> dict[str, Any]:
    if not problems:
        return {"result": "Succeeded"}

    return {"result": "Failed", "errors": [{"message": problem} for problem in problems]}
