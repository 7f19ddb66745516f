"""Changing a DAG flow before it is parsed: variants put in their nodes' places, single values replaced by path."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow.problems import Cursor, Findings
from promptflow_lite.flow.variants import node_bodies
from promptflow_lite.flow.yaml_io import YamlDocument


def inline_variants(document: YamlDocument, variant: str | None = None) -> dict[str, Any]:
    """The flow's yaml without variants: each node has its chosen body.

    Raises:
        InvalidFlowError: the chosen variant does not exist.
    """
    root = Cursor(document, Findings(), (), document.value)
    data = {key: copy.deepcopy(value) for key, value in document.value.items() if key != "node_variants"}
    data["nodes"] = [
        {"name": name, **{key: copy.deepcopy(value) for key, value in body.value.items() if key not in _OUTER_KEYS}}
        for name, body in node_bodies(root, variant)
    ]
    return data


_OUTER_KEYS = ("name", "use_variants")


def with_overrides(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A flow's yaml with values replaced.

    Args:
        data: The yaml, without variants.
        overrides: Dotted path -> value; nodes are addressed by name: `nodes.fetch.inputs.url`.

    Raises:
        UserErrorException: a path leads through a node that does not exist.
    """
    changed = copy.deepcopy(dict(data))
    for path, value in overrides.items():
        _replace(changed, path, value)
    return changed


def _replace(data: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    target: Any = data
    for step in parents:
        target = _child(target, step, path)

    if isinstance(target, list):
        target[_position(target, last, path)] = value
    else:
        target[last] = value


def _child(target: Any, step: str, path: str) -> Any:
    if isinstance(target, list):
        return target[_position(target, step, path)]

    if not isinstance(target.get(step), dict | list):
        target[step] = {}

    return target[step]


def _position(nodes: list[Any], name: str, path: str) -> int:
    names = [node.get("name") if isinstance(node, dict) else None for node in nodes]
    if name in names:
        return names.index(name)

    if name.isdigit() and int(name) < len(nodes):
        return int(name)

    raise UserErrorException(
        f"The override {path!r} names the node {name!r}, which the flow does not have.",
        hint=did_you_mean(name, [str(item) for item in names if item]),
    )
