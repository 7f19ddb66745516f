"""From a node to its callable: one table of node kinds."""

from __future__ import annotations

from collections.abc import Callable

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import NotSupported, PromptflowException, ResolveToolError
from promptflow_lite.flow import NodeSpec
from promptflow_lite.tools.base import ResolvedTool, ToolContext

Resolver = Callable[[NodeSpec, ToolContext], ResolvedTool]


def resolve_tool(node: NodeSpec, context: ToolContext) -> ResolvedTool:
    """Prepare a node's tool: import or read its source, coerce literals, look up connections.

    Raises:
        ResolveToolError: anything that went wrong, with the codes of the error inside.
    """
    try:
        return _resolver_of(node)(node, context)
    except PromptflowException as error:
        if isinstance(error, ResolveToolError):
            raise

        raise ResolveToolError(node.name, error) from error


def _resolver_of(node: NodeSpec) -> Resolver:
    """The resolver of a node's kind; only that kind's module is imported."""
    is_package = node.source is not None and node.source.type == "package"
    if node.type in ("python", "llm") and is_package:
        from promptflow_lite.tools.package import resolve_package_tool

        return resolve_package_tool

    if node.type == "python":
        from promptflow_lite.tools.python import resolve_python_tool

        return resolve_python_tool

    if node.type == "prompt":
        from promptflow_lite.tools.prompt import resolve_prompt_tool

        return resolve_prompt_tool

    if node.type == "llm":
        from promptflow_lite.tools.llm import resolve_llm_tool

        return resolve_llm_tool

    if node.type == "custom_llm":
        from promptflow_lite.tools.custom_llm import resolve_custom_llm_tool

        return resolve_custom_llm_tool

    raise NotSupported(
        f"Node {node.name!r} is of type {node.type!r}, which cannot run here.",
        hint=did_you_mean(node.type, ("python", "prompt", "llm", "custom_llm", "flow")),
        where=node.where,
    )
