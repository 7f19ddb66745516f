"""Experiments: several flows and commands in sequence, each reading data files and what ran before it (contract 14)."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptflow_lite._utils.files import check_name, replace_file
from promptflow_lite._utils.hashing import content_key, file_digest
from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.batch.data import DataFile
from promptflow_lite.errors import ExperimentError, Location, PromptflowException
from promptflow_lite.flow import coerce_literal, load_flow, load_yaml
from promptflow_lite.records import Status
from promptflow_lite.runtime import LineExecutor, create_executor, flow_process, resolve_environment
from promptflow_lite.sdk.flow_copy import flow_files
from promptflow_lite.sdk.runs import RunRequest
from promptflow_lite.settings import environ, home

if TYPE_CHECKING:
    from promptflow_lite.sdk.client import Client

logger = logging.getLogger("promptflow")

NodeKind = Literal["flow", "command", "chat_group"]
_REFERENCE = re.compile(r"\$\{([^{}]+)\}")
_EVERYTHING = frozenset(("data", "inputs", "parent", "outputs"))


@dataclass(frozen=True, slots=True)
class ExperimentNode:
    """One step of an experiment."""

    name: str
    kind: NodeKind
    body: dict[str, Any]
    """The node's yaml."""

    @property
    def inputs(self) -> dict[str, Any]:
        return dict(self.body.get("inputs") or {})

    def values(self) -> list[Any]:
        """Everything in which references may stand."""
        found = list(self.inputs.values())
        for role in self.body.get("roles") or ():
            found += list((role.get("inputs") or {}).values())
        return found


@dataclass(frozen=True, slots=True)
class Experiment:
    """A template: data files, inputs and nodes in the order in which they run."""

    path: Path
    description: str
    data: dict[str, Path]
    inputs: dict[str, dict[str, Any]]
    nodes: tuple[ExperimentNode, ...]


@dataclass(slots=True)
class ExperimentState:
    """A started (or only created) experiment, as its file keeps it."""

    name: str
    template: str
    status: str = "NotStarted"
    """`NotStarted`, `InProgress` or `Terminated`."""
    created_on: float = 0.0
    node_runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Node -> `run`, `status`, `key`, and `outputs` of a command."""


def _read_state(file: Path) -> ExperimentState:
    try:
        return ExperimentState(**loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ExperimentError(
            f"The experiment {file.parent.name!r} is damaged: {error}",
            hint="Restore the file, or remove its folder.",
            where=Location(str(file)),
        ) from error


def load_experiment(path: str | os.PathLike[str]) -> Experiment:
    """Read a template and put its nodes in order.

    Raises:
        ExperimentError: the file is missing or malformed, or its nodes refer to each other in a circle.
    """
    file = Path(path).absolute()
    if not file.is_file():
        raise ExperimentError(f"The experiment {str(path)!r} does not exist.", hint="Correct --template.")

    content = load_yaml(file).value
    if not isinstance(content, dict) or not isinstance(content.get("nodes"), list):
        raise ExperimentError("An experiment needs a list of nodes.", where=Location(str(file), 1))

    nodes = [_node(raw, file) for raw in content["nodes"]]
    data = {str(item["name"]): (file.parent / str(item["path"])).resolve() for item in content.get("data") or ()}
    return Experiment(
        path=file,
        description=str(content.get("description") or ""),
        data=data,
        inputs={str(item["name"]): dict(item) for item in content.get("inputs") or ()},
        nodes=_ordered(nodes, data, file),
    )


def _node(raw: Any, file: Path) -> ExperimentNode:
    kinds = ("flow", "command", "chat_group")
    if not isinstance(raw, dict) or not raw.get("name") or raw.get("type") not in kinds:
        raise ExperimentError(
            f"A node of an experiment needs a name and a type, one of {', '.join(kinds)}.", where=Location(str(file))
        )

    return ExperimentNode(check_name(str(raw["name"]), "a node"), raw["type"], raw)


def _ordered(nodes: list[ExperimentNode], data: Collection[str], file: Path) -> tuple[ExperimentNode, ...]:
    names = {node.name for node in nodes}
    placed: list[ExperimentNode] = []
    waiting = list(nodes)
    while waiting:
        done = {node.name for node in placed}
        ready = next((node for node in waiting if _needs(node, names, data, file) <= done), None)
        if ready is None:
            stuck = ", ".join(sorted(node.name for node in waiting))
            raise ExperimentError(f"Nodes refer to each other in a circle: {stuck}.", where=Location(str(file)))

        placed.append(ready)
        waiting.remove(ready)
    return tuple(placed)


def _needs(node: ExperimentNode, names: set[str], data: Collection[str], file: Path) -> set[str]:
    """Names of the nodes that a node reads."""
    needed = set()
    for value in node.values():
        for text in _REFERENCE.findall(value) if isinstance(value, str) else ():
            head = text.partition(".")[0]
            if head in names:
                needed.add(head)
            elif head not in _EVERYTHING and head not in data:
                raise ExperimentError(
                    f"Node {node.name!r} reads ${{{text}}}, but there is no node {head!r}.",
                    hint=did_you_mean(head, names),
                    where=Location(str(file)),
                )
    return needed


class ExperimentOperations:
    """What a client can do with experiments.

    Args:
        client: Runs flows and keeps their runs.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    # --- kept experiments -------------------------------------------------------------------------------------------

    def create(self, template: str | os.PathLike[str], name: str | None = None) -> ExperimentState:
        """Remember a template under a name.

        Raises:
            ExperimentError: the template is malformed, or the name is taken.
        """
        experiment = load_experiment(template)
        chosen = name or f"{experiment.path.name.split('.')[0]}_{time.strftime('%Y%m%d_%H%M%S')}"
        if self._file(chosen).exists():
            raise ExperimentError(f"Experiment {chosen!r} already exists.", hint="Choose another name.")

        state = ExperimentState(chosen, str(experiment.path), created_on=time.time())
        self._save(state)
        return state

    def get(self, name: str) -> ExperimentState:
        """The experiment of that name. Raises `ExperimentError` when there is none."""
        file = self._file(name)
        if not file.is_file():
            known = [state.name for state in self.list()]
            raise ExperimentError(f"Experiment {name!r} does not exist.", hint=did_you_mean(name, known))

        return _read_state(file)

    def list(self) -> list[ExperimentState]:
        """All experiments, newest first."""
        states = [_read_state(file) for file in _root().glob("*/experiment.json")]
        return sorted(states, key=lambda state: state.created_on, reverse=True)

    def stop(self, name: str) -> ExperimentState:
        """Ask a started experiment to stop; its running run is cancelled."""
        state = self.get(name)
        for node in state.node_runs.values():
            if node.get("status") == Status.RUNNING and node.get("run"):
                self._client.runs.cancel(node["run"])
        state.status = "Terminated"
        self._save(state)
        return state

    # --- running ----------------------------------------------------------------------------------------------------

    def start(self, name: str, inputs: Mapping[str, Any] | None = None) -> ExperimentState:
        """Run every node over all rows; a node whose code and inputs are unchanged keeps its earlier run.

        Raises:
            ExperimentError: a node failed; nodes that ran before it are kept.
        """
        state = self.get(name)
        experiment = load_experiment(state.template)
        values = _input_values(experiment, inputs or {})
        state.status = "InProgress"
        self._save(state)
        try:
            for node in experiment.nodes:
                if self.get(name).status == "Terminated":
                    break

                self._run_node(node, experiment, values, state)
        finally:
            state.status = "Terminated"
            self._save(state)

        return state

    def _run_node(
        self, node: ExperimentNode, experiment: Experiment, values: Mapping[str, Any], state: ExperimentState
    ) -> None:
        earlier = state.node_runs.get(node.name, {})
        key = self._key(node, experiment, values, state)
        if earlier.get("status") == Status.COMPLETED and earlier.get("key") == key:
            logger.info("Node %r is unchanged; its earlier run is kept.", node.name)
            return

        record: dict[str, Any] = {"key": key, "status": Status.RUNNING.value}
        state.node_runs[node.name] = record
        if node.kind == "flow":
            record["run"] = f"{state.name}_{node.name}_{time.strftime('%Y%m%d_%H%M%S')}_{os.urandom(2).hex()}"
        self._save(state)
        try:
            if node.kind == "flow":
                self._run_flow(node, experiment, values, state, record)
            elif node.kind == "command":
                record["outputs"] = self._run_command(node, experiment, values, state)
            else:
                record["outputs"] = self._run_conversations(node, experiment, values, state)
        except PromptflowException:
            record["status"] = Status.FAILED.value
            self._save(state)
            raise

        record["status"] = Status.COMPLETED.value
        self._save(state)

    def _run_flow(
        self,
        node: ExperimentNode,
        experiment: Experiment,
        values: Mapping[str, Any],
        state: ExperimentState,
        record: dict[str, Any],
    ) -> None:
        mapping, data, base = self._mapping(node, experiment, values, state)
        body = node.body
        run = self._client.runs.create(
            RunRequest(
                flow=str((experiment.path.parent / str(body["path"])).resolve()),
                data=data,
                run=base,
                column_mapping=mapping or None,
                variant=body.get("variant"),
                connections=body.get("connections"),
                environment_variables=body.get("environment_variables"),
                init=body.get("init"),
                name=record["run"],
                display_name=body.get("display_name") or node.name,
                properties={"experiment": state.name},
            )
        )
        if run.status is not Status.COMPLETED:
            message = (run.error or {}).get("message", "")
            raise ExperimentError(f"Node {node.name!r} ended with status {run.status}. {message}".strip())

    def _mapping(
        self, node: ExperimentNode, experiment: Experiment, values: Mapping[str, Any], state: ExperimentState
    ) -> tuple[dict[str, Any], Path | None, str | None]:
        """A flow node's inputs as a column mapping, the data file and the base run that it reads."""
        mapping: dict[str, Any] = {}
        data: set[Path] = set()
        bases: set[str] = set()
        for name, value in node.inputs.items():
            match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if match is None:
                mapping[name] = value
                continue

            head, _, rest = _without_data_prefix(match[1], experiment).partition(".")
            if head == "inputs":
                mapping[name] = values[rest]
            elif head in experiment.data:
                data.add(experiment.data[head])
                mapping[name] = f"${{data.{rest}}}"
            elif (outputs := state.node_runs[head].get("outputs")) is not None:
                file, column = _written_column(outputs, rest)
                data.add(file)
                mapping[name] = f"${{data.{column}}}"
            else:
                bases.add(state.node_runs[head]["run"])
                mapping[name] = f"${{run.{rest}}}"
        if len(data) > 1 or len(bases) > 1:
            raise ExperimentError(f"Node {node.name!r} may read one data file and one node at most.")

        if not data and not bases and experiment.data:
            data.add(next(iter(experiment.data.values())))
            mapping.setdefault("line_number", "${data.line_number}")  # a mapping of literals alone is refused

        return mapping, next(iter(data), None), next(iter(bases), None)

    def _run_command(
        self, node: ExperimentNode, experiment: Experiment, values: Mapping[str, Any], state: ExperimentState
    ) -> dict[str, str]:
        folder = _root() / state.name / node.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        outputs = {
            name: str((experiment.path.parent / str(path)).resolve()) if path else str(folder / name)
            for name, path in (node.body.get("outputs") or {}).items()
        }
        for name, path in (node.body.get("outputs") or {}).items():
            if not path:
                Path(outputs[name]).mkdir()

        inputs = {name: self._file_value(value, experiment, values, state) for name, value in node.inputs.items()}
        known = {f"inputs.{k}": v for k, v in inputs.items()} | {f"outputs.{k}": v for k, v in outputs.items()}
        command = _REFERENCE.sub(
            lambda match: shlex.quote(str(known[match[1]])) if match[1] in known else match[0],
            str(node.body["command"]),
        )
        code = (experiment.path.parent / str(node.body.get("code") or ".")).resolve()
        declared = {str(k): str(v) for k, v in (node.body.get("environment_variables") or {}).items()}
        variables = resolve_environment({}, declared, self._client.connections)
        with (folder / "log.txt").open("wb") as log:
            ended = subprocess.run(  # noqa: S602  # running the user's command line is what the node is for
                command,
                shell=True,
                cwd=code,
                env={**environ(), **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if ended.returncode:
            tail = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-500:]
            raise ExperimentError(
                f"The command of node {node.name!r} ended with code {ended.returncode}: {tail.strip()}",
                hint=f"Its whole output is in {folder / 'log.txt'}.",
            )

        return outputs

    def _file_value(self, value: Any, experiment: Experiment, values: Mapping[str, Any], state: ExperimentState) -> Any:
        """An input of a command: a data file, what an earlier node left, an input of the experiment, or a literal."""
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return value

        head, _, rest = _without_data_prefix(match[1], experiment).partition(".")
        if head == "inputs":
            return values[rest]

        if head in experiment.data:
            return experiment.data[head]

        record = state.node_runs[head]
        if "outputs" in record:
            return record["outputs"].get(rest.partition(".")[2], record["outputs"])

        return Path(str(self._client.runs.get(record["run"]).output_path)) / "flow_outputs"

    def _run_conversations(
        self, node: ExperimentNode, experiment: Experiment, values: Mapping[str, Any], state: ExperimentState
    ) -> dict[str, str]:
        """A conversation for every row of the data that the roles read; histories go to a file."""
        folder = _root() / state.name / node.name
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "conversations.jsonl"
        conversation = _Conversation(self._client, node, experiment)
        source = conversation.data_name(experiment)
        rows: Iterable[Mapping[str, Any]] = DataFile(str(experiment.data[source])) if source else [{}]
        with target.open("w", encoding="utf-8") as handle:
            for number, row in enumerate(rows):
                history = conversation.run({source: row, "data": {source: row}, "inputs": values})
                handle.write(dumps({"line_number": number, "conversation_history": history}) + "\n")
        return {"conversations": str(target)}

    # --- testing ----------------------------------------------------------------------------------------------------

    def test(self, template: str | os.PathLike[str], inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run every node on the first row of its data; returns the outputs by node.

        Raises:
            PromptflowException: a node failed.
        """
        experiment = load_experiment(template)
        rows = {name: next(iter(DataFile(str(path))), {}) for name, path in experiment.data.items()}
        scope: dict[str, Any] = {**rows, "data": rows, "inputs": _input_values(experiment, inputs or {})}
        results: dict[str, Any] = {}
        for node in experiment.nodes:
            if node.kind == "chat_group":
                results[node.name] = {"conversation_history": _Conversation(self._client, node, experiment).run(scope)}
            elif node.kind == "command":
                results[node.name] = self._test_command(node, experiment, scope)
            else:
                results[node.name] = self._test_flow(node, experiment, scope)
            scope[node.name] = self._tested(node, results[node.name], rows)
        return results

    def _tested(self, node: ExperimentNode, outputs: Any, rows: Mapping[str, Any]) -> dict[str, Any]:
        """What later nodes may read of a tested node."""
        if node.kind == "command":
            files = {name: next(iter(DataFile(path)), {}) for name, path in outputs.items() if _holds_rows(path)}
            return {"outputs": {**outputs, **files}, "files": outputs}

        shared = outputs if node.kind == "chat_group" else {}
        return {"outputs": outputs, "inputs": rows.get(next(iter(rows), ""), {}), **shared}

    def _test_flow(self, node: ExperimentNode, experiment: Experiment, scope: Mapping[str, Any]) -> Any:
        body = node.body
        inputs = {name: _value(value, scope) for name, value in node.inputs.items()}
        if not inputs and scope["data"]:
            inputs = dict(next(iter(scope["data"].values())))

        tested = self._client.flows.test(
            experiment.path.parent / str(body["path"]),
            inputs=inputs,
            variant=body.get("variant"),
            environment_variables=body.get("environment_variables"),
            connections=body.get("connections"),
            init=body.get("init"),
        )
        return tested.output

    def _test_command(self, node: ExperimentNode, experiment: Experiment, scope: Mapping[str, Any]) -> Any:
        state = ExperimentState(f"test_{os.getpid()}", str(experiment.path))
        state.node_runs = {
            name: {"outputs": scope[name].get("files", scope[name]["outputs"])}
            for name in (other.name for other in experiment.nodes)
            if name in scope
        }
        return self._run_command(node, experiment, scope["inputs"], state)

    # --- files ------------------------------------------------------------------------------------------------------

    def _key(
        self, node: ExperimentNode, experiment: Experiment, values: Mapping[str, Any], state: ExperimentState
    ) -> str:
        """A digest of a node's yaml, code, data and of the nodes that it reads."""
        code = _code_files(node, experiment)
        names = {other.name for other in experiment.nodes}
        read = _needs(node, names, experiment.data, experiment.path) & set(state.node_runs)
        return content_key(
            node.body,
            dict(values),
            {str(path): file_digest(path) for path in code},
            {name: file_digest(path) for name, path in experiment.data.items() if path.is_file()},
            {name: state.node_runs[name].get("key") for name in sorted(read)},
        )

    def _file(self, name: str) -> Path:
        return _root() / check_name(name, "an experiment") / "experiment.json"

    def _save(self, state: ExperimentState) -> None:
        file = self._file(state.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(dataclasses.asdict(state), indent=2))


def _code_files(node: ExperimentNode, experiment: Experiment) -> list[Path]:
    """Files that decide what a node does: its flow, or the folder of its command without what that writes."""
    folder = (experiment.path.parent / str(node.body.get("path") or node.body.get("code") or ".")).resolve()
    if folder.is_file():
        return [folder]

    written = {(experiment.path.parent / str(path)).resolve() for path in (node.body.get("outputs") or {}).values()}
    return [folder / name for name in flow_files(folder, skip=(home(),)) if folder / name not in written]


class _Conversation:
    """Flows that speak in turns."""

    def __init__(self, client: Client, node: ExperimentNode, experiment: Experiment) -> None:
        self._node = node
        self._roles = [dict(role) for role in node.body.get("roles") or ()]
        if not self._roles:
            raise ExperimentError(f"The chat group {node.name!r} has no roles.")

        self._executors: list[LineExecutor] = []
        for role in self._roles:
            flow = load_flow(experiment.path.parent / str(role["path"]))
            environment = resolve_environment(flow.environment_variables, {}, client.connections)
            with flow_process(flow.root, environment):
                executor = create_executor(
                    flow, client.connections, connection_overrides=role.get("connections"), init=role.get("init")
                )
            self._executors.append(executor)

    def data_name(self, experiment: Experiment) -> str:
        """The data that the roles read first; empty when they read none."""
        for value in self._node.values():
            match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            head = _without_data_prefix(match[1], experiment).partition(".")[0] if match else ""
            if head in experiment.data:
                return head

        return ""

    def run(self, scope: Mapping[str, Any]) -> list[dict[str, Any]]:
        """One conversation; every item is the role and its outputs."""
        body = self._node.body
        history: list[dict[str, Any]] = []
        tokens = 0
        deadline = time.monotonic() + float(body["max_time"]) if body.get("max_time") else None
        for turn in range(int(body.get("max_turns") or 1)):
            role = self._roles[turn % len(self._roles)]
            executor = self._executors[turn % len(self._roles)]
            view = {**scope, "parent": {"conversation_history": list(history)}}
            inputs = {name: _value(value, view) for name, value in (role.get("inputs") or {}).items()}
            with flow_process(executor.flow.root, {}):
                line = executor.run_line(inputs)
            if line.exception is not None:
                raise line.exception

            outputs = dict(line.output or {})
            history.append({"role": role["role"], **outputs})
            tokens += line.usage.total_tokens
            if _is_over(body, outputs, tokens, deadline):
                break

        return history


def _is_over(body: Mapping[str, Any], outputs: Mapping[str, Any], tokens: int, deadline: float | None) -> bool:
    signal = body.get("stop_signal")
    said_stop = bool(signal) and any(str(signal) in str(value) for value in outputs.values())
    is_late = deadline is not None and time.monotonic() > deadline
    return said_stop or is_late or bool(body.get("max_tokens") and tokens >= int(body["max_tokens"]))


def _value(value: Any, scope: Mapping[str, Any]) -> Any:
    """A literal, or what a reference reads from rows, inputs and earlier outputs."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value

    found: Any = scope
    for step in match[1].split("."):
        if not isinstance(found, Mapping) or step not in found:
            known = did_you_mean(step, found) if isinstance(found, Mapping) else None
            raise ExperimentError(f"{value} reads nothing: there is no {step!r}.", hint=known)

        found = found[step]
    return found


def _input_values(experiment: Experiment, given: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, spec in experiment.inputs.items():
        value = given.get(name, spec.get("default"))
        if value is None:
            raise ExperimentError(f"Input {name!r} of the experiment has no value.", hint=f"Give --inputs {name}=…")

        values[name] = coerce_literal(value, str(spec["type"])) if spec.get("type") else value
    return values


def _holds_rows(path: str) -> bool:
    found = Path(path)
    files = found.rglob("*") if found.is_dir() else [found]
    return any(file.suffix in (".jsonl", ".json", ".csv", ".tsv", ".parquet") for file in files)


def _without_data_prefix(text: str, experiment: Experiment) -> str:
    """`data.rows.column` as `rows.column`, the shorter form in which data may be named too."""
    head, _, rest = text.partition(".")
    if head != "data":
        return text

    name = rest.partition(".")[0]
    if name not in experiment.data:
        raise ExperimentError(f"The experiment has no data named {name!r}.", hint=did_you_mean(name, experiment.data))

    return rest


def _written_column(outputs: Mapping[str, str], reference: str) -> tuple[Path, str]:
    """The file that a command or a chat group wrote, and the column in it, for `outputs.NAME.column`."""
    section, _, rest = reference.partition(".")
    if section != "outputs":
        return Path(next(iter(outputs.values()))), reference

    name, _, column = rest.partition(".")
    return (Path(outputs[name]), column) if name in outputs else (Path(next(iter(outputs.values()))), rest)


def _root() -> Path:
    return home() / ".exps"
