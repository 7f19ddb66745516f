"""Moving from the original: what of a project runs here as it is, what needs something, and what cannot work.

Reads files only; no code of the project runs.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from promptflow_lite.compat.table import CLOUD_ONLY_PREFIXES, TABLE
from promptflow_lite.connections import CONNECTION_TYPES, Connection
from promptflow_lite.errors import PromptflowException, RunExistsError
from promptflow_lite.flow import DagFlow, FlexFlow, Flow, Problem, PromptyFlow, load_flow, load_yaml, validate_flow
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.original_home import FoundConnection, OriginalHome
from promptflow_lite.sdk.run_import import import_run
from promptflow_lite.tools.package import package_tools

Verdict = Literal["runs", "needs", "cannot"]
_SKIPPED = frozenset(
    (".git", ".promptflow", ".runs", ".venv", "venv", "env", "node_modules", "__pycache__", "site-packages", "snapshot")
)
_FLOW_FILES = ("flow.dag.yaml", "flow.dag.yml", "flow.flex.yaml", "flow.flex.yml")
_CONNECTION_TYPES = frozenset(cls.yaml_type for cls in CONNECTION_TYPES)
_CLOUD_PREFIXES = ("azureml:", "azureml://", "wasbs://", "abfss://")
MAX_FILES = 20_000


@dataclass(slots=True, kw_only=True)
class Finding:
    """One file of a project, judged."""

    path: str
    """Relative to the project."""
    kind: str
    """`flow`, `flex flow`, `prompty`, `run`, `connection`, `experiment`."""
    needs: list[str] = field(default_factory=list)
    """What somebody has to provide before it runs."""
    obstacles: list[str] = field(default_factory=list)
    """Why it cannot run."""
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        return "cannot" if self.obstacles else "needs" if self.needs else "runs"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; empty lists left out."""
        lists = {"needs": self.needs, "obstacles": self.obstacles, "notes": self.notes}
        shown = {key: value for key, value in lists.items() if value}
        return {"path": self.path, "kind": self.kind, "verdict": self.verdict, **shown}


def examine_project(folder: Path, *, known_connections: Iterable[str] = ()) -> list[Finding]:
    """Judge every flow, prompty, run, connection and experiment file below a folder.

    Args:
        folder: The project.
        known_connections: Names of connections that are stored here already, or can be imported.
    """
    files = sorted(_yaml_files(folder))
    described = {name: path for path in files for name in _connection_names(path)}
    known = set(known_connections)
    findings = [_finding(path, folder, known, described) for path in files]
    return [finding for finding in findings if finding is not None]


def _yaml_files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return

    n_files = 0
    for current, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        n_files += len(files)
        if n_files > MAX_FILES:
            return

        for name in files:
            if name.lower().endswith((".yaml", ".yml", ".prompty")):
                yield Path(current, name)


def _value(path: Path) -> dict[Any, Any]:
    try:
        value = load_yaml(path).value
    except PromptflowException:
        return {}

    return value if isinstance(value, dict) else {}


def _connection_names(path: Path) -> list[str]:
    value = _value(path) if path.suffix != ".prompty" else {}
    return [str(value["name"])] if _is_connection(value) and value.get("name") else []


def _is_connection(value: dict[Any, Any]) -> bool:
    return str(value.get("type", "")).lower() in _CONNECTION_TYPES and "nodes" not in value


def _finding(path: Path, folder: Path, known: set[str], described: dict[str, Path]) -> Finding | None:
    shown = str(path.relative_to(folder)) if folder.is_dir() else path.name
    if path.suffix == ".prompty":
        return _judge_flow(path, Finding(path=shown, kind="prompty"), known, described)

    value = _value(path)
    if path.name in _FLOW_FILES or "nodes" in value or ("entry" in value and ":" in str(value["entry"])):
        if path.name.endswith((".exp.yaml", ".exp.yml")):
            notes = ["Run it with: pfl experiment start --template FILE"]
            return Finding(path=shown, kind="experiment", notes=notes)

        kind = "flex flow" if "entry" in value else "flow"
        return _judge_flow(path, Finding(path=shown, kind=kind), known, described)

    if _is_connection(value):
        return _judge_connection(value, Finding(path=shown, kind="connection"), known)

    return _judge_run(path, value, Finding(path=shown, kind="run")) if "flow" in value else None


# --- flows ---------------------------------------------------------------------------------------------------------


def _judge_flow(path: Path, finding: Finding, known: set[str], described: dict[str, Path]) -> Finding:
    problems = validate_flow(path)
    finding.obstacles += [_shown(problem, path) for problem in problems if problem.severity == "error"]
    finding.notes += [_shown(problem, path) for problem in problems if problem.severity == "warning"]
    try:
        flow = load_flow(path, include=False)
    except PromptflowException as error:
        if not finding.obstacles:
            finding.obstacles.append(str(error))

        return finding

    for name in dict.fromkeys(_connections_of(flow)):
        _judge_reference(name, finding, known, described)

    if isinstance(flow, DagFlow):
        _judge_package_tools(flow, finding)
        if flow.environment:
            finding.notes.append("'environment' is used only when an image is built from the flow.")

    _judge_imports(flow, finding)
    return finding


def _shown(problem: Problem, path: Path) -> str:
    where = problem.where
    place = f"line {where.line}: " if where and where.line else ""
    file = f"{Path(where.path).name}, " if where and Path(where.path) != path else ""
    return f"{file}{place}{problem.message} ({problem.code})"


def _connections_of(flow: Flow) -> Iterator[str]:
    if isinstance(flow, DagFlow):
        for node in flow.nodes:
            if node.connection:
                yield node.connection

            literal = node.inputs.get("connection")
            if isinstance(literal, str) and literal:
                yield literal

    elif isinstance(flow, PromptyFlow):
        name = flow.configuration.get("connection")
        if isinstance(name, str) and not name.startswith("${"):
            yield name


def _judge_reference(name: str, finding: Finding, known: set[str], described: dict[str, Path]) -> None:
    if name in known:
        return

    if name in described:
        finding.needs.append(f"connection {name!r}: pfl connection create -f {quote(str(described[name]))}")
    else:
        finding.needs.append(f"connection {name!r}: create it with pfl connection create -f FILE --name {quote(name)}")


def _judge_package_tools(flow: DagFlow, finding: Finding) -> None:
    tools = package_tools()
    replaced = {old for metadata in tools.values() for old in metadata.get("deprecated_tools") or ()}
    for node in flow.nodes:
        tool = node.source.tool if node.source else None
        if not tool or tool in tools or tool in replaced:
            continue

        package = tool.split(".")[0]
        if package in ("promptflow_vectordb", "promptflow_image_bind") or tool.startswith("promptflow.tools.azure"):
            finding.obstacles.append(f"Node {node.name!r} uses {tool!r}, a tool of the cloud service.")
        else:
            finding.needs.append(f"the package with the tool {tool!r} of node {node.name!r} (module {package!r})")


def _used_files(flow: Flow) -> list[Path]:
    """The Python files that the flow runs: its sources and the local modules that they import."""
    if isinstance(flow, DagFlow):
        sources = [
            node.source.path for node in flow.nodes if node.source and node.source.path and node.type == "python"
        ]
    elif isinstance(flow, FlexFlow):
        sources = [flow.entry.partition(":")[0].replace(".", "/") + ".py"]
    else:
        sources = []

    folder = flow.root
    found = [folder / source for source in sources if (folder / source).is_file()]
    for path in found:
        for module in _imported(path):
            for local in (folder / f"{module.replace('.', '/')}.py", folder / module.replace(".", "/") / "__init__.py"):
                if local.is_file() and local not in found:
                    found.append(local)

    return found


def _judge_imports(flow: Flow, finding: Finding) -> None:
    folder = flow.root
    modules = {module: path.name for path in _used_files(flow) for module in _imported(path)}
    missing = {module.split(".")[0]: file for module, file in modules.items() if _is_missing(module, folder)}
    if missing:
        has_list = any((folder / name).is_file() for name in ("requirements.txt", "requirements.in"))
        how = " (see requirements.txt)" if has_list else ""
        finding.needs.append(f"Python packages{how}: {', '.join(sorted(missing))}")

    for module, file in modules.items():
        note = next(
            (note for prefix, note in CLOUD_ONLY_PREFIXES.items() if f"{module}.".startswith(f"{prefix}.")), None
        )
        absent = note or _absent_note(module)
        if absent:
            finding.obstacles.append(f"{file} imports {module!r}, which cannot work here: {absent}")


def _imported(path: Path) -> Iterator[str]:
    """Modules that a file imports at its top level, and `module.name` of what it takes from them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return

    for statement in tree.body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            yield statement.module
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def _is_missing(module: str, folder: Path) -> bool:
    top = module.split(".")[0]
    if top in sys.stdlib_module_names or top in ("promptflow", "promptflow_lite") or top.startswith("_"):
        return False

    if (folder / f"{top}.py").is_file() or (folder / top).is_dir() or (folder.parent / f"{top}.py").is_file():
        return False

    try:
        return importlib.util.find_spec(top) is None
    except (ImportError, ValueError):
        return True


def _absent_note(module: str) -> str | None:
    parent, _, name = module.rpartition(".")
    entry = TABLE.get(parent, {}).get(name)
    return entry.note if entry is not None and entry.kind == "cloud" else None


# --- runs and connections ------------------------------------------------------------------------------------------


def _judge_run(path: Path, value: dict[Any, Any], finding: Finding) -> Finding:
    for key in ("flow", "data"):
        target = value.get(key)
        if isinstance(target, str) and target.startswith(_CLOUD_PREFIXES):
            finding.obstacles.append(f"{key!r} is in the cloud: {target}. Download it and name the local path.")

    if not finding.obstacles:
        problems = validate_flow(path)
        finding.obstacles += [_shown(problem, path) for problem in problems if problem.severity == "error"]

    ignored = [key for key in ("runtime", "resources", "identity") if key in value]
    if ignored:
        finding.notes.append(f"{', '.join(ignored)}: for the cloud only, ignored.")

    if value.get("run"):
        finding.needs.append(f"the finished run {value['run']!r}")

    return finding


def _judge_connection(value: dict[Any, Any], finding: Finding, known: set[str]) -> Finding:
    name = str(value.get("name") or "")
    if name in known:
        finding.notes.append("A connection of that name is stored already.")
    else:
        finding.needs.append(f"storing it: pfl connection create -f {quote(str(finding.path))}")

    if str(value.get("auth_mode", "")).lower() == "meid_token":
        finding.needs.append("a sign-in to Microsoft Entra ID (package azure-identity)")

    return finding


# --- import --------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What was brought over from a folder of the original."""

    connections: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """What was left as it is, and why."""
    missing_secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    """Connection -> secret -> the environment variable that it is read from now."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "connections": self.connections,
            "runs": self.runs,
            "skipped": self.skipped,
            "missing_secrets": self.missing_secrets,
        }


def import_home(client: Client, home: OriginalHome, *, connections: bool = True, runs: bool = True) -> ImportReport:
    """Copy connections and runs of the original; what exists here already is left alone.

    Raises:
        StoreError: the original's database cannot be read.
    """
    report = ImportReport()
    if connections:
        _import_connections(client, home, report)

    if runs:
        _import_runs(client, home, report)

    return report


def _import_connections(client: Client, home: OriginalHome, report: ImportReport) -> None:
    present = set(client.connections.names())
    for found in home.connections():
        if not isinstance(found, FoundConnection):
            report.skipped.append(str(found))
            continue

        connection: Connection = found.connection
        name = connection.name or ""
        if name in present:
            report.skipped.append(f"connection {name!r}: there is one of that name already")
            continue

        client.connections.create_or_update(connection, keep_secrets=False)
        report.connections.append(name)
        if found.missing:
            report.missing_secrets[name] = found.missing


def _import_runs(client: Client, home: OriginalHome, report: ImportReport) -> None:
    for record, folder in home.runs():
        try:
            import_run(client.store, record, folder)
            report.runs.append(record.name)
        except RunExistsError:
            report.skipped.append(f"run {record.name!r}: there is one of that name already")
        except PromptflowException as error:
            report.skipped.append(f"run {record.name!r}: {error}")
