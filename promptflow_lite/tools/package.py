"""Package tools: tools that installed packages offer through the `package_tools` entry points."""

from __future__ import annotations

import functools
import importlib
import logging
from importlib.metadata import entry_points
from typing import Any

from promptflow_lite import compat
from promptflow_lite._utils.imports import hint_for_import_error
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import FailedToImportModule, InvalidSource, PackageToolNotFoundError
from promptflow_lite.flow import NodeSpec
from promptflow_lite.tools.base import ResolvedTool, ToolContext
from promptflow_lite.tools.python import resolve_callable

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "package_tools"


@functools.cache
def package_tools() -> dict[str, dict[str, Any]]:
    """Tool id -> metadata of every package tool: the built-in ones and those of installed packages.

    A package whose listing fails is left out with a warning; it must not break flows that do not use it.
    """
    from promptflow_lite.tools.builtin import builtin_tools

    found: dict[str, dict[str, Any]] = dict(builtin_tools())
    compat.install()
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            found.update(point.load()())
        except Exception as error:  # foreign code: any failure is that package's own
            logger.warning("Package tools of %r cannot be listed: %s", point.name, error)
    return found


def find_package_tool(tool_id: str) -> dict[str, Any]:
    """Metadata of a package tool; an old id leads to the tool that replaced it.

    Raises:
        PackageToolNotFoundError: no installed package offers it.
    """
    tools = package_tools()
    if tool_id in tools:
        return tools[tool_id]

    for new_id, metadata in tools.items():
        if tool_id in (metadata.get("deprecated_tools") or []):
            logger.warning("Tool %r is deprecated, use %r instead.", tool_id, new_id)
            return metadata

    raise PackageToolNotFoundError(
        f"Package tool {tool_id!r} is not found in the current environment.",
        hint=did_you_mean(tool_id, tools) or "Install the package that offers this tool.",
    )


def resolve_package_tool(node: NodeSpec, context: ToolContext) -> ResolvedTool:
    """Import a package tool and prepare a node's literal inputs for it.

    Raises:
        InvalidSource: the node names no tool.
        PackageToolNotFoundError, FailedToImportModule: the tool cannot be had.
    """
    if node.source is None or not node.source.tool:
        raise InvalidSource(
            f"Node {node.name!r} does not name a package tool.",
            hint="Add `source: {type: package, tool: package.module.function}` to the node.",
            where=node.where,
        )

    metadata = find_package_tool(node.source.tool)
    function, provider = import_package_tool(metadata)
    resolved = resolve_callable(node, function, provider, context)
    resolved.cache_parts = (node.source.tool, getattr(importlib.import_module(metadata["module"]), "__version__", ""))
    return resolved


def import_package_tool(metadata: dict[str, Any]) -> tuple[Any, Any]:
    """The function (or provider method) and the provider class that metadata describes.

    Raises:
        FailedToImportModule: the module, class or function does not exist.
    """
    try:
        module = importlib.import_module(metadata["module"])
        if metadata.get("class_name"):
            provider = getattr(module, metadata["class_name"])
            return getattr(provider, metadata["function"]), provider

        return getattr(module, metadata["function"]), None
    except (ImportError, AttributeError, KeyError) as error:
        raise FailedToImportModule(
            f"Package tool {metadata.get('name', metadata)!r} cannot be imported: ({type(error).__name__}) {error}",
            hint=hint_for_import_error(error, "Check that the package that offers it is installed completely."),
        ) from error
