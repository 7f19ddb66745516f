"""Gestures of the studio as pure functions: a project and a gesture give the project after it.

Gestures are what the canvas and the cells send, as plain mappings with a key `op`; the table at the end lists them.
What they change in the flow's file is said in operations of `flow.edit`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import edit, parse_yaml
from promptflow_lite.sdk.studio.graph import Graph, GraphNode, as_reference, read_graph
from promptflow_lite.sdk.studio.sources import parameters_of
from promptflow_lite.tools.package import find_package_tool

Op = Mapping[str, Any]

_RESERVED = {"inputs", "outputs", "flow", "item"}
_STARTERS = {
    "llm": (".jinja2", "# system:\nYou are a helpful assistant.\n\n# user:\n"),
    "prompt": (".jinja2", ""),
    "python": (".py", "from promptflow.core import tool\n\n\n@tool\ndef {name}(text: str) -> str:\n    return text\n"),
    "for_each": (
        ".py",
        "from promptflow.core import tool\n\n\n@tool\ndef {name}(item: str) -> str:\n    return item\n",
    ),
}
"""Kind of a new node -> suffix and first text of its source."""


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
    """The project after one gesture.

    Args:
        project: The texts before.
        op: The gesture.
        shown: Node name -> variant that is being edited.

    Raises:
        UserErrorException: the gesture makes no sense here; nothing is changed.
        FlowSyntaxError: the yaml cannot be parsed.
    """
    gesture = _GESTURES.get(str(op.get("op")))
    if gesture is None:
        raise UserErrorException(f"The studio knows no edit {op.get('op')!r}.")

    return gesture(_Context(project, dict(shown or {})), op)


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

    def edited(self, *operations: edit.Op) -> Project:
        """The project with operations applied to its yaml."""
        text = self.project.yaml
        for operation in operations:
            text = edit.apply(text, operation)
        return replace(self.project, yaml=text)


# --- nodes ----------------------------------------------------------------------------------------------------------


def _add(context: _Context, op: Op) -> Project:
    kind, after = str(op.get("kind")), op.get("after")
    graph = context.graph()
    after = after if after in graph.nodes else None
    if kind == "tool":
        return _add_tool(context, op, after)

    if kind == "flow":
        return _add_flow(context, op, after)

    if kind not in _STARTERS:
        raise UserErrorException(f"The studio cannot add a node of kind {kind!r}.")

    name = _new_name(context, op, f"new_{kind}")
    suffix, starter = _STARTERS[kind]
    path = _free_path(context.project, name, suffix)
    body = {"name": name, "type": kind, "source": {"type": "code", "path": path}, **_first_body(kind, graph, after)}
    added = context.edited(edit.AddNode(body, after))
    return replace(added, sources={**added.sources, path: starter.replace("{name}", name)})


def _first_body(kind: str, graph: Graph, after: str | None) -> dict[str, Any]:
    if kind == "llm":
        return {"inputs": {"temperature": 0, "max_tokens": 256}, "api": "chat"}

    if kind == "for_each":
        return {"type": "python", "for_each": _list_to_map(graph, after), "inputs": {"item": "${item}"}}

    return {"inputs": {}}


def _list_to_map(graph: Graph, after: str | None) -> str:
    """The list that a new mapping node goes over: the selected node's output, or an input of the flow."""
    if after is not None:
        return f"${{{after}.output}}"

    lists = [name for name, spec in graph.inputs.items() if spec.get("type") == "list"]
    if not lists:
        raise UserErrorException(
            "There is no list to map over.", hint="Select the node that gives it, or add a flow input of type list."
        )

    return f"${{inputs.{lists[0]}}}"


def _add_tool(context: _Context, op: Op, after: str | None) -> Project:
    tool = str(op.get("tool"))
    metadata = find_package_tool(tool)
    name = _new_name(context, op, str(metadata["function"]))
    source = {"type": "package", "tool": tool}
    if metadata.get("type") != "custom_llm":
        return context.edited(edit.AddNode({"name": name, "type": "python", "source": source, "inputs": {}}, after))

    path = _free_path(context.project, name, ".jinja2")
    source = {"type": "package_with_prompt", "tool": tool, "path": path}
    added = context.edited(edit.AddNode({"name": name, "type": "custom_llm", "source": source, "inputs": {}}, after))
    return replace(added, sources={**added.sources, path: str(metadata.get("default_prompt") or "")})


def _add_flow(context: _Context, op: Op, after: str | None) -> Project:
    path = PurePosixPath(str(op.get("path")))
    name = _new_name(context, op, re.sub(r"\W", "_", path.stem))
    kind = "prompty" if path.suffix == ".prompty" else "flow"
    return context.edited(
        edit.AddNode({"name": name, "type": kind, "source": {"type": "code", "path": str(path)}, "inputs": {}}, after)
    )


def _delete(context: _Context, op: Op) -> Project:
    gone = [str(name) for name in op.get("nodes") or []]
    known = context.graph().nodes
    return context.edited(*(edit.DeleteNode(name, clear_references=True) for name in gone if name in known))


def _rename(context: _Context, op: Op) -> Project:
    name = str(op.get("name"))
    _refuse_reserved(name)
    return context.edited(edit.RenameNode(context.node(op).name, name))


def _toggle(context: _Context, op: Op) -> Project:
    node, key = context.node(op), str(op.get("key"))
    return context.edited(edit.SetNodeField(node.name, key, None if node.body.get(key) else True, node.variant))


def _set_field(context: _Context, op: Op) -> Project:
    """Set an option such as `for_each` or `concurrency`; an empty text removes it."""
    node = context.node(op)
    value = _typed(op.get("value"))
    return context.edited(
        edit.SetNodeField(node.name, str(op.get("key")), None if value == "" else value, node.variant)
    )


def _set_activate(context: _Context, op: Op) -> Project:
    """Set when a node runs; without a reference to look at it runs always."""
    node = context.node(op)
    when = str(op.get("when") or "").strip()
    operator = str(op.get("operator") or "is")
    if not when:
        return context.edited(edit.SetActivate(node.name, variant=node.variant))

    value = _typed(op.get("value"))
    if operator in ("in", "not_in") and not isinstance(value, list):
        value = [_typed(part.strip()) for part in str(value).split(",")]
    return context.edited(edit.SetActivate(node.name, when, value, operator, node.variant))


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

    return context.edited(edit.Connect(source, target, str(name or source), variant=node.variant))


def _connect_input(context: _Context, graph: Graph, node: GraphNode, name: str | None) -> Project:
    candidates = [input_name for input_name in graph.inputs if input_name not in node.inputs]
    chosen = name if name in graph.inputs or not candidates else candidates[0]
    chosen = chosen or name or "text"
    declare = [] if chosen in graph.inputs else [edit.SetInput(chosen, {"type": "string"})]
    return context.edited(*declare, edit.Connect(f"inputs.{chosen}", node.name, name or chosen, variant=node.variant))


def _disconnect(context: _Context, op: Op) -> Project:
    source, target = str(op.get("source")), str(op.get("target"))
    graph = context.graph()
    names = graph.edges().get((source, target), [])
    if target == "outputs":
        return context.edited(*(edit.DeleteOutput(name) for name in names))

    node = context.node({"node": target})
    options = {
        "for_each": edit.SetNodeField(target, "for_each", None, node.variant),
        "activate": edit.SetActivate(target, variant=node.variant),
    }
    return context.edited(*(options.get(name) or edit.ClearNodeInput(target, name, node.variant) for name in names))


# --- inputs of nodes ------------------------------------------------------------------------------------------------


def _set_input(context: _Context, op: Op) -> Project:
    node, name = context.node(op), str(op.get("input"))
    if not name.strip():
        raise UserErrorException("An input needs a name.")

    return context.edited(edit.SetNodeInput(node.name, name, _typed(op.get("value")), node.variant))


def _remove_input(context: _Context, op: Op) -> Project:
    node, name = context.node(op), str(op.get("input"))
    if name not in node.inputs:
        return context.project

    return context.edited(edit.ClearNodeInput(node.name, name, node.variant))


def _set_connection(context: _Context, op: Op) -> Project:
    node, connection = context.node(op), op.get("connection") or None
    operations = [edit.SetNodeField(node.name, "connection", connection, node.variant)]
    if connection is None:
        operations.append(edit.SetNodeField(node.name, "provider", None, node.variant))
    return context.edited(*operations)


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


def _rename_file(context: _Context, op: Op) -> Project:
    """Give a source another path; nodes and variants that use it follow."""
    path, new_path = str(op.get("path")), str(op.get("name"))
    sources = {new_path if name == path else name: text for name, text in context.project.sources.items()}
    return replace(
        context.edited(
            *(
                edit.SetNodeField(node, "source.path", new_path, variant)
                for node, variant in _users_of(context.project, path)
            )
        ),
        sources=sources,
    )


def _delete_file(context: _Context, op: Op) -> Project:
    sources = {name: text for name, text in context.project.sources.items() if name != op.get("path")}
    return replace(context.project, sources=sources)


def _users_of(project: Project, path: str) -> list[tuple[str, str | None]]:
    """Nodes, with variants where they have any, whose source is a file."""
    plain = project.graph()
    found: list[tuple[str, str | None]] = []
    for name, node in plain.nodes.items():
        if not node.variants and node.source == path:
            found.append((name, None))
        found += [
            (name, variant) for variant in node.variants if project.graph({name: variant}).nodes[name].source == path
        ]
    return found


# --- variants -------------------------------------------------------------------------------------------------------


def _add_variant(context: _Context, op: Op) -> Project:
    """Add a copy of the node, or of a variant (`copy_of`, or the one on display), with a source of its own."""
    node = context.node(op)
    if op.get("copy_of") in node.variants:
        node = context.project.graph({node.name: str(op["copy_of"])}).nodes[node.name]
    names = node.variants or ["variant_0"]
    name = str(op.get("name") or _free_name("variant_1", names, start=len(names)))
    copy = {key: value for key, value in node.body.items() if key not in ("name", "use_variants")}
    sources = dict(context.project.sources)
    if node.source is not None and node.source in sources:
        file = PurePosixPath(node.source)
        path = _free_path(context.project, f"{node.name}__{name}", file.suffix, folder=file.parent)
        copy["source"] = {**copy["source"], "path": path}
        sources[path] = sources[node.source]

    return replace(context.edited(edit.AddVariant(node.name, name, copy)), sources=sources)


def _remove_variant(context: _Context, op: Op) -> Project:
    node, name = context.node(op), str(op.get("variant"))
    others = [variant for variant in node.variants if variant != name]
    if not others:
        raise UserErrorException("The last variant of a node cannot be removed.", hint="Delete the node instead.")

    promote = [edit.SetDefaultVariant(node.name, others[0])] if name == node.default_variant else []
    return context.edited(*promote, edit.DeleteVariant(node.name, name))


def _set_default_variant(context: _Context, op: Op) -> Project:
    return context.edited(edit.SetDefaultVariant(context.node(op).name, str(op.get("variant"))))


# --- inputs and outputs of the flow ---------------------------------------------------------------------------------


def _set_flow_input(context: _Context, op: Op) -> Project:
    name, key, value = str(op.get("input")), str(op.get("key")), op.get("value")
    spec = {"type": "string", **context.graph().inputs.get(name, {})}
    if key == "type":
        spec["type"] = value
    elif value == "":
        spec.pop("default", None)
    else:
        spec["default"] = value if spec["type"] == "string" else _typed(value)
    return context.edited(edit.SetInput(name, spec))


def _rename_flow_input(context: _Context, op: Op) -> Project:
    return context.edited(edit.RenameInput(str(op.get("input")), str(op.get("name"))))


def _remove_flow_input(context: _Context, op: Op) -> Project:
    return context.edited(edit.DeleteInput(str(op.get("input"))))


def _set_output(context: _Context, op: Op) -> Project:
    name = str(op.get("output"))
    declared = (parse_yaml(context.project.yaml).value or {}).get("outputs") or {}
    before = declared.get(name)
    spec = before if isinstance(before, dict) else {}
    return context.edited(edit.SetOutput(name, {"type": "string", **spec, "reference": str(op.get("value"))}))


def _remove_output(context: _Context, op: Op) -> Project:
    return context.edited(edit.DeleteOutput(str(op.get("output"))))


# --- small parts ----------------------------------------------------------------------------------------------------


def _refuse_reserved(name: str) -> None:
    if name in _RESERVED:
        raise UserErrorException(f"{name!r} is no usable node name.", hint="It means something else in references.")


def _new_name(context: _Context, op: Op, stem: str) -> str:
    """The name that a gesture asks for, or a free one."""
    name = str(op.get("name") or _free_name(stem, [*context.graph().nodes, *_RESERVED]))
    _refuse_reserved(name)
    return name


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


_GESTURES: dict[str, Callable[[_Context, Op], Project]] = {
    "add": _add,
    "delete": _delete,
    "rename": _rename,
    "toggle": _toggle,
    "set_field": _set_field,
    "set_activate": _set_activate,
    "connect": _connect,
    "disconnect": _disconnect,
    "set_input": _set_input,
    "remove_input": _remove_input,
    "set_connection": _set_connection,
    "set_text": _set_text,
    "rename_file": _rename_file,
    "delete_file": _delete_file,
    "add_variant": _add_variant,
    "remove_variant": _remove_variant,
    "set_default_variant": _set_default_variant,
    "set_flow_input": _set_flow_input,
    "rename_flow_input": _rename_flow_input,
    "remove_flow_input": _remove_flow_input,
    "set_output": _set_output,
    "remove_output": _remove_output,
}
