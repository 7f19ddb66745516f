"""Edits of a flow as pure functions: a project and an operation give the project after it.

Operations are what the canvas and the cells send, as plain mappings with a key `op`; the table at the end lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import parse_yaml
from promptflow_lite.flow.splice import replace_value
from promptflow_lite.sdk.studio.graph import Graph, GraphNode, as_reference, read_graph
from promptflow_lite.sdk.studio.sources import parameters_of

Op = Mapping[str, Any]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_VARIANT = re.compile(r"[A-Za-z0-9_-]+\Z")
_RESERVED = {"inputs", "outputs", "flow"}
_STARTERS = {
    "llm": (".jinja2", "# system:\nYou are a helpful assistant.\n\n# user:\n"),
    "prompt": (".jinja2", ""),
    "python": (".py", "from promptflow.core import tool\n\n\n@tool\ndef {name}(text: str) -> str:\n    return text\n"),
}


@dataclass(frozen=True, slots=True)
class Project:
    """The texts of a flow: its yaml and the sources of its nodes."""

    yaml: str
    sources: dict[str, str] = field(default_factory=dict)
    """Path relative to the flow -> text."""

    def graph(self, shown: Mapping[str, str] | None = None) -> Graph:
        """The flow as a graph. Raises `FlowSyntaxError` when the yaml cannot be parsed."""
        return read_graph(parse_yaml(self.yaml).value, shown or {})


def apply(project: Project, op: Op, shown: Mapping[str, str] | None = None) -> Project:
    """The project after one operation.

    Args:
        project: The texts before.
        op: The operation.
        shown: Node name -> variant that is being edited.

    Raises:
        UserErrorException: the operation makes no sense here; nothing is changed.
        FlowSyntaxError: the yaml cannot be parsed.
    """
    edit = _EDITS.get(str(op.get("op")))
    if edit is None:
        raise UserErrorException(f"The studio knows no edit {op.get('op')!r}.")

    return edit(_Context(project, dict(shown or {})), op)


def value_text(value: Any) -> str:
    """A value of the yaml as the text of a field; `parse_value` turns it back."""
    if isinstance(value, str):
        return value if parse_value(value) == value else dumps(value)

    return "" if value is None else dumps(value)


def parse_value(text: str) -> Any:
    """What somebody means by the text of a field: a number, true, JSON, or the text itself."""
    stripped = text.strip()
    if as_reference(stripped):
        return stripped

    if not stripped or not re.match(r'[-+.\d\["{]|true$|false$', stripped):
        return text

    try:
        value = loads(stripped) if stripped[0] in '["{' else parse_yaml(stripped).value
    except (UserErrorException, ValueError):
        return text

    is_json = stripped[0] in '["{'
    return value if is_json or isinstance(value, bool | int | float) else text


@dataclass(slots=True)
class _Context:
    project: Project
    shown: dict[str, str]

    def graph(self) -> Graph:
        return self.project.graph(self.shown)

    def node(self, op: Op) -> GraphNode:
        name = op.get("node")
        node = self.graph().nodes.get(str(name))
        if node is None:
            raise UserErrorException(f"There is no node {name!r}.", hint="It may have been deleted meanwhile.")

        return node

    def edited(self, change: Callable[[Any], None]) -> Project:
        """Change a copy of the parsed file; the text changes only where the copy differs."""
        root = _copied(parse_yaml(self.project.yaml).value or {})
        change(root)
        return replace(self.project, yaml=replace_value(self.project.yaml, root))

    def edited_body(self, node: GraphNode, change: Callable[[Any], None]) -> Project:
        """Change the mapping that holds the node: its own, or its shown variant's."""
        return self.edited(lambda root: change(_body(root, node)))


def _entry(root: Any, name: str) -> Any:
    return next(entry for entry in root["nodes"] if entry.get("name") == name)


def _body(root: Any, node: GraphNode) -> Any:
    if node.variant is None:
        return _entry(root, node.name)

    return root["node_variants"][node.name]["variants"][node.variant]["node"]


def _mapping_in(parent: Any, key: str) -> Any:
    """The mapping under a key, created (or made a mapping) where needed."""
    if not isinstance(parent.get(key), dict) or not parent[key]:
        parent[key] = {}

    return parent[key]


# --- nodes ----------------------------------------------------------------------------------------------------------


def _add(context: _Context, op: Op) -> Project:
    kind = str(op.get("kind"))
    if kind not in _STARTERS:
        raise UserErrorException(f"The studio cannot add a node of kind {kind!r}.")

    graph = context.graph()
    name = str(op.get("name") or _free_name(f"new_{kind}", [*graph.nodes, *_RESERVED]))
    _check_name(name, graph)
    suffix, starter = _STARTERS[kind]
    path = _free_path(context.project, name, suffix)
    entry: dict[str, Any] = {"name": name, "type": kind, "source": {"type": "code", "path": path}, "inputs": {}}
    if kind == "llm":
        entry["inputs"] = {"temperature": 0, "max_tokens": 256}
        entry["api"] = "chat"

    def change(root: Any) -> None:
        nodes = root.get("nodes")
        if not nodes:
            root["nodes"] = []

        after = op.get("after")
        names = [item.get("name") for item in root["nodes"]]
        root["nodes"].insert(names.index(after) + 1 if after in names else len(names), entry)

    edited = context.edited(change)
    return replace(edited, sources={**edited.sources, path: starter.replace("{name}", name)})


def _delete(context: _Context, op: Op) -> Project:
    gone = {str(name) for name in op.get("nodes") or []}

    def change(root: Any) -> None:
        for index in reversed(range(len(root.get("nodes") or []))):
            if root["nodes"][index].get("name") in gone:
                del root["nodes"][index]

        for name in gone & set(root.get("node_variants") or {}):
            del root["node_variants"][name]

        if "node_variants" in root and not root["node_variants"]:
            del root["node_variants"]

        for body in _bodies(root):
            _drop_references(body, gone)
        _drop_outputs(root, gone)

    return context.edited(change)


def _rename(context: _Context, op: Op) -> Project:
    node, name = context.node(op), str(op.get("name"))
    _check_name(name, context.graph())
    pattern = re.compile(r"\$\{\s*" + re.escape(node.name) + r"(?=[.}\[\s])")

    def change(root: Any) -> None:
        _entry(root, node.name)["name"] = name
        if node.name in (root.get("node_variants") or {}):
            _rename_key(root["node_variants"], node.name, name)
        _replace_text(root, lambda text: pattern.sub("${" + name, text) if as_reference(text) else text)

    return context.edited(change)


def _toggle(context: _Context, op: Op) -> Project:
    key = str(op.get("key"))

    def change(body: Any) -> None:
        if body.get(key):
            del body[key]
        else:
            body[key] = True

    return context.edited_body(context.node(op), change)


# --- edges ----------------------------------------------------------------------------------------------------------


def _connect(context: _Context, op: Op) -> Project:
    source, target, name = str(op.get("source")), str(op.get("target")), op.get("input")
    graph = context.graph()
    if target in graph.nodes and source in graph.nodes and target in graph.ancestors(source):
        raise UserErrorException(
            f"{target!r} already leads to {source!r}: the edge would close a cycle.",
            hint="Remove one of the edges between them first.",
        )

    if target == "outputs":
        return _set_output(context, {"output": str(name or source), "value": f"${{{source}.output}}"})

    node = context.node({"node": target})
    if source == "inputs":
        return _connect_input(context, graph, node, str(name) if name else None)

    if source not in graph.nodes:
        raise UserErrorException(f"There is no node {source!r}.")

    return _set_input(context, {"node": target, "input": str(name or source), "value": f"${{{source}.output}}"})


def _connect_input(context: _Context, graph: Graph, node: GraphNode, name: str | None) -> Project:
    candidates = [input_name for input_name in graph.inputs if input_name not in node.inputs]
    chosen = name if name in graph.inputs or not candidates else candidates[0]
    chosen = chosen or name or "text"
    edited = context.project
    if chosen not in graph.inputs:
        edited = _set_flow_input(context, {"input": chosen, "key": "type", "value": "string"})

    return _set_input(
        _Context(edited, context.shown),
        {"node": node.name, "input": name or chosen, "value": f"${{inputs.{chosen}}}"},
    )


def _disconnect(context: _Context, op: Op) -> Project:
    source, target = str(op.get("source")), str(op.get("target"))
    if target == "outputs":
        return context.edited(lambda root: _drop_outputs(root, {source}))

    return context.edited_body(context.node({"node": target}), lambda body: _drop_references(body, {source}))


# --- inputs of nodes ------------------------------------------------------------------------------------------------


def _set_input(context: _Context, op: Op) -> Project:
    node, name, value = context.node(op), str(op.get("input")), op.get("value")
    if not name.strip():
        raise UserErrorException("An input needs a name.")

    return context.edited_body(node, lambda body: _mapping_in(body, "inputs").update({name: _typed(value)}))


def _remove_input(context: _Context, op: Op) -> Project:
    def change(body: Any) -> None:
        (body.get("inputs") or {}).pop(str(op.get("input")), None)

    return context.edited_body(context.node(op), change)


def _set_connection(context: _Context, op: Op) -> Project:
    def change(body: Any) -> None:
        if op.get("connection"):
            body["connection"] = op["connection"]
        else:
            body.pop("connection", None)
            body.pop("provider", None)

    return context.edited_body(context.node(op), change)


def _set_text(context: _Context, op: Op) -> Project:
    """Change a source; template variables that name a flow input or a node are bound to it at once."""
    path, text = str(op.get("path")), str(op.get("text"))
    if path == "flow.dag.yaml":
        return replace(context.project, yaml=text)

    project = replace(context.project, sources={**context.project.sources, path: text})
    graph = context.graph()
    node = graph.nodes.get(str(op.get("node")))
    if node is None or node.source != path:
        return project

    before = {parameter.name for parameter in parameters_of(node.kind, context.project.sources.get(path, ""))}
    known = {**{name: f"${{inputs.{name}}}" for name in graph.inputs}}
    known |= {name: f"${{{name}.output}}" for name in graph.nodes if node.name not in graph.ancestors(name)}
    for parameter in parameters_of(node.kind, text):
        if parameter.name in known and parameter.name not in node.inputs and parameter.name not in before:
            bind = {"node": node.name, "input": parameter.name, "value": known[parameter.name]}
            project = _set_input(_Context(project, context.shown), bind)
    return project


# --- variants -------------------------------------------------------------------------------------------------------


def _add_variant(context: _Context, op: Op) -> Project:
    node = context.node(op)
    names = node.variants or ["variant_0"]
    name = str(op.get("name") or _free_name("variant_1", names, start=len(names)))
    if not _VARIANT.match(name) or name in names:
        raise UserErrorException(f"{name!r} is no free name of a variant.", hint="Use letters, digits, '_' and '-'.")

    body = {key: value for key, value in node.body.items() if key not in ("name", "use_variants")}
    copy = dict(body)
    sources = dict(context.project.sources)
    if node.source in sources and node.source is not None:
        file = PurePosixPath(node.source)
        path = _free_path(context.project, f"{node.name}__{name}", file.suffix, folder=file.parent)
        copy["source"] = {**body["source"], "path": path}
        sources[path] = sources[node.source]

    def change(root: Any) -> None:
        if not node.variants:
            _make_variants(root, node, body)

        root["node_variants"][node.name]["variants"][name] = {"node": copy}

    return replace(context.edited(change), sources=sources)


def _make_variants(root: Any, node: GraphNode, body: dict[str, Any]) -> None:
    entry = _entry(root, node.name)
    moved = {key: entry.pop(key) for key in list(entry) if key != "name"}
    entry["use_variants"] = True
    group = {"default_variant_id": "variant_0", "variants": {"variant_0": {"node": moved}}}
    _mapping_in(root, "node_variants")[node.name] = group


def _remove_variant(context: _Context, op: Op) -> Project:
    node, name = context.node(op), str(op.get("variant"))
    if name not in node.variants or len(node.variants) < 2:
        raise UserErrorException("The last variant of a node cannot be removed.", hint="Delete the node instead.")

    def change(root: Any) -> None:
        group = root["node_variants"][node.name]
        del group["variants"][name]
        if group.get("default_variant_id") == name:
            group["default_variant_id"] = next(iter(group["variants"]))

    return context.edited(change)


def _set_default_variant(context: _Context, op: Op) -> Project:
    node, name = context.node(op), str(op.get("variant"))
    if name not in node.variants:
        raise UserErrorException(f"{node.name!r} has no variant {name!r}.")

    return context.edited(lambda root: root["node_variants"][node.name].update(default_variant_id=name))


# --- inputs and outputs of the flow ---------------------------------------------------------------------------------


def _set_flow_input(context: _Context, op: Op) -> Project:
    name, key, value = str(op.get("input")), str(op.get("key")), op.get("value")
    if not _NAME.match(name):
        raise UserErrorException(f"{name!r} is no usable input name.", hint="Use letters, digits and '_'.")

    def change(root: Any) -> None:
        spec = _mapping_in(_mapping_in(root, "inputs"), name)
        if key == "default" and value == "":
            spec.pop("default", None)
        else:
            spec[key] = value if key == "type" else _default_of(spec.get("type"), value)
        if "type" not in spec:
            spec["type"] = "string"

    return context.edited(change)


def _default_of(type_: Any, value: Any) -> Any:
    return value if type_ == "string" else _typed(value)


def _rename_flow_input(context: _Context, op: Op) -> Project:
    before, name = str(op.get("input")), str(op.get("name"))
    graph = context.graph()
    if not _NAME.match(name) or name in graph.inputs:
        raise UserErrorException(f"{name!r} is no free input name.", hint="Use letters, digits and '_'.")

    old = {f"${{inputs.{before}}}", f"${{flow.{before}}}"}

    def change(root: Any) -> None:
        _rename_key(root["inputs"], before, name)
        _replace_text(root, lambda text: f"${{inputs.{name}}}" if text in old else text)

    return context.edited(change)


def _remove_flow_input(context: _Context, op: Op) -> Project:
    name = str(op.get("input"))

    def change(root: Any) -> None:
        (root.get("inputs") or {}).pop(name, None)

    return context.edited(change)


def _set_output(context: _Context, op: Op) -> Project:
    name, value = str(op.get("output")), str(op.get("value"))

    def change(root: Any) -> None:
        spec = _mapping_in(_mapping_in(root, "outputs"), name)
        if "type" not in spec:
            spec["type"] = "string"
        spec["reference"] = value

    return context.edited(change)


def _remove_output(context: _Context, op: Op) -> Project:
    def change(root: Any) -> None:
        (root.get("outputs") or {}).pop(str(op.get("output")), None)

    return context.edited(change)


# --- small parts ----------------------------------------------------------------------------------------------------


def _check_name(name: str, graph: Graph) -> None:
    if not _NAME.match(name) or name in _RESERVED:
        raise UserErrorException(f"{name!r} is no usable node name.", hint="Use letters, digits and '_'.")

    if name in graph.nodes:
        raise UserErrorException(f"There is a node {name!r} already.", hint="Choose another name.")


def _free_name(stem: str, taken: list[str], *, start: int = 2) -> str:
    if stem not in taken:
        return stem

    base = re.sub(r"_\d+$", "", stem)
    return next(name for number in range(start, 10_000) if (name := f"{base}_{number}") not in taken)


def _free_path(project: Project, stem: str, suffix: str, folder: PurePosixPath | None = None) -> str:
    used = set(project.sources)
    names = (f"{stem}{suffix}" if number == 1 else f"{stem}_{number}{suffix}" for number in range(1, 10_000))
    return next(path for name in names if (path := str((folder or PurePosixPath()) / name)) not in used)


def _typed(value: Any) -> Any:
    return parse_value(value) if isinstance(value, str) else value


def _copied(value: Any) -> Any:
    """A copy in which what an alias repeats is separate."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}

    return [_copied(item) for item in value] if isinstance(value, list) else value


def _bodies(root: Any) -> Iterator[Any]:
    yield from root.get("nodes") or []
    for group in (root.get("node_variants") or {}).values():
        for variant in (group.get("variants") or {}).values():
            if isinstance(variant.get("node"), dict):
                yield variant["node"]


def _reads(value: Any, sources: set[str]) -> bool:
    reference = as_reference(value)
    if reference is None:
        return False

    return ("inputs" if reference.kind == "input" else reference.name) in sources


def _drop_references(body: Any, sources: set[str]) -> None:
    inputs = body.get("inputs") or {}
    for name in [name for name, value in inputs.items() if _reads(value, sources)]:
        del inputs[name]

    if _reads(body.get("for_each"), sources):
        del body["for_each"]

    if isinstance(body.get("activate"), dict) and _reads(body["activate"].get("when"), sources):
        del body["activate"]


def _drop_outputs(root: Any, sources: set[str]) -> None:
    outputs = root.get("outputs") or {}
    for name in [name for name, spec in outputs.items() if _reads((spec or {}).get("reference"), sources)]:
        del outputs[name]


def _rename_key(mapping: Any, before: str, name: str) -> None:
    items = [(name if key == before else key, value) for key, value in mapping.items()]
    mapping.clear()
    mapping.update(items)


def _replace_text(value: Any, rewrite: Callable[[str], str]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        if isinstance(item, str):
            new = rewrite(item)
            if new != item:
                value[key] = new
        else:
            _replace_text(item, rewrite)


_EDITS: dict[str, Callable[[_Context, Op], Project]] = {
    "add": _add,
    "delete": _delete,
    "rename": _rename,
    "toggle": _toggle,
    "connect": _connect,
    "disconnect": _disconnect,
    "set_input": _set_input,
    "remove_input": _remove_input,
    "set_connection": _set_connection,
    "set_text": _set_text,
    "add_variant": _add_variant,
    "remove_variant": _remove_variant,
    "set_default_variant": _set_default_variant,
    "set_flow_input": _set_flow_input,
    "rename_flow_input": _rename_flow_input,
    "remove_flow_input": _remove_flow_input,
    "set_output": _set_output,
    "remove_output": _remove_output,
}

OPERATIONS = frozenset(_EDITS)
"""Operations that change files."""
