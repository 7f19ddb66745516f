"""Parsing, validating, editing and describing flows; never runs user code."""

from promptflow_lite.flow.chat import ChatRoles, chat_roles
from promptflow_lite.flow.loader import find_flow_file, load_flow
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
from promptflow_lite.flow.yaml_io import YamlDocument, load_yaml, parse_yaml

__all__ = [
    "INPUT_TYPES",
    "ActivateSpec",
    "ChatRoles",
    "DagFlow",
    "FlexFlow",
    "Flow",
    "InputSpec",
    "NodeSpec",
    "OutputSpec",
    "Problem",
    "PromptyFlow",
    "Reference",
    "RepeatSpec",
    "RetrySpec",
    "SourceSpec",
    "YamlDocument",
    "chat_roles",
    "find_flow_file",
    "load_flow",
    "load_prompty",
    "load_yaml",
    "parse_reference",
    "parse_yaml",
    "resolve_path",
    "resolve_references",
]
