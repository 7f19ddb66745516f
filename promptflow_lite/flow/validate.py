"""Every problem of a flow at once, each with its place, without importing or running any of its code."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import FlowSyntaxError, Location, PromptflowException, UserErrorException
from promptflow_lite.flow import dag, topology
from promptflow_lite.flow.chat import roles_of
from promptflow_lite.flow.flex import is_entry, parse_flex
from promptflow_lite.flow.includes import check_includes
from promptflow_lite.flow.loader import existing_path, find_flow_file, folder_name, load_flow, parse_dag
from promptflow_lite.flow.model import DagFlow, NodeSpec, Problem, PromptyFlow
from promptflow_lite.flow.node_checks import ROLE_LINE, FlowFiles, check_node, read_variables, report_wrong_entry
from promptflow_lite.flow.problems import CollectedFindings, Cursor, Findings, problem_of
from promptflow_lite.flow.prompty import PROMPTY_KEYS, parse_prompty, read_prompty
from promptflow_lite.flow.references import Reference
from promptflow_lite.flow.signature import ModuleOutline, read_module
from promptflow_lite.flow.yaml_io import YamlDocument, parse_yaml, read_text

RUN_KEYS = (
    "$schema",
    "name",
    "display_name",
    "description",
    "tags",
    "properties",
    "flow",
    "data",
    "column_mapping",
    "run",
    "variant",
    "environment_variables",
    "connections",
    "init",
    "resume_from",
    "runtime",
    "resources",
    "identity",
)


def validate_flow(path: str | os.PathLike[str], *, text: str | None = None) -> list[Problem]:
    """Every problem of a flow, in the order of the files; empty when it is fine.

    Args:
        path: A flow's folder, a flow file, a `.prompty`, a `run.yaml`, or a `module:attr` entry.
        text: Content to check in place of the file's, as an editor holds it.
    """
    findings = CollectedFindings()
    try:
        _validate(path, text, findings)
    except PromptflowException as error:
        findings.problems.append(problem_of(error))

    unique = {(problem.code, problem.message, str(problem.where)): problem for problem in findings.problems}
    return sorted(unique.values(), key=_place)


def _place(problem: Problem) -> tuple[str, int, int]:
    where = problem.where or Location("")
    return where.path, where.line or 0, where.column or 0


def _validate(path: str | os.PathLike[str], text: str | None, findings: Findings) -> None:
    name = os.fspath(path)
    found = existing_path(name)
    if found is None and is_entry(name):
        _check_entry(Cursor(YamlDocument({}, name), findings, (), {"entry": name}), name, Path.cwd())
        return

    if found is None and text is None:
        raise UserErrorException(
            f"The flow path {name!r} does not exist.", hint="Check the path and the current folder."
        )

    file = found or Path(name).absolute()
    if file.is_dir():
        file = find_flow_file(file, allow_prompty=True)

    if file.suffix.lower() == ".prompty":
        _validate_prompty(file, text, findings)
    elif file.suffix.lower() in (".yaml", ".yml"):
        _validate_yaml(file, text, findings)
    else:
        raise UserErrorException(
            f"{name!r} is not a flow: only .yaml, .yml and .prompty files are.", where=Location(str(file))
        )


def _validate_yaml(file: Path, text: str | None, findings: Findings) -> None:
    document = parse_yaml(read_text(file) if text is None else text, path=str(file))
    root = Cursor(document, findings, (), document.value)
    if "entry" in root.value:
        _validate_flex(file, root)
    elif "flow" in root.value and "nodes" not in root.value:
        _validate_run(file, root)
    else:
        _validate_dag(file, root)


# --- DAG flows -----------------------------------------------------------------------------------------------------


def _validate_dag(file: Path, root: Cursor) -> None:
    flow = parse_dag(file, root)
    root.warn_unknown(dag.TOP_KEYS, "the flow")
    _check_keys_below(root, "inputs", dag.INPUT_KEYS)
    _check_keys_below(root, "outputs", dag.OUTPUT_KEYS)
    files = _check_files(file, root, flow.additional_includes)
    bodies = dag.parse_nodes(Cursor(root.document, CollectedFindings(), (), root.value))
    live = [(Cursor(root.document, root.findings, cursor.steps, cursor.value), node) for cursor, node in bodies]
    others = _other_variants(root, {cursor.steps for cursor, _ in live})
    for cursor, node in [*live, *others]:
        cursor.warn_unknown(dag.NODE_KEYS, f"node {node.name!r}")
        check_node(cursor, node, files)
        _check_subflow(cursor, node, files)

    _check_other_variants(root, flow, live, others)
    _check_chat(root, flow)


def _check_keys_below(root: Cursor, key: str, known: Iterable[str]) -> None:
    section = root.mapping(key) if isinstance(root.get(key), dict) else root.child(key, {})
    for name, value in section.value.items():
        section.child(name, value).warn_unknown(known, f"{key[:-1]} {name!r}")


def _check_files(file: Path, root: Cursor, includes: tuple[str, ...]) -> FlowFiles:
    for error in check_includes(file, includes, root.document):
        root.findings.error(error, ("additional_includes",))

    return FlowFiles.of(file.parent, includes)


def _other_variants(root: Cursor, used: set[Any]) -> list[tuple[Cursor, NodeSpec]]:
    """Bodies of variants that the default selection does not use."""
    groups = root.mapping("node_variants") if isinstance(root.get("node_variants"), dict) else root.child("", {})
    node_names = [str(node.get("name")) for node in root.items("nodes") if isinstance(node, dict)]
    found: list[tuple[Cursor, NodeSpec]] = []
    for name, raw_group in groups.value.items():
        if str(name) not in node_names:
            message = f"Variants are defined for {name!r}, but no node has that name."
            groups.warn(message, name, code="flow.unknown_node", hint=did_you_mean(str(name), node_names))

        variants = groups.child(name, raw_group).mapping("variants")
        for key, raw in variants.value.items():
            variant = variants.child(key, raw)
            if not isinstance(variant.get("node"), dict):
                message = f"Variant {key!r} of node {name!r} has no 'node'."
                variants.wrong(message, key, code="flow.variant", hint="Put the node's keys below 'node:'.")
                continue

            body = variant.child("node", variant.get("node"))
            if body.steps not in used:
                found.append((body, dag.parse_node(str(name), body, {})))

    return found


def _check_other_variants(
    root: Cursor, flow: DagFlow, live: list[tuple[Cursor, NodeSpec]], others: list[tuple[Cursor, NodeSpec]]
) -> None:
    """Check the graph once with each variant that is not the default in its place."""
    for cursor, variant in others:
        nodes = [variant if node.name == variant.name else node for _, node in live]
        if variant not in nodes:
            continue

        def report(
            error: PromptflowException,
            node: NodeSpec,
            reference: Reference | None,
            *,
            cursor: Cursor = cursor,
            variant: NodeSpec = variant,
        ) -> None:
            if node is variant and reference is not None:
                steps = dag.reference_steps(cursor, reference)
                error.where = root.document.locate(steps)
                root.findings.error(error, steps, reference.text)

        topology.check_references(nodes, flow.inputs, report)
        cycle = topology.cycle_error(nodes)
        if cycle is not None and topology.cycle_error([node for _, node in live]) is None:
            cycle.where = cursor.where()
            root.findings.error(cycle, cursor.steps)


def _check_subflow(cursor: Cursor, node: NodeSpec, files: FlowFiles) -> None:
    if not node.runs_flow or node.source is None or not node.source.path:
        return

    source = cursor.child("source", cursor.get("source"))
    steps = (*source.steps, "path")
    try:
        subflow = load_flow(files.find(node.source.path) or files.folder / node.source.path, include=False)
    except PromptflowException as error:
        error.where = error.where or source.where("path")
        source.findings.error(error, steps, node.source.path)
        return

    if subflow.path is not None and subflow.path.parent == files.folder and not isinstance(subflow, PromptyFlow):
        source.wrong(
            f"Node {node.name!r} runs its own flow.", "path", code="flow.subflow_cycle", hint="Name another flow."
        )
        return

    _check_subflow_inputs(cursor, node, subflow.inputs)


def _check_subflow_inputs(cursor: Cursor, node: NodeSpec, declared: Any) -> None:
    if declared is None:
        return

    inputs = cursor.mapping("inputs")
    for name in node.inputs:
        if name not in declared:
            message = f"Node {node.name!r} gives {name!r}, which its flow does not declare."
            inputs.warn(message, name, code="flow.unknown_node_input", hint=did_you_mean(name, declared))

    missing = [name for name, spec in declared.items() if spec.default is None and name not in node.inputs]
    if missing:
        message = f"Node {node.name!r} lacks the required inputs {', '.join(map(repr, missing))} of its flow."
        cursor.wrong(message, "inputs", code="flow.missing_node_input", hint="Add them under the node's 'inputs'.")


def _check_chat(root: Cursor, flow: DagFlow) -> None:
    roles = roles_of(flow.inputs, flow.outputs)
    chat_inputs = [name for name, spec in flow.inputs.items() if spec.is_chat_input]
    if len(chat_inputs) > 1:
        message = f"Several inputs are chat inputs: {', '.join(map(repr, chat_inputs))}."
        root.warn(message, "inputs", code="flow.chat", hint="Keep 'is_chat_input: true' on one of them.")
    elif flow.type == "chat" and not roles.is_chat:
        hint = "A chat needs one input with is_chat_input, an input chat_history and one output with is_chat_output."
        root.warn("The flow is declared a chat, but lacks what makes it one.", "type", code="flow.chat", hint=hint)


# --- flex flows ----------------------------------------------------------------------------------------------------


def _validate_flex(file: Path, root: Cursor) -> None:
    includes = tuple(str(item) for item in root.items("additional_includes"))
    code = root.optional_text("code")
    folder = Path(os.path.normpath(file.parent / code)) if code else file.parent
    flow = parse_flex(file, folder, folder_name(file.parent), root.document, root.findings)
    _check_files(file, root, includes)
    if is_entry(flow.entry):
        _check_entry(root, flow.entry, folder, {Path(item).name: file.parent / item for item in includes})


def _check_entry(root: Cursor, entry: str, folder: Path, includes: dict[str, Path] | None = None) -> None:
    module, _, attribute = entry.partition(":")
    relative = Path(*module.split(".")).with_suffix(".py")
    files = FlowFiles(folder, includes or {})
    path = files.find(str(relative)) or files.find(str(relative.with_suffix("") / "__init__.py"))
    if path is None:
        hint = did_you_mean(str(relative), files.names(".py"))
        where = root.where("entry")
        report_wrong_entry(root, f"The module {module!r} of the entry is not in {str(folder)!r}.", where, hint)
        return

    outline = _entry_outline(root, path)
    if outline is not None and attribute not in outline.names and not outline.star_imports:
        message = f"The entry {attribute!r} is not defined in {path.name!r}."
        report_wrong_entry(root, message, root.where("entry"), did_you_mean(attribute, outline.functions))

    signature = outline.functions.get(attribute) if outline else None
    if signature is not None and not signature.accepts_extra and isinstance(root.get("inputs"), dict):
        inputs = root.mapping("inputs")
        for name in inputs.value:
            if name not in signature.parameters:
                message = f"Input {name!r} is declared, but {attribute!r} does not take it."
                inputs.warn(message, name, code="flow.unused_input", hint=did_you_mean(str(name), signature.parameters))


def _entry_outline(root: Cursor, path: Path) -> ModuleOutline | None:
    try:
        return read_module(read_text(path), str(path))
    except FlowSyntaxError as error:
        root.findings.error(error, ("entry",))
        return None


# --- prompties -----------------------------------------------------------------------------------------------------


def _validate_prompty(file: Path, text: str | None, findings: Findings) -> None:
    document, template, template_line = read_prompty(file, text)
    flow = parse_prompty(file, document, template, template_line, findings)
    root = Cursor(document, findings, (), document.value)
    root.warn_unknown(PROMPTY_KEYS, "the prompty")
    try:
        variables = read_variables(template, file, template_line)
    except FlowSyntaxError as error:
        findings.error(error)
        return

    for name in variables:
        if name not in flow.inputs:
            hint = did_you_mean(name, flow.inputs) or f"Add {name!r} under 'inputs:'."
            message = f"The template reads {name!r}, which is no input; it prints nothing."
            root.warn(message, "inputs", code="flow.template_variable", hint=hint)

    if flow.api == "chat" and not ROLE_LINE.search(template if template.endswith("\n") else template + "\n"):
        where = Location(str(file), template_line)
        hint = "Start each message with 'system:', 'user:' or 'assistant:' on a line of its own."
        problem = Problem(
            code="flow.no_role",
            message="The chat template has no line with a role.",
            hint=hint,
            where=where,
            severity="warning",
        )
        findings.warning(problem)


# --- run files -----------------------------------------------------------------------------------------------------


def _validate_run(file: Path, root: Cursor) -> None:
    root.warn_unknown(RUN_KEYS, "the run")
    root.mapping("column_mapping")
    root.mapping("connections")
    flow = root.text("flow")
    if "://" not in flow and not is_entry(flow) and not _exists(file.parent / flow):
        hint = f"The path is relative to {str(file.parent)!r}."
        root.wrong(f"The flow {flow!r} does not exist.", "flow", code="flow.missing_file", hint=hint)

    data = root.optional_text("data")
    if data and "://" not in data and not data.startswith("azureml:") and not _exists(file.parent / data):
        hint = f"The path is relative to {str(file.parent)!r}."
        root.wrong(f"The data {data!r} does not exist.", "data", code="flow.missing_file", hint=hint)

    if not data and not root.get("run"):
        hint = "Add 'data: FILE', or 'run: NAME' of a finished run."
        root.warn("The run names neither data nor another run.", code="flow.run_without_data", hint=hint)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
