"""Parsing, validating, editing and describing flows; never runs user code.

What executing a flow needs is imported at once; the rest when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promptflow_lite.flow.chat import ChatRoles, chat_roles
from promptflow_lite.flow.loader import find_flow_file, load_flow
from promptflow_lite.flow.media import (
    Image,
    Text,
    absolute_media_paths,
    contains_media,
    image_files,
    item_of_text,
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
from promptflow_lite.flow.values import InputCoercion, coerce_inputs, coerce_literal, is_dropped_literal
from promptflow_lite.flow.yaml_io import YamlDocument, dump_yaml_text, load_yaml, parse_yaml

if TYPE_CHECKING:
    from promptflow_lite.flow.chat_messages import (
        ROLES,
        ImageLike,
        LineList,
        PromptResult,
        find_images,
        line_lists,
        message_content,
        name_and_content,
        parse_chat,
        render_chat,
        render_prompt,
    )
    from promptflow_lite.flow.schema import SCHEMA_KINDS, json_schema
    from promptflow_lite.flow.signature import ModuleOutline, ToolParameter, ToolSignature, read_module
    from promptflow_lite.flow.snapshot import FlowSnapshot, describe_flow, render_mermaid
    from promptflow_lite.flow.templates import check_template, isolate_images, render_template, template_variables
    from promptflow_lite.flow.validate import validate_flow

__all__ = [
    "INPUT_TYPES",
    "ROLES",
    "SCHEMA_KINDS",
    "ActivateSpec",
    "ChatRoles",
    "DagFlow",
    "FlexFlow",
    "Flow",
    "FlowSnapshot",
    "Image",
    "ImageLike",
    "InputCoercion",
    "InputSpec",
    "LineList",
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
    "find_images",
    "image_files",
    "is_dropped_literal",
    "isolate_images",
    "item_of_text",
    "json_schema",
    "line_lists",
    "load_flow",
    "load_image",
    "load_media",
    "load_prompty",
    "load_yaml",
    "media_to_json",
    "message_content",
    "name_and_content",
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

_MODULE_BY_NAME = {
    "ROLES": "chat_messages",
    "ImageLike": "chat_messages",
    "LineList": "chat_messages",
    "PromptResult": "chat_messages",
    "find_images": "chat_messages",
    "line_lists": "chat_messages",
    "message_content": "chat_messages",
    "name_and_content": "chat_messages",
    "parse_chat": "chat_messages",
    "render_chat": "chat_messages",
    "render_prompt": "chat_messages",
    "SCHEMA_KINDS": "schema",
    "json_schema": "schema",
    "ModuleOutline": "signature",
    "ToolParameter": "signature",
    "ToolSignature": "signature",
    "read_module": "signature",
    "FlowSnapshot": "snapshot",
    "describe_flow": "snapshot",
    "render_mermaid": "snapshot",
    "check_template": "templates",
    "isolate_images": "templates",
    "render_template": "templates",
    "template_variables": "templates",
    "validate_flow": "validate",
}


def __getattr__(name: str) -> Any:
    module = _MODULE_BY_NAME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
