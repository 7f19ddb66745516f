"""`flow.dag.yaml`: from a parsed document to the specs of inputs, outputs and nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import (
    EmptyOutputReference,
    FlowDefinitionError,
    InvalidFlowRequest,
    NotSupported,
    OutputReferenceNotFound,
)
from promptflow_lite.flow import topology
from promptflow_lite.flow.model import (
    INPUT_TYPES,
    ActivateSpec,
    InputSpec,
    NodeSpec,
    OutputSpec,
    RepeatSpec,
    RetrySpec,
    SourceSpec,
)
from promptflow_lite.flow.problems import Cursor, kind_of
from promptflow_lite.flow.references import (
    Reference,
    parse_item_reference,
    parse_output_reference,
    parse_reference,
)
from promptflow_lite.flow.variants import node_bodies

NODE_TYPES = ("python", "llm", "prompt", "custom_llm", "flow", "prompty", "csharp", "action")
SOURCE_TYPES = ("code", "package", "package_with_prompt")
OPERATORS = ("is", "not", "in", "not_in", "lt", "le", "gt", "ge")
TOP_KEYS = (
    "$schema",
    "id",
    "name",
    "inputs",
    "outputs",
    "nodes",
    "node_variants",
    "tools",
    "environment",
    "environment_variables",
    "additional_includes",
    "message_format",
    "language",
    "type",
    "display_name",
    "description",
    "tags",
    "version",
)
INPUT_KEYS = ("type", "default", "description", "enum", "is_chat_input", "is_chat_history", "name", "ui_hints")
OUTPUT_KEYS = ("type", "reference", "description", "is_chat_output", "evaluation_only", "name")
NODE_KEYS = (
    "name",
    "type",
    "source",
    "inputs",
    "connection",
    "api",
    "provider",
    "module",
    "tool",
    "aggregation",
    "reduce",
    "use_variants",
    "activate",
    "enable_cache",
    "skip",
    "comment",
    "description",
    "retry",
    "timeout_s",
    "for_each",
    "concurrency",
    "repeat",
)


def parse_inputs(cursor: Cursor, *, types: tuple[str, ...] | None = INPUT_TYPES) -> dict[str, InputSpec]:
    """Input declarations; `types` None allows any type name."""
    return {str(name): _parse_input(str(name), cursor, value, types) for name, value in cursor.value.items()}


def _parse_input(name: str, parent: Cursor, value: Any, types: tuple[str, ...] | None) -> InputSpec:
    if not isinstance(value, dict):
        parent.wrong(
            f"Input {name!r} must be a mapping with a type, not {kind_of(value)}.",
            name,
            code="flow.not_a_mapping",
            hint=f"Write '{name}: {{type: string}}'.",
        )
        return InputSpec(name=name)

    cursor = parent.child(name, value)
    kind = cursor.text("type")
    if not kind:
        cursor.wrong(f"Input {name!r} has no type.", code="flow.missing_type", hint="Add 'type: string'.")
    elif types is not None and kind not in types:
        hint = did_you_mean(kind, types)
        cursor.wrong(f"Input {name!r} has the unknown type {kind!r}.", "type", code="flow.unknown_type", hint=hint)

    history = cursor.get("is_chat_history")
    return InputSpec(
        name=name,
        type=kind or "string",
        default=cursor.get("default"),
        description=cursor.remark("description"),
        enum=_choices(cursor),
        is_chat_input=cursor.flag("is_chat_input"),
        is_chat_history=None if history is None else cursor.flag("is_chat_history"),
    )


def _choices(cursor: Cursor) -> tuple[Any, ...]:
    """Values to offer; nothing enforces them, so a single one will do."""
    value = cursor.get("enum")
    return tuple(value) if isinstance(value, list) else () if value is None else (value,)


def parse_outputs(cursor: Cursor, *, needs_reference: bool = True) -> dict[str, OutputSpec]:
    """Output declarations; flex flows and prompties have no references."""
    return {str(name): _parse_output(str(name), cursor, value, needs_reference) for name, value in cursor.value.items()}


def _parse_output(name: str, parent: Cursor, value: Any, needs_reference: bool) -> OutputSpec:
    if not isinstance(value, dict):
        message = f"Output {name!r} must be a mapping, not {kind_of(value)}."
        hint = f"Write '{name}: {{type: string, reference: \"${{node.output}}\"}}'."
        parent.wrong(message, name, code="flow.not_a_mapping", hint=hint)
        return OutputSpec(name=name, reference=None)

    cursor = parent.child(name, value)
    raw = cursor.get("reference")
    if needs_reference and raw in (None, ""):
        error = EmptyOutputReference(
            f"Output {name!r} has no reference.",
            hint=f"Add 'reference: ${{node_name.output}}' to output {name!r}.",
            where=cursor.where("reference" if "reference" in cursor.value else None),
            output=name,
        )
        cursor.findings.error(error, cursor.steps)

    reference = parse_reference(raw)
    return OutputSpec(
        name=name,
        reference=reference,
        literal=None if reference else raw,
        type=cursor.text("type", "string"),
        description=cursor.remark("description"),
        is_chat_output=cursor.flag("is_chat_output"),
        evaluation_only=cursor.flag("evaluation_only"),
    )


def parse_nodes(root: Cursor, variant: str | None = None) -> list[tuple[Cursor, NodeSpec]]:
    """Nodes with their variants chosen, in file order, each with the cursor of its body."""
    legacy_tools = {str(tool.get("name")): tool for tool in root.items("tools") if isinstance(tool, dict)}
    bodies = node_bodies(root, variant)
    return [(cursor, parse_node(name, cursor, legacy_tools)) for name, cursor in bodies]


def parse_node(name: str, cursor: Cursor, legacy_tools: Mapping[str, dict[str, Any]]) -> NodeSpec:
    """One node body."""
    tool = cursor.optional_text("tool")
    legacy_kind = legacy_tools.get(tool, {}).get("type") if tool else None
    node_type = cursor.optional_text("type") or (None if legacy_kind is None else str(legacy_kind))
    if node_type is None:
        hint = f"Add 'type: python', or one of {', '.join(NODE_TYPES[1:6])}."
        cursor.wrong(f"Node {name!r} has no type.", code="flow.missing_type", hint=hint)
    elif node_type not in NODE_TYPES:
        hint = did_you_mean(node_type, NODE_TYPES[:6]) or ""
        cursor.wrong(
            f"Node {name!r} has the unknown type {node_type!r}.", "type", code="flow.unknown_type", hint=hint or ""
        )
    elif node_type == "csharp":
        _report_csharp(cursor, "type")

    return NodeSpec(
        name=name,
        type=str(node_type or "python"),
        source=_parse_source(name, cursor),
        inputs=_parse_node_inputs(cursor),
        connection=cursor.optional_text("connection"),
        api=cursor.optional_text("api"),
        provider=cursor.optional_text("provider"),
        module=cursor.optional_text("module"),
        tool=tool,
        aggregation=cursor.flag("aggregation") or cursor.flag("reduce"),
        activate=_parse_activate(name, cursor),
        enable_cache=cursor.flag("enable_cache"),
        retry=_parse_retry(cursor),
        timeout_s=_positive_number(cursor, "timeout_s"),
        for_each=_parse_for_each(name, cursor),
        concurrency=_positive_int(cursor, "concurrency") or 4,
        repeat=_parse_repeat(name, cursor, str(node_type)),
        where=cursor.where(),
    )


def _parse_node_inputs(cursor: Cursor) -> dict[str, Any]:
    inputs = cursor.mapping("inputs").value
    if cursor.get("for_each") is None:
        return {str(key): _value(value) for key, value in inputs.items()}

    return {str(key): parse_item_reference(value) or _value(value) for key, value in inputs.items()}


def _value(value: Any) -> Any:
    return parse_reference(value) or value


def _report_csharp(cursor: Cursor, key: str) -> None:
    error = NotSupported(
        "C# flows cannot run here: they need the .NET executor.",
        hint="Rewrite the C# nodes in Python, or keep running this flow with the .NET executor.",
        where=cursor.where(key),
    )
    cursor.findings.error(error, (*cursor.steps, key), cursor.get(key))


def _parse_source(name: str, cursor: Cursor) -> SourceSpec | None:
    raw = cursor.get("source")
    if raw is None:
        return None

    if not isinstance(raw, dict):
        message = f"'source' of node {name!r} must be a mapping, not {kind_of(raw)}."
        cursor.wrong(message, "source", code="flow.not_a_mapping", hint="Write 'source: {type: code, path: FILE}'.")
        return None

    source = cursor.child("source", raw)
    kind = source.choice("type", SOURCE_TYPES, "code", code="flow.unknown_source", what="The source type")
    return SourceSpec(type=kind, path=source.optional_text("path"), tool=source.optional_text("tool"))  # type: ignore[arg-type]


def _parse_activate(name: str, cursor: Cursor) -> ActivateSpec | None:
    raw = cursor.get("activate")
    if raw is None:
        return None

    operators = [key for key in OPERATORS if isinstance(raw, dict) and key in raw]
    if not isinstance(raw, dict) or "when" not in raw or len(operators) != 1:
        cursor.wrong(
            f"The activate condition of node {name!r} needs 'when' and one of {', '.join(OPERATORS)}.",
            "activate",
            code="flow.activate",
            hint="Write 'activate: {when: \"${inputs.x}\", is: value}'.",
        )
        return None

    operator = operators[0]
    condition = cursor.child("activate", raw)
    expected = raw[operator]
    if operator in ("in", "not_in") and not isinstance(expected, list):
        message = f"{operator!r} in the activate condition of node {name!r} needs a list."
        condition.wrong(message, operator, code="flow.activate", hint=f"Write '{operator}: [a, b]'.")

    return ActivateSpec(when=_value(raw["when"]), equals=expected, operator=operator)  # type: ignore[arg-type]


def _parse_retry(cursor: Cursor) -> RetrySpec | None:
    raw = cursor.get("retry")
    if raw is None or raw is False:
        return None

    if isinstance(raw, int) and raw > 0 and raw is not True:
        return RetrySpec(max_attempts=raw)

    if not isinstance(raw, dict):
        hint = "Write 'retry: 3' or 'retry: {max_attempts: 3, delay_s: 1, backoff: 2}'."
        cursor.wrong(
            f"'retry' must be a number of attempts or a mapping, not {raw!r}.", "retry", code="flow.retry", hint=hint
        )
        return None

    retry = cursor.child("retry", raw)
    retry.warn_unknown(("max_attempts", "delay_s", "backoff"), "'retry'")
    delay = _positive_number(retry, "delay_s", allow_zero=True)
    backoff = _positive_number(retry, "backoff")
    return RetrySpec(
        max_attempts=_positive_int(retry, "max_attempts") or 1,
        delay_s=1.0 if delay is None else delay,
        backoff=2.0 if backoff is None else backoff,
    )


def _parse_for_each(name: str, cursor: Cursor) -> Reference | None:
    raw = cursor.get("for_each")
    if raw is None:
        return None

    reference = parse_reference(raw)
    if reference is None:
        message = f"'for_each' of node {name!r} must be a reference to a list, not {raw!r}."
        cursor.wrong(message, "for_each", code="flow.for_each", hint="Write 'for_each: ${inputs.items}'.")

    return reference


def _parse_repeat(name: str, cursor: Cursor, kind: str) -> RepeatSpec | None:
    raw = cursor.get("repeat")
    if raw is None:
        return None

    if not isinstance(raw, dict) or "until" not in raw:
        message = f"'repeat' of node {name!r} must be a mapping with 'until' and 'max'."
        cursor.wrong(
            message, "repeat", code="flow.repeat", hint="Write 'repeat: {until: \"${outputs.done}\", max: 3}'."
        )
        return None

    repeat = cursor.child("repeat", raw)
    repeat.warn_unknown(("until", "max", "carry"), "'repeat'")
    if kind not in ("flow", "prompty"):
        message = f"Node {name!r} cannot repeat: only nodes of type 'flow' can."
        cursor.wrong(message, "repeat", code="flow.repeat", hint="Move what repeats into a flow of its own.")

    until = parse_output_reference(raw["until"])
    if until is None and not isinstance(raw["until"], bool):
        message = f"'until' of node {name!r} must be an output of its flow, not {raw['until']!r}."
        repeat.wrong(message, "until", code="flow.repeat", hint="Write 'until: ${outputs.done}'.")

    carry = repeat.mapping("carry").value
    return RepeatSpec(
        until=parse_output_reference(raw["until"]) or raw["until"],
        max=_positive_int(repeat, "max") or 3,
        carry={str(key): parse_output_reference(value) or value for key, value in carry.items()},
    )


def _positive_number(cursor: Cursor, key: str, *, allow_zero: bool = False) -> float | None:
    raw = cursor.get(key)
    if raw is None:
        return None

    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    if not is_number or not (0 < raw < 1e9 or (allow_zero and raw == 0)):
        message = f"{key!r} must be a positive number, not {raw!r}."
        cursor.wrong(message, key, code="flow.not_a_number", hint=f"Write '{key}: 30', for example.")
        return None

    return float(raw)


def _positive_int(cursor: Cursor, key: str) -> int | None:
    raw = cursor.get(key)
    if raw is None:
        return None

    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 < raw < 1_000_000:
        message = f"{key!r} must be a positive whole number, not {raw!r}."
        cursor.wrong(message, key, code="flow.not_a_number", hint=f"Write '{key}: 3', for example.")
        return None

    return raw


def parse_environment_variables(cursor: Cursor) -> dict[str, str]:
    """`environment_variables` as texts: mappings and lists become JSON."""
    variables = cursor.mapping("environment_variables").value
    return {str(name): _as_variable(value) for name, value in variables.items()}


def _as_variable(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, default=str, ensure_ascii=False)

    return str(value)


def check_language(root: Cursor) -> None:
    """Only Python flows run here."""
    language = root.text("language", "python")
    if language.lower() == "csharp":
        _report_csharp(root, "language")
    elif language.lower() != "python":
        root.wrong(
            f"The language {language!r} is unknown.", "language", code="flow.unknown_language", hint="Use python."
        )


def check_graph(
    root: Cursor,
    inputs: Mapping[str, InputSpec],
    outputs: Mapping[str, OutputSpec],
    nodes: list[tuple[Cursor, NodeSpec]],
) -> None:
    """Report every broken reference, loop and bad output."""
    cursors = {id(node): cursor for cursor, node in nodes}
    specs = [node for _, node in nodes]

    def report(error: InvalidFlowRequest, node: NodeSpec, reference: Reference | None) -> None:
        steps = reference_steps(cursors[id(node)], reference) if reference else cursors[id(node)].steps
        error.where = root.document.locate(steps)
        root.findings.error(error, steps, reference.text if reference else node.name)

    topology.check_references(specs, inputs, report)
    cycle = topology.cycle_error(specs)
    if cycle is not None:
        root.findings.error(cycle, ("nodes",))

    _check_outputs(root, inputs, outputs, {node.name: node for node in specs})


def reference_steps(cursor: Cursor, reference: Reference) -> tuple[str | int, ...]:
    """The way to the value of a node body that is written as this reference."""
    body = cursor.value
    inputs = body.get("inputs")
    if isinstance(inputs, dict):
        for key, value in inputs.items():
            if value == reference.text:
                return (*cursor.steps, "inputs", key)

    activate = body.get("activate")
    if isinstance(activate, dict) and activate.get("when") == reference.text:
        return (*cursor.steps, "activate", "when")

    return (*cursor.steps, "for_each") if body.get("for_each") == reference.text else cursor.steps


def _check_outputs(
    root: Cursor, inputs: Mapping[str, InputSpec], outputs: Mapping[str, OutputSpec], nodes: Mapping[str, NodeSpec]
) -> None:
    for name, output in outputs.items():
        reference = output.reference
        if reference is None:
            continue

        known: Mapping[str, Any] = inputs if reference.kind == "input" else nodes
        if reference.name in known:
            continue

        what = "the flow has no input" if reference.kind == "input" else "no node is"
        steps = ("outputs", name, "reference")
        error = OutputReferenceNotFound(
            f"Output {name!r} reads {reference.text!r}, but {what} named {reference.name!r}.",
            hint=did_you_mean(reference.name, known),
            where=root.document.locate(steps),
            output=name,
            reference=reference.text,
        )
        root.findings.error(error, steps, reference.text)


def drop_aggregation_outputs(
    root: Cursor, outputs: dict[str, OutputSpec], nodes: Mapping[str, NodeSpec]
) -> dict[str, OutputSpec]:
    """Outputs without those that read an aggregation node, which has no value for a line."""
    kept: dict[str, OutputSpec] = {}
    for name, output in outputs.items():
        target = nodes.get(output.reference.name) if output.reference and output.reference.kind == "node" else None
        if target is not None and target.aggregation:
            message = f"Output {name!r} is dropped: node {target.name!r} aggregates over all lines."
            hint = "Report a value of an aggregation node with log_metric."
            root.mapping("outputs").warn(message, name, code="flow.aggregation_output", hint=hint)
        else:
            kept[name] = output

    return kept


def require_mapping(root_value: Any, cursor: Cursor) -> None:
    """The document itself must be a mapping."""
    if not isinstance(root_value, dict):
        error = FlowDefinitionError(
            f"The file must hold a mapping, not {kind_of(root_value)}."
            if root_value is not None
            else "The file is empty.",
            code="flow.not_a_mapping",
            hint="A flow file starts with keys such as 'inputs:', 'outputs:' and 'nodes:'.",
            where=cursor.where(),
        )
        cursor.findings.error(error)
