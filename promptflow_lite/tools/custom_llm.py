"""`custom_llm` nodes: a package tool that is given a prompt template and its variables (contract 4.3, 4.11)."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

from promptflow_lite.errors import InvalidCustomLLMTool, InvalidSource, NodeInputValidationError
from promptflow_lite.flow import NodeSpec, Reference, coerce_literal, template_variables
from promptflow_lite.tools.base import Parameter, ResolvedTool, ToolContext
from promptflow_lite.tools.decorator import original_function
from promptflow_lite.tools.llm import escaped_inputs, read_template, variable_parameters
from promptflow_lite.tools.package import find_package_tool, import_package_tool
from promptflow_lite.tools.python import resolve_callable
from promptflow_lite.tools.types import PromptTemplate

ESCAPE_ARGUMENT = "_inputs_to_escape"
"""Hidden argument: names of inputs bound to flow inputs, for tools that take further keywords."""
CONNECTIONS_ARGUMENT = "_connections"
"""Hidden argument of built-in tools that look connections up by name while they run."""
_PROMPT_TYPE = "prompt_template"


def resolve_custom_llm_tool(node: NodeSpec, context: ToolContext) -> ResolvedTool:
    """Import the package tool and bind the template to its prompt parameter.

    Raises:
        InvalidSource: the node names no tool, or its template is missing.
        InvalidCustomLLMTool: the tool takes no prompt template.
        NodeInputValidationError: a template variable has the name of an input of the tool.
    """
    if node.source is None or not node.source.tool:
        raise InvalidSource(
            f"Node {node.name!r} does not name a package tool.",
            hint="Add `source: {type: package_with_prompt, tool: <id>, path: <template>.jinja2}` to the node.",
            where=node.where,
        )

    path, template = read_template(node, context.root)
    variables = template_variables(template)
    function, provider = import_package_tool(find_package_tool(node.source.tool))
    resolved = resolve_callable(_with_images(node, variables, context), function, provider, context)
    prompt = _prompt_parameter(node, resolved.parameters)
    _check_names(node, variables, {*resolved.parameters, *_init_names(provider)})

    hidden: dict[str, Any] = {prompt: PromptTemplate(template)}
    raw = original_function(function)
    accepted = inspect.signature(raw).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in accepted.values()):
        hidden[ESCAPE_ARGUMENT] = sorted(escaped_inputs(node))

    if getattr(function, "takes_connections", False):
        hidden[CONNECTIONS_ARGUMENT] = context.connections

    own = {name: parameter for name, parameter in resolved.parameters.items() if name != prompt}
    return dataclasses.replace(
        resolved,
        call=functools.partial(resolved.call, **hidden),
        parameters={**own, **variable_parameters(variables)},
        stream_parameter=resolved.stream_parameter or ("stream" if "stream" in own else None),
        cache_parts=("custom_llm", node.source.tool, template, sorted(escaped_inputs(node))),
        user_file=path,
    )


def _with_images(node: NodeSpec, variables: dict[str, str], context: ToolContext) -> NodeSpec:
    """Literals of image variables are loaded; other literals of variables stay as they are."""
    images = {
        name: coerce_literal(value, "image", root=context.root)
        for name, value in node.inputs.items()
        if variables.get(name) == "image" and value and not isinstance(value, Reference)
    }
    return dataclasses.replace(node, inputs={**node.inputs, **images}) if images else node


def _prompt_parameter(node: NodeSpec, parameters: dict[str, Parameter]) -> str:
    prompts = [name for name, parameter in parameters.items() if _PROMPT_TYPE in parameter.types]
    if len(prompts) != 1:
        raise InvalidCustomLLMTool(
            f"The tool of node {node.name!r} has {len(prompts)} prompt template inputs; a custom LLM tool has one.",
            hint="Annotate one parameter of the tool with PromptTemplate.",
            where=node.where,
        )

    return prompts[0]


def _check_names(node: NodeSpec, variables: dict[str, str], reserved: set[str]) -> None:
    duplicates = {name for name in variables if name in reserved}
    if duplicates:
        raise NodeInputValidationError(
            f"Invalid inputs {duplicates!r} in prompt template of node {node.name}. "
            "These inputs are duplicated with the inputs of custom llm tool.",
            hint="Rename the variables in the template and in the node's inputs.",
            where=node.where,
        )


def _init_names(provider: Any) -> list[str]:
    if provider is None or provider.__init__ is object.__init__:
        return []

    return list(inspect.signature(provider.__init__).parameters)[1:]
