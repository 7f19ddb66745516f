"""Prompt nodes: a rendered template (contract 4.7)."""

from __future__ import annotations

from typing import Any

from promptflow_lite.errors import NodeInputValidationError
from promptflow_lite.flow import NodeSpec, PromptResult, Reference, render_prompt, template_variables
from promptflow_lite.tools.base import ResolvedTool, ToolContext
from promptflow_lite.tools.llm import escaped_inputs, read_template, variable_parameters

RESERVED = "template"


def resolve_prompt_tool(node: NodeSpec, context: ToolContext) -> ResolvedTool:
    """Prepare a prompt node; its inputs are passed to the template as they are.

    Raises:
        InvalidSource: the template is missing.
        JinjaParsingError: its syntax is wrong.
        NodeInputValidationError: it reads a variable named `template`.
    """
    path, template = read_template(node, context.root)
    variables = template_variables(template)
    if RESERVED in variables:
        raise NodeInputValidationError(
            f"Invalid inputs {{{RESERVED!r}}} in prompt template of node {node.name}. "
            "These inputs are duplicated with the reserved parameters of prompt tool.",
            hint=f"Rename {{{{{RESERVED}}}}} in the template and in the node's inputs.",
            where=node.where,
        )

    escape = escaped_inputs(node)

    def render(**inputs: Any) -> PromptResult:
        return render_prompt(template, inputs, escape)

    return ResolvedTool(
        name=node.name,
        call=render,
        parameters=variable_parameters(variables),
        literals={name: value for name, value in node.inputs.items() if not isinstance(value, Reference)},
        cache_parts=("prompt", template, sorted(escape)),
        user_file=path,
    )
