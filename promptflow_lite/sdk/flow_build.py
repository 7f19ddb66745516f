"""Builds of a flow: a folder that runs as it is, and the files of a container image that serves it."""

from __future__ import annotations

import json
import os
import shutil
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import promptflow_lite
from promptflow_lite.connections import Connection, CustomConnection, CustomStrongTypeConnection, override_variable
from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import DagFlow, Flow, PromptyFlow, dump_yaml_text, load_flow
from promptflow_lite.sdk import container
from promptflow_lite.sdk.flow_copy import copy_flow
from promptflow_lite.sdk.local_connections import LocalConnections
from promptflow_lite.sdk.tool_metadata import write_tools_file

_EXTRAS = ("serve", "postgres", "otel")


def build_flow(source: str | os.PathLike[str], output: str | os.PathLike[str], *, variant: str | None = None) -> Path:
    """Copy a flow with its includes merged and its variants put in place; returns the copied flow file.

    Raises:
        UserErrorException: the target lies inside the flow's own folder.
    """
    flow = load_flow(source, variant=variant, allow_prompty_folder=True)
    return _copy(flow, Path(output).absolute())


def _copy(flow: Flow, target: Path) -> Path:
    if target == flow.root or (flow.path is not None and target == flow.path.parent):
        raise UserErrorException("A flow cannot be built into its own folder.", hint="Choose another --output.")

    file = copy_flow(flow, target)
    if isinstance(flow, DagFlow):
        copied = load_flow(file)
        if isinstance(copied, DagFlow):
            write_tools_file(copied)

    return file


def build_docker(source: str | os.PathLike[str], output: str | os.PathLike[str], *, variant: str | None = None) -> Path:
    """Write everything that a container image needs: flow, connections without secrets, this package, Dockerfile.

    Args:
        source: The flow.
        output: The folder that becomes the build context.
        variant: `${node.variant}` to put in place.

    Returns:
        The folder.
    """
    target = Path(output).absolute()
    flow = load_flow(source, variant=variant, allow_prompty_folder=True)
    file = _copy(flow, target / "flow")
    settings = _write_connections(flow, target / "connections")
    _write(target / "settings.json", json.dumps(settings, indent=2) + "\n")
    _copy_package(target / "package")
    entry = f"/app/flow/{file.name}" if isinstance(flow, PromptyFlow) else "/app/flow"
    environment = dict(getattr(flow, "environment", {}) or {})
    requirements = _requirements_file(environment, target / "flow")
    _write(target / "Dockerfile", container.dockerfile(environment, requirements=requirements, entry=entry))
    for script, text in (("start.sh", container.START), ("pfl", container.COMMAND)):
        _write(target / script, text)
        (target / script).chmod(0o755)
    _write(target / "compose.yaml", container.compose(flow.name, settings))
    _write(target / "kubernetes.yaml", container.kubernetes_text(flow.name, settings))
    _write(target / "README.md", _readme(flow, settings))
    return target


def used_connections(flow: Flow) -> list[str]:
    """Names of the connections that a flow's yaml mentions and that exist."""
    known = set(LocalConnections().names())
    mentioned: list[str] = []
    if isinstance(flow, DagFlow):
        for node in flow.nodes:
            mentioned += [str(value) for value in (node.connection, *node.inputs.values()) if isinstance(value, str)]
        mentioned += [
            value[2:-1].partition(".")[0] for value in flow.environment_variables.values() if value[:2] == "${"
        ]
    elif isinstance(flow, PromptyFlow):
        mentioned.append(str(flow.configuration.get("connection") or ""))
    else:
        init = {**(flow.sample.get("init") or {}), **{n: s.default for n, s in (flow.init or {}).items()}}
        mentioned += _texts(init)

    return [name for name in dict.fromkeys(mentioned) if name in known]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]

    return [value] if isinstance(value, str) else []


def _write_connections(flow: Flow, folder: Path) -> dict[str, str]:
    """A yaml a connection, its secrets replaced by references to the environment; returns those variables, empty."""
    settings: dict[str, str] = {}
    source = LocalConnections()
    for name in used_connections(flow):
        connection = source.get(name)
        variables = {key: override_variable(name, key) for key in connection.secrets}
        settings.update(dict.fromkeys(variables.values(), ""))
        _write(folder / f"{name}.yaml", dump_yaml_text(_connection_yaml(connection, variables)))
    return settings


def _connection_yaml(connection: Connection, variables: dict[str, str]) -> dict[str, Any]:
    secrets = {key: f"${{env:{variable}}}" for key, variable in variables.items()}
    configs = {key: value for key, value in connection.configs.items() if value is not None}
    head = {"name": connection.name, "type": connection.yaml_type}
    if isinstance(connection, CustomConnection | CustomStrongTypeConnection):
        return {**head, "configs": configs, "secrets": secrets}

    return {**head, **configs, **secrets}


def _copy_package(target: Path) -> None:
    """This package and what it requires, so that the image needs nothing else."""
    source = Path(promptflow_lite.__file__).parent
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(source, target / "promptflow_lite", ignore=skipped, dirs_exist_ok=True)
    _write(target / "requirements.txt", "\n".join(_requirements()) + "\n")


def _requirements() -> list[str]:
    try:
        stated = requires("promptflow-lite") or []
    except PackageNotFoundError:
        return []

    wanted = []
    for line in stated:
        requirement, _, marker = line.partition(";")
        extra = next((name for name in _EXTRAS if f"extra == '{name}'" in marker.replace('"', "'")), None)
        if "extra ==" not in marker:
            wanted.append(line)
        elif extra is not None:
            wanted.append(requirement.strip())
    return wanted


def _requirements_file(environment: dict[str, Any], flow_folder: Path) -> str | None:
    """The flow's own requirements, as named in its environment or by convention."""
    named = environment.get("python_requirements_txt")
    if named:
        return str(named)

    return "requirements.txt" if (flow_folder / "requirements.txt").is_file() else None


def _readme(flow: Flow, settings: dict[str, str]) -> str:
    variables = "".join(f" -e {name}=..." for name in settings)
    return (
        f"# {flow.name}\n\nBuild and run the image:\n\n"
        f"    docker build -t {flow.name} .\n"
        f"    docker run -p 8080:8080 -e PFL_SERVE_KEY=...{variables} {flow.name}\n\n"
        "PFL_SERVE_KEY is a key that callers send as `Authorization: Bearer`; make one with "
        "`pfl endpoint keys create`.\nThen send inputs as a JSON object to http://localhost:8080/score.\n"
        "compose.yaml adds a PostgreSQL database, kubernetes.yaml runs replicas that share one.\n"
        "A flex class takes its constructor values from PF_FLOW_INIT_CONFIG, a JSON object.\n"
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
