"""Parsing, validating, editing and describing flows; never runs user code."""

from promptflow_lite.flow.chat import ChatRoles, chat_roles
from promptflow_lite.flow.chat_messages import PromptResult, parse_chat, render_chat, render_prompt
from promptflow_lite.flow.loader import find_flow_file, load_flow
from promptflow_lite.flow.media import (
    Image,
    Text,
    absolute_media_paths,
    contains_media,
    load_image,
    load_media,
    media_to_json,
    persist_media,
)
from promptflow_lite.flow.model import (
    INPUT_TYPES,
    ActivateSpec,
    DagFlow,
    FlexFlow,
    Flow,
    InputSpec,
    NodeSpec,
    OutputSpec,
    Problem,
    PromptyFlow,
    RepeatSpec,
    RetrySpec,
    SourceSpec,
)
from promptflow_lite.flow.prompty import load_prompty, resolve_references
from promptflow_lite.flow.references import Reference, parse_reference, resolve_path
from promptflow_lite.flow.schema import SCHEMA_KINDS, json_schema
from promptflow_lite.flow.signature import ModuleOutline, ToolParameter, ToolSignature, read_module
from promptflow_lite.flow.snapshot import FlowSnapshot, describe_flow, flow_tools, render_mermaid
from promptflow_lite.flow.templates import check_template, render_template, template_variables
from promptflow_lite.flow.validate import validate_flow
from promptflow_lite.flow.values import InputCoercion, coerce_inputs, coerce_literal, is_dropped_literal
from promptflow_lite.flow.yaml_io import YamlDocument, dump_yaml_text, load_yaml, parse_yaml

__all__ = [
    "INPUT_TYPES",
    "SCHEMA_KINDS",
    "ActivateSpec",
    "ChatRoles",
    "DagFlow",
    "FlexFlow",
    "Flow",
    "FlowSnapshot",
    "Image",
    "InputCoercion",
    "InputSpec",
    "ModuleOutline",
    "NodeSpec",
    "OutputSpec",
    "Problem",
    "PromptResult",
    "PromptyFlow",
    "Reference",
    "RepeatSpec",
    "RetrySpec",
    "SourceSpec",
    "Text",
    "ToolParameter",
    "ToolSignature",
    "YamlDocument",
    "absolute_media_paths",
    "chat_roles",
    "check_template",
    "coerce_inputs",
    "coerce_literal",
    "contains_media",
    "describe_flow",
    "dump_yaml_text",
    "find_flow_file",
    "flow_tools",
    "is_dropped_literal",
    "json_schema",
    "load_flow",
    "load_image",
    "load_media",
    "load_prompty",
    "load_yaml",
    "media_to_json",
    "parse_chat",
    "parse_reference",
    "parse_yaml",
    "persist_media",
    "read_module",
    "render_chat",
    "render_mermaid",
    "render_prompt",
    "render_template",
    "resolve_path",
    "resolve_references",
    "template_variables",
    "validate_flow",
]
