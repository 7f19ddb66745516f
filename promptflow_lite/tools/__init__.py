"""A node's callable: python scripts, prompts, LLM calls and package tools, prepared for one node of one flow."""

from promptflow_lite.tools.base import NO_DEFAULT, Parameter, ResolvedTool, ToolContext
from promptflow_lite.tools.decorator import DynamicList, GeneratedBy, InputSetting, ToolProvider, tool
from promptflow_lite.tools.resolve import resolve_tool

__all__ = [
    "NO_DEFAULT",
    "DynamicList",
    "GeneratedBy",
    "InputSetting",
    "Parameter",
    "ResolvedTool",
    "ToolContext",
    "ToolProvider",
    "resolve_tool",
    "tool",
]
