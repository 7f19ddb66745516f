"""Node variants: which body each node has."""

from __future__ import annotations

import re
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import InvalidFlowError, UserErrorException
from promptflow_lite.flow.problems import Cursor, kind_of

_SELECTION = re.compile(r"\${([^.]+).([^}]+)}\Z")


def parse_selection(text: str) -> tuple[str, str]:
    """`${node.variant}` as node and variant.

    Raises:
        UserErrorException: another form.
    """
    match = _SELECTION.match(text)
    if match is None:
        raise UserErrorException(
            f"The variant {text!r} has no valid form.", hint="Write it as '${node.variant}', in quotes on a shell."
        )
    return match.group(1), match.group(2)


def node_bodies(root: Cursor, variant: str | None) -> list[tuple[str, Cursor]]:
    """Each node's name and the cursor of the body it has with this selection, in file order.

    A node whose name or body is unusable is reported and left out.
    """
    selected_node, selected = parse_selection(variant) if variant else (None, None)
    bodies: list[tuple[str, Cursor]] = []
    is_found = False
    for index, raw in enumerate(root.items("nodes")):
        entry = Cursor(root.document, root.findings, ("nodes", index), raw)
        name = _node_name(raw, index, entry)
        if name is None:
            continue

        body: Cursor | None = entry
        if selected is not None and name == selected_node:
            is_found = True
            body = _variant_body(root, name, selected)
        elif entry.flag("use_variants"):
            body = _default_body(root, name)

        if body is not None:
            bodies.append((name, body))

    if selected_node is not None and not is_found:
        names = [name for name, _ in bodies]
        hint = did_you_mean(selected_node, names)
        error = InvalidFlowError(f"The flow has no node {selected_node!r}.", hint=hint, where=root.where("nodes"))
        root.findings.error(error, ("nodes",), variant)

    return bodies


def _node_name(raw: Any, index: int, entry: Cursor) -> str | None:
    if not isinstance(raw, dict):
        message = f"Node {index} must be a mapping, not {kind_of(raw)}."
        entry.wrong(message, code="flow.not_a_mapping", hint="Write '- name: NAME' and the node's keys below it.")
        return None

    name = entry.text("name")
    if not name:
        entry.wrong(f"Node {index} has no name.", code="flow.missing_name", hint="Add 'name:' to it.")
        return None

    if "." in name:
        message = f"The node name {name!r} has a dot, so that no reference can name it."
        entry.warn(message, "name", code="flow.node_name", hint="Use '_' instead.")

    return name


def _default_body(root: Cursor, name: str) -> Cursor | None:
    group = _variant_group(root, name)
    if group is None:
        return None

    default = group.text("default_variant_id")
    if not default:
        _report(group, f"Node {name!r} uses variants, but no default variant is set.", "Add 'default_variant_id:'.")
        return None

    return _body(group, name, default)


def _variant_body(root: Cursor, name: str, variant: str) -> Cursor | None:
    group = _variant_group(root, name)
    return None if group is None else _body(group, name, variant)


def _variant_group(root: Cursor, name: str) -> Cursor | None:
    groups = root.mapping("node_variants")
    raw = groups.get(name)
    if not isinstance(raw, dict):
        hint = "Add it under 'node_variants:', or remove 'use_variants'."
        _report(groups, f"No variants are defined for node {name!r}.", hint)
        return None

    return groups.child(name, raw)


def _body(group: Cursor, name: str, variant: str) -> Cursor | None:
    variants = group.mapping("variants")
    raw = variants.get(variant)
    node = raw.get("node") if isinstance(raw, dict) else None
    if not isinstance(node, dict):
        hint = did_you_mean(variant, variants.value)
        _report(variants, f"Node {name!r} has no variant {variant!r}.", hint or "It has no variants at all.")
        return None

    return variants.child(variant, raw).child("node", node)


def _report(cursor: Cursor, message: str, hint: str) -> None:
    cursor.findings.error(InvalidFlowError(message, hint=hint, where=cursor.where()), cursor.steps)
