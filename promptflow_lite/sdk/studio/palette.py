"""What a node can be made of besides the flow's own prompts and scripts: package tools and other flows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from promptflow_lite.errors import PromptflowException
from promptflow_lite.flow import load_flow
from promptflow_lite.sdk.studio.sources import Parameter
from promptflow_lite.sdk.studio.workspace import FlowCard
from promptflow_lite.tools.package import find_package_tool, package_tools

MAX_FLOWS = 100


def tool_choices() -> list[dict[str, str]]:
    """The package tools of this environment, by name."""
    found = [
        {"id": tool_id, "name": str(tool.get("name") or tool_id), "note": str(tool.get("description") or "")}
        for tool_id, tool in package_tools().items()
    ]
    return sorted(found, key=lambda choice: choice["name"].lower())


def flow_choices(folder: Path, cards: Iterable[FlowCard]) -> list[dict[str, str]]:
    """Flows that can be nodes of the flow in a folder, by their path as seen from it."""
    found = [
        {
            "id": PurePath(os.path.relpath(card.path, folder)).as_posix(),
            "name": card.title,
            "note": card.description or card.kind,
        }
        for card in cards
        if card.path != folder and card.kind != "broken"
    ]
    return found[:MAX_FLOWS]


def tool_parameters(tool: str) -> list[Parameter]:
    """The inputs that a package tool declares; none when no installed package offers it."""
    try:
        declared = find_package_tool(tool).get("inputs") or {}
    except PromptflowException:
        return []

    return [_tool_parameter(str(name), spec) for name, spec in declared.items() if isinstance(spec, Mapping)]


def _tool_parameter(name: str, spec: Mapping[str, Any]) -> Parameter:
    types = [str(kind) for kind in spec.get("type") or []]
    takes_connection = any(kind.endswith("Connection") for kind in types)
    return Parameter(
        name,
        "connection" if takes_connection else " | ".join(types),
        is_required=takes_connection,
        is_shown="default" not in spec,
        options=tuple(str(value) for value in spec.get("enum") or ()),
    )


def flow_parameters(path: Path) -> list[Parameter]:
    """The inputs that another flow declares; none when it cannot be read."""
    file = path / "flow.dag.yaml" if path.is_dir() else path
    return list(_flow_parameters(path, file.stat().st_mtime_ns if file.is_file() else 0))


@lru_cache(maxsize=64)
def _flow_parameters(path: Path, modified_ns: int) -> tuple[Parameter, ...]:
    try:
        inputs = load_flow(path).inputs or {}
    except PromptflowException:
        return ()

    return tuple(Parameter(name, spec.type, is_required=spec.default is None) for name, spec in inputs.items())
