"""How an editor shows a tool's inputs: drop-downs, dependent and generated ones; read without running the tool."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import DagFlow, NodeSpec, load_flow
from promptflow_lite.tools.module import flow_import_path, load_module
from promptflow_lite.tools.package import find_package_tool

Settings = dict[str, dict[str, Any]]


def read_input_settings(source: str, function: str) -> Settings:
    """Input name -> settings, as package tools write them in their metadata.

    Args:
        source: Text of the tool's file; it is parsed, not executed.
        function: The tool's function or method.
    """
    tree = ast.parse(source)
    enums = dict(_enum_members(tree))
    for statement in ast.walk(tree):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name == function:
            for decorator in statement.decorator_list:
                if isinstance(decorator, ast.Call):
                    return _settings_of(decorator, enums)
    return {}


def _settings_of(decorator: ast.Call, enums: Mapping[str, Any]) -> Settings:
    declared = next((keyword.value for keyword in decorator.keywords if keyword.arg == "input_settings"), None)
    if not isinstance(declared, ast.Dict):
        return {}

    return {
        str(key.value): {item.arg: _setting(item.value, enums) for item in value.keywords if item.arg}
        for key, value in zip(declared.keys, declared.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Call)
    }


def _setting(value: ast.expr, enums: Mapping[str, Any]) -> Any:
    if isinstance(value, ast.Call):
        return _function_setting({item.arg: item.value for item in value.keywords if item.arg})

    if isinstance(value, ast.List | ast.Tuple):
        return [_setting(item, enums) for item in value.elts]

    text = ast.unparse(value)
    if text in enums:
        return enums[text]

    try:
        return ast.literal_eval(value)
    except ValueError:
        return text


def _function_setting(parts: Mapping[str, ast.expr]) -> dict[str, Any]:
    """`DynamicList(...)` or `GeneratedBy(...)` as metadata names it."""
    setting: dict[str, Any] = {}
    for name, key in (("function", "func_path"), ("reverse_function", "reverse_func_path")):
        if name in parts:
            given = parts[name]
            setting[key] = given.value if isinstance(given, ast.Constant) else ast.unparse(given)
    mapping = parts.get("input_mapping")
    if mapping is not None:
        pairs = ast.literal_eval(mapping)
        setting["func_kwargs"] = [
            {"name": name, "reference": f"${{inputs.{source}}}"} for name, source in pairs.items()
        ]

    return setting


def _enum_members(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """`Class.MEMBER` -> its literal value, of every class of the file."""
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            for member in statement.body:
                if isinstance(member, ast.Assign) and isinstance(member.value, ast.Constant):
                    for target in member.targets:
                        yield f"{statement.name}.{ast.unparse(target)}", member.value.value


def dynamic_choices(
    flow: str | Path | DagFlow, node: str, input_name: str, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The items of a node's drop-down; this runs the function that the tool names for it.

    Args:
        flow: The flow.
        node: The node.
        input_name: The input with the dynamic list.
        values: Values of the inputs that the function takes.

    Raises:
        UserErrorException: there is no such node, or the input has no dynamic list.
    """
    loaded = load_flow(flow) if isinstance(flow, str | Path) else flow
    spec = loaded.node(node) if isinstance(loaded, DagFlow) else None
    if spec is None or not isinstance(loaded, DagFlow):
        raise UserErrorException(f"The flow has no node {node!r}.")

    settings = node_input_settings(loaded, spec).get(input_name, {})
    listing = settings.get("dynamic_list")
    if not listing:
        raise UserErrorException(f"Input {input_name!r} of node {node!r} has no dynamic list.")

    arguments = {
        item["name"]: (values or {}).get(item["reference"][len("${inputs.") : -1])
        for item in listing.get("func_kwargs", [])
        if "reference" in item
    }
    function = _function(loaded, spec, str(listing["func_path"]))
    return list(function(**{name: value for name, value in arguments.items() if value is not None}))


def node_input_settings(flow: DagFlow, node: NodeSpec) -> Settings:
    """Settings of the inputs of a node's tool; empty when it has none."""
    from promptflow_lite.flow import read_module

    source = node.source
    if source is None:
        return {}

    if source.tool:
        keys = ("dynamic_list", "enabled_by", "enabled_by_value", "enabled_by_type", "generated_by")
        more = ("allow_manual_entry", "is_multi_select", "input_type", "ui_hints", "filter_by", "advanced")
        inputs = find_package_tool(source.tool).get("inputs") or {}
        return {
            name: {key: item[key] for key in (*keys, *more) if key in item}
            for name, item in inputs.items()
            if any(key in item for key in (*keys, *more))
        }

    if not source.path or not source.path.endswith(".py"):
        return {}

    text = (flow.root / source.path).read_text(encoding="utf-8-sig")
    tools = read_module(text, source.path).tools
    return read_input_settings(text, tools[0].function) if len(tools) == 1 else {}


def _function(flow: DagFlow, node: NodeSpec, path: str) -> Any:
    if node.source is not None and node.source.path and "." not in path:
        return getattr(load_module(flow.root / node.source.path, flow.root), path)

    module, _, name = path.rpartition(".")
    with flow_import_path(flow.root):
        return getattr(importlib.import_module(module), name)
