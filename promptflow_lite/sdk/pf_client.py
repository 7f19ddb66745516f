"""`PFClient`: the original's SDK surface over this package's `Client`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.clock import epoch_of
from promptflow_lite._utils.imports import require
from promptflow_lite._utils.jsonable import loads
from promptflow_lite.connections import Connection, load_connection_file
from promptflow_lite.errors import (
    InvalidRunStatusError,
    NotSupported,
    PromptflowException,
    UserErrorException,
)
from promptflow_lite.flow import FlexFlow, load_flow, validate_flow
from promptflow_lite.flow import Flow as FlowData
from promptflow_lite.flow.flex import is_entry
from promptflow_lite.records import LineResult, Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.flow_function import Flow
from promptflow_lite.sdk.prompty import Prompty
from promptflow_lite.sdk.run_entity import Run
from promptflow_lite.sdk.run_json import run_summary
from promptflow_lite.sdk.run_yaml import load_run_request
from promptflow_lite.sdk.runs import RunRequest

if TYPE_CHECKING:
    import pandas

FAILED_CELL = "(Failed)"


class PFClient:
    """Run flows, look at runs, keep connections; everything stays on this machine.

    Args:
        config: Settings of this client; `connection.provider` is accepted if it is `local`.
        connection_provider: Accepted if it is `local`.
    """

    def __init__(
        self, config: Mapping[str, Any] | None = None, connection_provider: str | None = None, **_ignored: Any
    ) -> None:
        provider = connection_provider or (config or {}).get("connection.provider", "local")
        if provider != "local":
            raise NotSupported(
                f"Connection provider {provider!r} cannot be reached from here.",
                hint="Create the connections locally: pfl connection create -f connection.yaml",
            )

        self._client = Client()
        self.runs = RunOperations(self._client)
        self.connections = ConnectionOperations(self._client)
        self.flows = FlowOperations(self._client)
        self.tools = ToolOperations()
        self.traces = TraceOperations(self._client)

    def test(
        self,
        flow: Any,
        *,
        inputs: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        variant: str | None = None,
        node: str | None = None,
        environment_variables: Mapping[str, str] | None = None,
        init: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        **_ignored: Any,
    ) -> Any:
        """Run a flow, or one node of it, once; see `FlowOperations.test`."""
        return self.flows.test(
            flow, inputs=inputs, variant=variant, node=node, environment_variables=environment_variables, init=init
        )

    def run(
        self,
        flow: Any = None,
        *,
        data: str | os.PathLike[str] | None = None,
        run: str | Run | None = None,
        column_mapping: Mapping[str, Any] | None = None,
        variant: str | None = None,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        environment_variables: Mapping[str, str] | None = None,
        name: str | None = None,
        display_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        resume_from: str | Run | None = None,
        code: str | os.PathLike[str] | None = None,
        init: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        **more: Any,
    ) -> Run:
        """Run a flow over many rows and wait for the end.

        Args:
            flow: Folder, file, `module:attr`, a function, class or callable object, or a loaded flow.
            data: The data file or folder.
            run: A base run whose inputs and outputs are mapped.
            column_mapping: Flow input -> `${data.column}`, `${run.outputs.name}` or a literal.
            variant: `${node.variant}`.
            connections: Node name -> inputs to replace.
            environment_variables: Set for the flow's code.
            name: Unique name of the run.
            display_name: Name for people.
            tags: Free labels.
            resume_from: A run whose completed lines are taken over; most other arguments come from it.
            code: The folder of a `module:attr` entry.
            init: Constructor values of a flex class, or overrides of a prompty.
            **more: `description`, `properties`; anything else is ignored.

        Raises:
            ValueError: neither `flow` nor `resume_from`, or neither `data` nor `run`.
            FileNotFoundError: there is no such data.
        """
        if resume_from is not None:
            excluded = (flow, data, run, column_mapping, variant, connections, environment_variables, init)
            if any(value is not None for value in excluded):
                raise ValueError("'resume_from' cannot be combined with flow, data, run or anything it takes over.")

            source = resume_from.name if isinstance(resume_from, Run) else resume_from
            record = self._client.runs.resume_from(
                str(source), name=name, display_name=display_name, description=more.get("description"), tags=tags
            )
            return Run.from_record(record)

        if flow is None:
            raise ValueError("'flow' is required to create a run.")

        if data is None and run is None:
            raise ValueError("at least one of data or run must be provided")

        if data is not None and not Path(data).exists():
            raise FileNotFoundError(f"data path {data} does not exist")

        target, loaded_init = _flow_of(flow, code)
        request = RunRequest(
            flow=target,
            data=None if data is None else str(data),
            run=run.name if isinstance(run, Run) else run,
            column_mapping=column_mapping,
            variant=variant,
            connections=connections,
            environment_variables=environment_variables,
            name=name,
            display_name=display_name,
            description=more.get("description"),
            tags=dict(tags or {}),
            properties=dict(more.get("properties") or {}),
            init=_init_of(init) or loaded_init,
        )
        return Run.from_record(self._client.runs.create(request))

    def stream(self, run: str | Run, raise_on_error: bool = True, **_ignored: Any) -> Run:
        """Print a run's log and summary; see `RunOperations.stream`."""
        return self.runs.stream(run, raise_on_error=raise_on_error)

    def get_details(self, run: str | Run, max_results: int = 100, all_results: bool = False) -> pandas.DataFrame:
        """Inputs and outputs of every line as a table; see `RunOperations.get_details`."""
        return self.runs.get_details(run, max_results=max_results, all_results=all_results)

    def get_metrics(self, run: str | Run) -> dict[str, Any]:
        """What the run's aggregation logged."""
        return self.runs.get_metrics(run)

    def visualize(self, runs: Any, **_ignored: Any) -> None:
        """Say where runs can be looked at."""
        self.runs.visualize(runs)


class RunOperations:
    """Runs, as the original's SDK offers them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, max_results: int = 50, *, list_view_type: Any = "ActiveOnly", **_ignored: Any) -> list[Run]:
        """Runs, newest first."""
        views: dict[str, Any] = {"ActiveOnly": "active", "ArchivedOnly": "archived", "All": "all"}
        view = views[str(getattr(list_view_type, "value", list_view_type))]
        return [Run.from_record(record) for record in self._client.runs.list(max_results, view=view)]

    def get(self, name: str) -> Run:
        """The run of that name. Raises `RunNotFoundError`."""
        return Run.from_record(self._client.runs.get(name))

    def create_or_update(self, run: Run, **_ignored: Any) -> Run:
        """Execute the run that an object describes."""
        request = RunRequest(
            flow=run.flow,
            data=run.data,
            run=run.run,
            column_mapping=run.column_mapping,
            variant=run.variant,
            connections=run.connections,
            environment_variables=run.environment_variables or None,
            init=run.init,
            name=run.name,
            display_name=run.display_name,
            description=run.description,
            tags=run.tags,
        )
        return Run.from_record(self._client.runs.create(request))

    def stream(self, name: str | Run, raise_on_error: bool = True, **_ignored: Any) -> Run:
        """Print a run's log and summary.

        Raises:
            InvalidRunStatusError: the run failed or was cancelled, and `raise_on_error` is set.
        """
        run = self.get(_name_of(name))
        log = run._output_path / "logs.txt" if run._output_path else None
        _print(log.read_text(encoding="utf-8") if log is not None and log.is_file() else "")
        _print(run_summary(self._client.runs.get(_name_of(name))) + "\n")
        if raise_on_error and run.status in (Status.FAILED, Status.CANCELED):
            message = (run._error or {}).get("message", "")
            raise InvalidRunStatusError(f"Run {run.name!r} ended with status {run.status}. {message}".strip())

        return run

    def archive(self, name: str | Run) -> Run:
        """Hide a run from lists."""
        return Run.from_record(self._client.runs.archive(_name_of(name)))

    def restore(self, name: str | Run) -> Run:
        """Show an archived run in lists again."""
        return Run.from_record(self._client.runs.restore(_name_of(name)))

    def update(
        self,
        name: str | Run,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        **_ignored: Any,
    ) -> Run:
        """Change what a run is called."""
        record = self._client.runs.update(_name_of(name), display_name=display_name, description=description, tags=tags)
        return Run.from_record(record)

    def delete(self, name: str | Run) -> None:
        """Remove a run, its lines and its files."""
        self._client.runs.delete(_name_of(name))

    def get_details(self, name: str | Run, max_results: int = 100, all_results: bool = False) -> pandas.DataFrame:
        """Inputs and outputs of every line as a table, in line order.

        Columns are `inputs.*` and `outputs.*`; outputs of a line that did not complete are `(Failed)`.

        Raises:
            MissingExtraError: the `data` extra is not installed.
        """
        data = require("pandas", extra="data", feature="A table of a run's details")
        limit = None if all_results else max_results
        lines: list[LineResult] = []
        for line in self._client.runs.lines(_name_of(name)):
            if limit is not None and len(lines) >= limit:
                break

            lines.append(line)
        input_names = _keys(line.inputs for line in lines)
        output_names = _keys(line.output for line in lines)
        rows = [
            {
                **{f"inputs.{key}": (line.inputs or {}).get(key) for key in input_names},
                **{f"outputs.{key}": _cell(line, key) for key in output_names},
            }
            for line in lines
        ]
        columns = [f"inputs.{key}" for key in input_names] + [f"outputs.{key}" for key in output_names]
        table: pandas.DataFrame = data.DataFrame(rows, columns=columns)
        return table

    def get_metrics(self, name: str | Run) -> dict[str, Any]:
        """What the run's aggregation logged.

        Raises:
            InvalidRunStatusError: the run is not completed.
        """
        run = self.get(_name_of(name))
        if run.status != Status.COMPLETED:
            raise InvalidRunStatusError(f"Run {run.name!r} is not completed, its status is {run.status}.")

        return self._client.runs.metrics(_name_of(name))

    def visualize(self, runs: Any, **_ignored: Any) -> None:
        """Say where runs can be looked at."""
        names = [_name_of(run) for run in (runs if isinstance(runs, list | tuple) else [runs])]
        _print(f"Open the studio with `pfl ui` and choose {', '.join(names)}.\n")


class ConnectionOperations:
    """Connections, as the original's SDK offers them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, max_results: int = 50, all_results: bool = False, **_ignored: Any) -> list[Connection]:
        """Connections by name, without their secrets."""
        names = self._client.connections.names()[: None if all_results else max_results]
        return [_scrubbed(self._client.connections.get_stored(name)) for name in names]

    def get(self, name: str, *, with_secrets: bool = True, **_ignored: Any) -> Connection:
        """The connection of that name. Raises `ConnectionNotFoundError`."""
        connection = self._client.connections.get_stored(name)
        return connection if with_secrets else _scrubbed(connection)

    def create_or_update(self, connection: Connection, **_ignored: Any) -> Connection:
        """Store a connection; secrets given as placeholders keep their stored value."""
        self._client.connections.create_or_update(connection)
        return _scrubbed(self._client.connections.get_stored(connection.name or ""))

    def delete(self, name: str) -> None:
        """Remove a connection."""
        self._client.connections.delete(name)


class FlowOperations:
    """Flows, as the original's SDK offers them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def test(
        self,
        flow: Any,
        *,
        inputs: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        variant: str | None = None,
        node: str | None = None,
        environment_variables: Mapping[str, str] | None = None,
        init: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        **_ignored: Any,
    ) -> Any:
        """Run a flow, or one node of it, once.

        Returns:
            The outputs; the node's output; or the plain value of a flow without named outputs.

        Raises:
            UserErrorException: `<Error>: <message>`, whatever went wrong.
        """
        target, loaded_init = _flow_of(flow, None)
        values = _read_inputs(inputs)
        if node is not None:
            result = self._client.flows.test_node(
                target,  # type: ignore[arg-type]  # other kinds of flows are refused with a message
                node,
                inputs=values,
                variant=variant,
                environment_variables=environment_variables,
                show_prints=True,
            )
            _raise_plainly(result.exception)
            return result.output

        tested = self._client.flows.test(
            target,
            inputs=values,
            variant=variant,
            environment_variables=environment_variables,
            init=_init_of(init) or loaded_init,
        )
        _raise_plainly(tested.line.exception)
        return tested.plain_output

    def validate(self, flow: Any, *, raise_error: bool = False, **_ignored: Any) -> dict[str, Any]:
        """Every problem of a flow, found without running its code.

        Raises:
            UserErrorException: there are problems, and `raise_error` is set.
        """
        problems = [problem for problem in validate_flow(flow) if problem.severity == "error"]
        if problems and raise_error:
            raise UserErrorException("\n".join(problem.message for problem in problems), hint=problems[0].hint)

        errors = [{"message": problem.message, "path": problem.yaml_path} for problem in problems]
        return {"result": "Failed", "errors": errors} if errors else {"result": "Succeeded"}

    def infer_signature(self, entry: Any, **_ignored: Any) -> dict[str, Any]:
        """Inputs, outputs and init of a flex flow's entry, as its yaml would declare them."""
        from promptflow_lite.sdk.flex_files import signature_to_yaml

        return signature_to_yaml(entry)

    def save(self, entry: Any, code: str | os.PathLike[str] | None = None, **options: Any) -> Path:
        """Write the `flow.flex.yaml` of an entry; see `flex_files.save_flow`."""
        from promptflow_lite.sdk.flex_files import save_flow

        return save_flow(entry, code, **options)

    def build(
        self,
        flow: Any,
        *,
        output: str | os.PathLike[str],
        format: str | None = None,
        variant: str | None = None,
        **_ignored: Any,
    ) -> None:
        """Copy a flow in the form in which it executes, or write the files of a container image (`docker`)."""
        from promptflow_lite.sdk.flow_build import build_docker, build_flow

        (build_docker if format == "docker" else build_flow)(flow, output, variant=variant)


class ToolOperations:
    """Tools, as the original's SDK offers them."""

    def list(self, flow: Any = None, **_ignored: Any) -> dict[str, Any]:
        """Metadata of the package tools that are installed, and of the flow's own tools."""
        from promptflow_lite.sdk.tool_metadata import list_tools

        return list_tools(flow)

    def validate(self, source: Any, **_ignored: Any) -> dict[str, Any]:
        """Whether a script or package holds usable tools."""
        from promptflow_lite.sdk.tool_metadata import validate_tools

        return validate_tools(source)


class TraceOperations:
    """Traces, as the original's SDK offers them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def delete(
        self, *, run: str | None = None, collection: str | None = None, started_before: Any = None, **_ignored: Any
    ) -> int:
        """Remove the traces of a collection; returns how many there were.

        Raises:
            NotSupported: a run is named; its traces are part of its lines.
        """
        if collection is None:
            raise NotSupported(
                f"The traces of a run are kept with its lines, so those of {run!r} cannot be deleted alone.",
                hint="Delete the run: pfl run delete --name NAME",
            )

        before = None if started_before is None else epoch_of(started_before)
        return self._client.store.traces.delete(collection, started_before=before)


def load_run(source: str | os.PathLike[str], params_override: list[Mapping[str, Any]] | None = None) -> Run:
    """The run that a `run.yaml` describes, not executed yet.

    Args:
        source: The file.
        params_override: Values laid over those of the file.
    """
    overrides = {key: value for item in params_override or [] for key, value in item.items()}
    request = load_run_request(Path(source), overrides)
    return Run(
        None if request.flow is None else str(request.flow),
        name=request.name,
        data=request.data,
        run=request.run,
        variant=request.variant,
        column_mapping=request.column_mapping,
        connections=request.connections,
        environment_variables=request.environment_variables,
        init=request.init,
        display_name=request.display_name,
        description=request.description,
        tags=request.tags,
    )


def load_connection(source: str | os.PathLike[str], **overrides: Any) -> Connection:
    """The connection that a yaml file describes, not stored yet."""
    return load_connection_file(Path(source), overrides=overrides or None)


def _flow_of(flow: Any, code: str | os.PathLike[str] | None) -> tuple[str | Path | FlowData, dict[str, Any] | None]:
    """Whatever a caller may give as a flow, as something to run, and init values that it carries."""
    if isinstance(flow, Prompty):
        return flow.path, flow.overrides or None

    if isinstance(flow, Flow):
        return flow.path, None

    if isinstance(flow, str | os.PathLike):
        text = os.fspath(flow)
        if Path(text).exists():
            return Path(text), None

        if is_entry(text):
            return load_flow(text, code=code), None

        raise UserErrorException(f"Flow path {text} does not exist and it's not a valid entry point.")

    if isinstance(flow, FlowData):
        return flow, None

    if callable(flow):
        return flow_of_callable(flow, code), None

    raise UserErrorException(
        f"A {type(flow).__name__} is not a flow.", hint="Give a path, 'module:function', or something callable."
    )


def flow_of_callable(target: Callable[..., Any], code: str | os.PathLike[str] | None = None) -> FlexFlow:
    """A flow that runs a Python callable."""
    named = target if hasattr(target, "__qualname__") else type(target)
    name = str(getattr(named, "__qualname__", "flow"))
    module = inspect.getmodule(named)
    root = Path(code).absolute() if code else Path.cwd()
    return FlexFlow(
        path=None,
        root=root,
        name=name.rpartition(".")[2],
        entry=f"{module.__name__ if module else '__main__'}:{name}",
        target=target,
    )


def _read_inputs(inputs: Mapping[str, Any] | str | os.PathLike[str] | None) -> dict[str, Any]:
    if inputs is None or isinstance(inputs, Mapping):
        return dict(inputs or {})

    path = Path(inputs)
    if path.suffix not in (".json", ".jsonl"):
        raise UserErrorException("Only support jsonl or json file as input.", hint=f"Got {path.name!r}.")

    if not path.is_file():
        raise UserErrorException(f"Cannot find inputs file {path}.")

    text = path.read_text(encoding="utf-8-sig")
    first = next((line for line in text.splitlines() if line.strip()), "{}")
    return dict(loads(first if path.suffix == ".jsonl" else text))


def _init_of(init: Mapping[str, Any] | str | os.PathLike[str] | None) -> dict[str, Any] | None:
    from promptflow_lite.runtime.flex import parse_init

    return parse_init(init) or None


def _raise_plainly(error: BaseException | None) -> None:
    if error is None:
        return

    hint = error.hint if isinstance(error, PromptflowException) else None
    raise UserErrorException(f"{type(error).__name__}: {error}", hint=hint) from error


def _name_of(run: str | Run) -> str:
    return str(run.name) if isinstance(run, Run) else run


def _keys(mappings: Any) -> list[str]:
    """Keys of all mappings, each once, in the order in which they first appear."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping or {}))


def _cell(line: LineResult, key: str) -> Any:
    if line.output is None or line.status is not Status.COMPLETED:
        return FAILED_CELL

    return line.output.get(key)


def _scrubbed(connection: Connection) -> Connection:
    return connection.copy_with(dict(connection.configs), dict.fromkeys(connection.secrets, "******"))


def _print(text: str) -> None:
    import sys

    sys.stdout.write(text)
