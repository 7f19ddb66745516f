"""Changes of a DAG flow as data: operations that an editor sends, applied to the text of its `flow.dag.yaml`.

An operation says what the parsed file should hold afterwards; `splice` changes the text so that it does and leaves
everything else alone. Undo is the text from before.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from promptflow_lite._utils.files import changing, replace_file
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import (
    FileChangedError,
    FlowEditError,
    Location,
    NodeCircularDependency,
    PromptflowException,
)
from promptflow_lite.flow.dag import NODE_KEYS, OPERATORS
from promptflow_lite.flow.loader import parse_dag
from promptflow_lite.flow.problems import CollectedFindings, Cursor
from promptflow_lite.flow.references import parse_reference
from promptflow_lite.flow.splice import replace_value
from promptflow_lite.flow.yaml_io import YamlDocument, decode_text, parse_yaml

_BOM = b"\xef\xbb\xbf"
_NAME = re.compile(r"[A-Za-z_][\w-]*\Z")


def apply(text: str, op: Op) -> str:
    """The flow's text after an operation.

    Raises:
        FlowSyntaxError: `text` is not YAML.
        FlowEditError: the operation does not fit this flow.
        NodeCircularDependency: the operation would close a loop.
    """
    data = parse_yaml(text).value
    before = {} if data is None else data
    if not isinstance(before, dict):
        raise FlowEditError("The file holds no mapping, so it cannot be edited as a flow.")

    after = _unshared(before)
    op.transform(after)
    _refuse_new_loops(before, after)
    return text if data is None and not after else replace_value(text, after)


def _unshared(value: Any) -> Any:
    """A copy in which what an alias repeats is separate, so that an operation changes one place only."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}

    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _refuse_new_loops(before: dict[str, Any], after: dict[str, Any]) -> None:
    error = _loop(after)
    if error is not None and _loop(before) is None:
        error.where = None
        raise error


def _loop(data: dict[str, Any]) -> PromptflowException | None:
    findings = CollectedFindings()
    errors: list[PromptflowException] = []
    findings.error = lambda error, steps=(), value=None: errors.append(error)  # type: ignore[method-assign]
    parse_dag(Path("flow.dag.yaml"), Cursor(YamlDocument(data, "flow.dag.yaml"), findings, (), data))
    return next((error for error in errors if isinstance(error, NodeCircularDependency)), None)


# --- files ---------------------------------------------------------------------------------------------------------


def read_for_edit(path: Path) -> tuple[str, str]:
    """The text of a file with its line ends, and a digest that `save` checks.

    Raises:
        FlowSyntaxError: the file is not text.
    """
    raw = path.read_bytes()
    return decode_text(raw, str(path)), digest_of(raw)


def digest_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def save(path: Path, text: str, expected_digest: str | None) -> str:
    """Write a file whole, or not at all.

    Args:
        path: The file.
        text: Its new content.
        expected_digest: The digest from reading it; None when it must not exist yet.

    Returns:
        The digest of what was written.

    Raises:
        FileChangedError: somebody else changed, made or removed the file meanwhile.
    """
    with changing(path):
        current = path.read_bytes() if path.exists() else None
        if (None if current is None else digest_of(current)) != expected_digest:
            raise FileChangedError(
                f"{path.name!r} was changed by somebody else meanwhile.",
                hint="Load it again and repeat the edit.",
                where=Location(str(path)),
            )
        raw = text.encode()
        if current is not None and current.startswith(_BOM):
            raw = _BOM + raw

        replace_file(path, raw)

    return digest_of(raw)


# --- operations ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Op(abc.ABC):
    """Something to change in a flow; `to_dict` and `op_from_dict` carry it over the wire."""

    kind: ClassVar[str] = ""

    @abc.abstractmethod
    def transform(self, data: dict[str, Any]) -> None:
        """Change the parsed flow in place."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `op_from_dict` reads it."""
        return {"op": self.kind, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class AddNode(Op):
    """Add a node, at the end or behind another one."""

    kind = "add_node"
    node: dict[str, Any]
    after: str | None = None

    def transform(self, data: dict[str, Any]) -> None:
        name = str(self.node.get("name", ""))
        _check_new_name(name, _node_names(data), "node")
        nodes = _nodes(data)
        position = len(nodes) if self.after is None else nodes.index(_node(data, self.after)) + 1
        nodes.insert(position, copy.deepcopy(self.node))


@dataclass(frozen=True)
class DeleteNode(Op):
    """Remove a node and its variants; with `clear_references` also everything that reads it."""

    kind = "delete_node"
    name: str
    clear_references: bool = False

    def transform(self, data: dict[str, Any]) -> None:
        _nodes(data).remove(_node(data, self.name))
        _drop(data, "node_variants", self.name)
        if not self.clear_references:
            return

        for body in _bodies(data):
            _clear_references(body, self.name)

        outputs = data.get("outputs")
        if isinstance(outputs, dict):
            for name, output in list(outputs.items()):
                if isinstance(output, dict) and _reads(output.get("reference"), self.name):
                    del outputs[name]


@dataclass(frozen=True)
class RenameNode(Op):
    """Give a node another name; every reference to it follows."""

    kind = "rename_node"
    name: str
    new_name: str

    def transform(self, data: dict[str, Any]) -> None:
        node = _node(data, self.name)
        _check_new_name(self.new_name, _node_names(data), "node")
        node["name"] = self.new_name
        _rename_key(data.get("node_variants"), self.name, self.new_name)
        _rewrite_references(data, "node", self.name, self.new_name)


@dataclass(frozen=True)
class SetNodeInput(Op):
    """Give a node's input a literal or a reference."""

    kind = "set_node_input"
    node: str
    input: str
    value: Any
    variant: str | None = None

    def transform(self, data: dict[str, Any]) -> None:
        _section(_body(data, self.node, self.variant), "inputs")[self.input] = copy.deepcopy(self.value)


@dataclass(frozen=True)
class ClearNodeInput(Op):
    """Remove an input of a node."""

    kind = "clear_node_input"
    node: str
    input: str
    variant: str | None = None

    def transform(self, data: dict[str, Any]) -> None:
        inputs = _section(_body(data, self.node, self.variant), "inputs")
        _pop(inputs, self.input, f"input of node {self.node!r}")


@dataclass(frozen=True)
class Connect(Op):
    """Make a node's input read another node, or a flow input written `inputs.NAME`."""

    kind = "connect"
    source: str
    target: str
    input: str
    path: str = ""
    """Property path behind `output`, such as `.text` or `[0]`."""
    variant: str | None = None

    def transform(self, data: dict[str, Any]) -> None:
        body = _body(data, self.target, self.variant)
        _section(body, "inputs")[self.input] = _reference_to(data, self.source, self.path)


@dataclass(frozen=True)
class Disconnect(Op):
    """Remove an input that is a reference."""

    kind = "disconnect"
    target: str
    input: str
    variant: str | None = None

    def transform(self, data: dict[str, Any]) -> None:
        inputs = _section(_body(data, self.target, self.variant), "inputs")
        if parse_reference(inputs.get(self.input)) is None:
            raise FlowEditError(f"Input {self.input!r} of node {self.target!r} is not connected.")

        del inputs[self.input]


@dataclass(frozen=True)
class SetNodeField(Op):
    """Set a key of a node, such as `connection` or `source.path`; null removes it."""

    kind = "set_node_field"
    node: str
    key: str
    value: Any
    variant: str | None = None

    def transform(self, data: dict[str, Any]) -> None:
        head, _, rest = self.key.partition(".")
        if head == "name" or head not in NODE_KEYS:
            raise FlowEditError(f"The key {self.key!r} of a node cannot be set.", hint=did_you_mean(head, NODE_KEYS))

        body = _node(data, self.node) if head == "use_variants" else _body(data, self.node, self.variant)
        _set(_section(body, head) if rest else body, rest or head, self.value)


@dataclass(frozen=True)
class SetActivate(Op):
    """Set a node's condition; without `when` it is removed."""

    kind = "set_activate"
    node: str
    when: Any = None
    value: Any = None
    operator: str = "is"
    variant: str | None = None

    def transform(self, data: dict[str, Any]) -> None:
        if self.operator not in OPERATORS:
            hint = did_you_mean(self.operator, OPERATORS)
            raise FlowEditError(f"The operator {self.operator!r} is unknown.", hint=hint)

        body = _body(data, self.node, self.variant)
        condition = None if self.when is None else {"when": self.when, self.operator: copy.deepcopy(self.value)}
        _set(body, "activate", condition)


@dataclass(frozen=True)
class MoveNode(Op):
    """Put a node at another place of the file."""

    kind = "move_node"
    name: str
    index: int

    def transform(self, data: dict[str, Any]) -> None:
        node = _node(data, self.name)
        nodes = _nodes(data)
        nodes.remove(node)
        nodes.insert(max(0, min(self.index, len(nodes))), node)


@dataclass(frozen=True)
class SetFlowField(Op):
    """Set a top-level key such as `description`, `display_name`, `tags` or `environment_variables`; null removes it."""

    kind = "set_flow_field"
    key: str
    value: Any

    def transform(self, data: dict[str, Any]) -> None:
        known = ("name", "description", "display_name", "type", "tags", "environment_variables", "message_format")
        allowed = (*known, "environment", "additional_includes")
        if self.key not in allowed:
            hint = did_you_mean(self.key, allowed)
            raise FlowEditError(f"The key {self.key!r} of a flow cannot be set.", hint=hint)

        _set(data, self.key, self.value)


@dataclass(frozen=True)
class SetInput(Op):
    """Declare a flow input, or change its declaration."""

    kind = "set_input"
    name: str
    spec: dict[str, Any]

    def transform(self, data: dict[str, Any]) -> None:
        inputs = _section(data, "inputs")
        if self.name not in inputs:
            _check_new_name(self.name, inputs, "input")

        inputs[self.name] = copy.deepcopy(self.spec)


@dataclass(frozen=True)
class DeleteInput(Op):
    """Remove the declaration of a flow input."""

    kind = "delete_input"
    name: str

    def transform(self, data: dict[str, Any]) -> None:
        _pop(_section(data, "inputs"), self.name, "flow input")


@dataclass(frozen=True)
class RenameInput(Op):
    """Give a flow input another name; every reference to it follows."""

    kind = "rename_input"
    name: str
    new_name: str

    def transform(self, data: dict[str, Any]) -> None:
        inputs = _section(data, "inputs")
        _require(inputs, self.name, "flow input")
        _check_new_name(self.new_name, inputs, "input")
        _rename_key(inputs, self.name, self.new_name)
        _rewrite_references(data, "input", self.name, self.new_name)


@dataclass(frozen=True)
class SetOutput(Op):
    """Declare a flow output, or change its declaration."""

    kind = "set_output"
    name: str
    spec: dict[str, Any]

    def transform(self, data: dict[str, Any]) -> None:
        outputs = _section(data, "outputs")
        if self.name not in outputs:
            _check_new_name(self.name, outputs, "output")

        outputs[self.name] = copy.deepcopy(self.spec)


@dataclass(frozen=True)
class DeleteOutput(Op):
    """Remove a flow output."""

    kind = "delete_output"
    name: str

    def transform(self, data: dict[str, Any]) -> None:
        _pop(_section(data, "outputs"), self.name, "flow output")


@dataclass(frozen=True)
class RenameOutput(Op):
    """Give a flow output another name."""

    kind = "rename_output"
    name: str
    new_name: str

    def transform(self, data: dict[str, Any]) -> None:
        outputs = _section(data, "outputs")
        _require(outputs, self.name, "flow output")
        _check_new_name(self.new_name, outputs, "output")
        _rename_key(outputs, self.name, self.new_name)


@dataclass(frozen=True)
class AddVariant(Op):
    """Add a variant of a node, as a copy of another one unless a body is given.

    A node without variants gets its present body as `variant_0`, the default.
    """

    kind = "add_variant"
    node: str
    variant: str
    body: dict[str, Any] | None = None
    copy_of: str | None = None

    def transform(self, data: dict[str, Any]) -> None:
        group = _variant_group(data, self.node) if _has_variants(data, self.node) else self.introduce(data)
        variants = _section(group, "variants")
        _check_new_name(self.variant, variants, "variant")
        source = self.copy_of or group.get("default_variant_id")
        body = self.body if self.body is not None else _variant(group, self.node, str(source))["node"]
        variants[self.variant] = {"node": copy.deepcopy(body)}

    def introduce(self, data: dict[str, Any]) -> dict[str, Any]:
        node = _node(data, self.node)
        body = {key: node.pop(key) for key in list(node) if key != "name"}
        node["use_variants"] = True
        first = "variant_0" if self.variant != "variant_0" else "original"
        group = {"default_variant_id": first, "variants": {first: {"node": body}}}
        _section(data, "node_variants")[self.node] = group
        return group


@dataclass(frozen=True)
class DeleteVariant(Op):
    """Remove a variant that is not the default."""

    kind = "delete_variant"
    node: str
    variant: str

    def transform(self, data: dict[str, Any]) -> None:
        group = _variant_group(data, self.node)
        if group.get("default_variant_id") == self.variant:
            hint = "Make another variant the default first."
            raise FlowEditError(f"{self.variant!r} is the default variant of node {self.node!r}.", hint=hint)

        _pop(_section(group, "variants"), self.variant, f"variant of node {self.node!r}")


@dataclass(frozen=True)
class SetDefaultVariant(Op):
    """Choose the variant that runs when none is selected."""

    kind = "set_default_variant"
    node: str
    variant: str

    def transform(self, data: dict[str, Any]) -> None:
        group = _variant_group(data, self.node)
        _variant(group, self.node, self.variant)
        group["default_variant_id"] = self.variant


@dataclass(frozen=True)
class PromoteVariant(Op):
    """Make a variant the node's only body and drop the others."""

    kind = "promote_variant"
    node: str
    variant: str

    def transform(self, data: dict[str, Any]) -> None:
        body = _variant(_variant_group(data, self.node), self.node, self.variant)["node"]
        node = _node(data, self.node)
        node.clear()
        node.update({"name": self.node, **copy.deepcopy(body)})
        _drop(data, "node_variants", self.node)


OPERATIONS: dict[str, type[Op]] = {
    cls.kind: cls
    for cls in (
        AddNode,
        DeleteNode,
        RenameNode,
        SetNodeInput,
        ClearNodeInput,
        Connect,
        Disconnect,
        SetNodeField,
        SetActivate,
        MoveNode,
        SetFlowField,
        SetInput,
        DeleteInput,
        RenameInput,
        SetOutput,
        DeleteOutput,
        RenameOutput,
        AddVariant,
        DeleteVariant,
        SetDefaultVariant,
        PromoteVariant,
    )
}
"""Operation name -> class."""


def op_from_dict(data: Any) -> Op:
    """An operation from its JSON form.

    Raises:
        FlowEditError: it names no operation, or its fields do not fit.
    """
    if not isinstance(data, dict) or data.get("op") not in OPERATIONS:
        name = data.get("op") if isinstance(data, dict) else data
        raise FlowEditError(f"{name!r} is no edit operation.", hint=did_you_mean(str(name), OPERATIONS))

    cls = OPERATIONS[data["op"]]
    values = {key: value for key, value in data.items() if key != "op"}
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = [key for key in values if key not in fields]
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in values]
    wrong = [key for key, value in values.items() if key in fields and not _fits(value, str(fields[key].type))]
    if unknown or missing or wrong:
        raise FlowEditError(
            f"The operation {cls.kind!r} has unknown fields {unknown}, lacks {missing}, has wrong values in {wrong}.",
            hint=f"Its fields are {', '.join(fields)}.",
        )
    return cls(**values)


def _fits(value: Any, annotation: str) -> bool:
    types: dict[str, Any] = {"str": str, "bool": bool, "int": int, "dict[str, Any]": dict}
    allowed = [types[part.strip()] for part in annotation.split("|") if part.strip() in types]
    return "Any" == annotation or (value is None and "None" in annotation) or isinstance(value, tuple(allowed))


# --- the parsed flow -----------------------------------------------------------------------------------------------


def _nodes(data: dict[str, Any]) -> list[Any]:
    nodes = data.get("nodes")
    if not isinstance(nodes, list):
        nodes = data["nodes"] = []

    return nodes


def _node_names(data: dict[str, Any]) -> list[str]:
    return [str(node.get("name")) for node in _nodes(data) if isinstance(node, dict)]


def _node(data: dict[str, Any], name: str) -> dict[str, Any]:
    for node in _nodes(data):
        if isinstance(node, dict) and node.get("name") == name:
            return node

    raise FlowEditError(f"The flow has no node {name!r}.", hint=did_you_mean(name, _node_names(data)))


def _has_variants(data: dict[str, Any], name: str) -> bool:
    return _node(data, name).get("use_variants") is True


def _body(data: dict[str, Any], name: str, variant: str | None) -> dict[str, Any]:
    """The body to edit: the named variant, else the default one, else the node itself."""
    node = _node(data, name)
    if variant is None and not _has_variants(data, name):
        return node

    group = _variant_group(data, name)
    body: dict[str, Any] = _variant(group, name, variant or str(group.get("default_variant_id")))["node"]
    return body


def _variant_group(data: dict[str, Any], name: str) -> dict[str, Any]:
    groups = data.get("node_variants")
    group = groups.get(name) if isinstance(groups, dict) else None
    if not isinstance(group, dict):
        raise FlowEditError(f"Node {name!r} has no variants.")

    return group


def _variant(group: dict[str, Any], node: str, name: str) -> dict[str, Any]:
    variants = group.get("variants")
    variant = variants.get(name) if isinstance(variants, dict) else None
    if not isinstance(variant, dict) or not isinstance(variant.get("node"), dict):
        hint = did_you_mean(name, variants) if isinstance(variants, dict) else None
        raise FlowEditError(f"Node {node!r} has no variant {name!r}.", hint=hint)

    return variant


def _bodies(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Every node body, those of variants included."""
    bodies = [node for node in _nodes(data) if isinstance(node, dict)]
    groups = data.get("node_variants")
    for group in groups.values() if isinstance(groups, dict) else ():
        raw_variants = group.get("variants") if isinstance(group, dict) else None
        variants = raw_variants if isinstance(raw_variants, dict) else {}
        found = [variant.get("node") for variant in variants.values() if isinstance(variant, dict)]
        bodies.extend(body for body in found if isinstance(body, dict))

    return bodies


def _section(data: dict[str, Any], key: str) -> dict[str, Any]:
    section = data.get(key)
    if not isinstance(section, dict):
        section = data[key] = {}

    return section


def _set(mapping: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = copy.deepcopy(value)


def _require(mapping: dict[str, Any], name: str, what: str) -> None:
    if name not in mapping:
        raise FlowEditError(f"There is no {what} {name!r}.", hint=did_you_mean(name, mapping))


def _pop(mapping: dict[str, Any], name: str, what: str) -> None:
    _require(mapping, name, what)
    del mapping[name]


def _drop(data: dict[str, Any], section: str, name: str) -> None:
    """Remove an entry of a section, and the section when nothing is left."""
    entries = data.get(section)
    if isinstance(entries, dict) and name in entries:
        del entries[name]
        if not entries:
            del data[section]


def _check_new_name(name: str, taken: Any, what: str) -> None:
    if not _NAME.match(name):
        hint = "Use letters, digits, '_' and '-', starting with a letter."
        raise FlowEditError(f"{name!r} is not a valid {what} name.", hint=hint)

    if name in taken:
        raise FlowEditError(f"There is already a {what} named {name!r}.", hint="Choose another name.")


def _rename_key(mapping: Any, old: str, new: str) -> None:
    if isinstance(mapping, dict) and old in mapping:
        renamed = {new if key == old else key: value for key, value in mapping.items()}
        mapping.clear()
        mapping.update(renamed)


def _reference_to(data: dict[str, Any], source: str, path: str) -> str:
    section, _, name = source.partition(".")
    if section in ("inputs", "flow") and name:
        _require(_section(data, "inputs"), name, "flow input")
        if path:
            raise FlowEditError("A flow input has no properties to reach.")

        return f"${{inputs.{name}}}"

    _node(data, source)
    return f"${{{source}.output{path}}}"


def _reads(value: Any, node: str) -> bool:
    reference = parse_reference(value)
    return reference is not None and reference.kind == "node" and reference.name == node


def _clear_references(body: dict[str, Any], node: str) -> None:
    inputs = body.get("inputs")
    if isinstance(inputs, dict):
        for name, value in list(inputs.items()):
            if _reads(value, node):
                del inputs[name]

    activate = body.get("activate")
    if isinstance(activate, dict) and _reads(activate.get("when"), node):
        del body["activate"]

    if _reads(body.get("for_each"), node):
        del body["for_each"]


def _rewrite_references(data: dict[str, Any], kind: str, old: str, new: str) -> None:
    def rewrite(mapping: Any, key: str) -> None:
        value = mapping.get(key) if isinstance(mapping, dict) else None
        if not isinstance(value, str):
            return

        reference = parse_reference(value)
        if reference is not None and reference.kind == kind and reference.name == old:
            section = r"(?:inputs|flow)\." if kind == "input" else ""
            mapping[key] = re.sub(rf"^(\$\{{\s*{section}){re.escape(old)}", lambda m: m.group(1) + new, value)

    for body in _bodies(data):
        inputs = body.get("inputs")
        for name in inputs if isinstance(inputs, dict) else ():
            rewrite(inputs, name)

        rewrite(body.get("activate"), "when")
        rewrite(body, "for_each")

    outputs = data.get("outputs")
    for output in outputs.values() if isinstance(outputs, dict) else ():
        rewrite(output, "reference")
