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
    from promptflow_lite.tools.custom_llm import resolve_custom_llm_tool
    from promptflow_lite.tools.llm import resolve_llm_tool
    from promptflow_lite.tools.package import resolve_package_tool
    from promptflow_lite.tools.prompt import resolve_prompt_tool
    from promptflow_lite.tools.python import resolve_python_tool

    is_package = node.source is not None and node.source.type != "code"
    resolvers: dict[str, Resolver] = {
        "python": resolve_package_tool if is_package else resolve_python_tool,
        "prompt": resolve_prompt_tool,
        "llm": resolve_package_tool if is_package else resolve_llm_tool,
        "custom_llm": resolve_custom_llm_tool,
    }
    if node.type not in resolvers:
        raise NotSupported(
            f"Node {node.name!r} is of type {node.type!r}, which cannot run here.",
            hint=did_you_mean(node.type, resolvers),
            where=node.where,
        )

    return resolvers[node.type]
