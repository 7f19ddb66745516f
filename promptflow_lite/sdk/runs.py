"""Runs: execute a flow over many rows, resume, look at and remove what was recorded."""

from __future__ import annotations

import builtins
import datetime as dt
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from promptflow_lite.batch.data import DataFile
from promptflow_lite.batch.isolation import FlowSpec, ProcessRunner
from promptflow_lite.batch.lines import Lines
from promptflow_lite.batch.mapping import ColumnMapping
from promptflow_lite.batch.runner import (
    DEFAULT_CONCURRENCY,
    DEFAULT_LINE_TIMEOUT_S,
    BatchOptions,
    InProcessRunner,
    Progress,
    execute_batch,
)
from promptflow_lite.connections import CustomConnection
from promptflow_lite.errors import (
    InvalidRunStatusError,
    PromptflowException,
    RunOperationParameterError,
    UserErrorException,
    error_to_dict,
)
from promptflow_lite.flow import DagFlow, FlexFlow, Flow, load_flow
from promptflow_lite.records import LineResult, RunRecord, Status
from promptflow_lite.runtime import (
    LineExecutor,
    LineValues,
    aggregation_references,
    captured_prints,
    create_executor,
    flow_process,
    line_values,
    resolve_environment,
)
from promptflow_lite.sdk.models_used import recorded_models
from promptflow_lite.sdk.run_files import write_run_files, write_snapshot
from promptflow_lite.settings import env_float, env_int, home

if TYPE_CHECKING:
    from promptflow_lite.connections import ConnectionSource
    from promptflow_lite.store import Store
    from promptflow_lite.store.filters import LineFilter

Isolation = Literal["thread", "process"]
Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a run executes; everything that resuming it needs is in its record."""

    flow: str | Path | Flow | None = None
    """Folder, file, `module:attr`, or a flow that is loaded already."""
    data: str | Path | None = None
    run: str | None = None
    """A base run whose inputs and outputs are mapped."""
    column_mapping: Mapping[str, Any] | None = None
    variant: str | None = None
    connections: Mapping[str, Mapping[str, Any]] | None = None
    environment_variables: Mapping[str, str] | None = None
    init: Mapping[str, Any] | None = None
    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOptions:
    """How a run executes its lines; None means what the environment or the default says."""

    concurrency: int | None = None
    isolation: Isolation = "thread"
    line_timeout_s: float | None = None
    batch_timeout_s: float | None = None
    retries: int = 0
    prepare: Callable[[LineExecutor], None] | None = None
    """Called with the executor of a run in this process before its first line."""

    def to_batch(self) -> BatchOptions:
        count = env_int("PF_WORKER_COUNT")
        return BatchOptions(
            concurrency=self.concurrency or (count if count and count > 0 else DEFAULT_CONCURRENCY),
            line_timeout_s=self.line_timeout_s or env_float("PF_LINE_TIMEOUT_SEC") or DEFAULT_LINE_TIMEOUT_S,
            batch_timeout_s=self.batch_timeout_s or env_float("PF_BATCH_TIMEOUT_SEC"),
            retries=self.retries,
            grace_s=env_float("PF_WAIT_SECONDS_AFTER_CANCELLATION") or 30.0,
        )


class RunOperations:
    """What a client can do with runs.

    Args:
        store: Where runs are recorded.
        connections: Where flows find their connections.
    """

    def __init__(self, store: Store, connections: ConnectionSource) -> None:
        self._store = store
        self._connections = connections

    # --- execute ---

    def create(
        self, request: RunRequest, *, options: ExecutionOptions | None = None, report: Report | None = None
    ) -> RunRecord:
        """Execute a flow over rows and record everything.

        Args:
            request: What to run.
            options: How lines are executed.
            report: Told about progress as lines are recorded.

        Returns:
            The finished run. Errors after the run was recorded are in `error`, with status `Failed`.

        Raises:
            PromptflowException: the request is wrong, so that no run could be recorded.
            KeyboardInterrupt: the run was interrupted; it is recorded as `Canceled` and can be resumed.
        """
        flow, record = self._prepare(request)
        self._store.runs.create(record)
        return self._execute(record, flow, options or ExecutionOptions(), report)

    def register(self, folder: str | Path, *, name: str | None = None, **fields: Any) -> RunRecord:
        """Record a run that was exported to a folder, with its lines and metrics; see `register_run_folder`."""
        from promptflow_lite.sdk.run_import import register_run_folder

        return register_run_folder(self._store, Path(folder).absolute(), name=name, **fields)

    def resume_from(
        self,
        source: str,
        *,
        name: str | None = None,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        options: ExecutionOptions | None = None,
        report: Report | None = None,
    ) -> RunRecord:
        """Start a new run that takes over another run's completed lines and executes the rest.

        Raises:
            RunNotFoundError, InvalidRunStatusError: there is no such run, or it is still executing.
        """
        base = self._finished(source)
        request = RunRequest(
            flow=_recorded_flow(base) if base.properties.get("cell") else base.flow,
            data=base.data,
            run=base.run,
            column_mapping=base.column_mapping,
            variant=base.variant,
            connections=base.connections,
            environment_variables=base.environment_variables,
            init=base.init,
            name=name,
            display_name=display_name or base.display_name,
            description=description or base.description,
            tags={**base.tags, **(tags or {})},
            properties={
                k: v
                for k, v in base.properties.items()
                if k in ("engine", "experiment", "cell", "cell_label", "repeat", "code")
            },
        )
        flow, record = self._prepare(request)
        record.resume_from = source
        self._store.runs.create(record)
        self._store.runs.copy_completed_lines(source, record.name)
        return self._execute(record, flow, options or ExecutionOptions(), report)

    def resume(self, name: str, *, options: ExecutionOptions | None = None, report: Report | None = None) -> RunRecord:
        """Continue a run that was interrupted, cancelled or had failing lines; completed lines are kept.

        Raises:
            RunNotFoundError, InvalidRunStatusError: there is no such run, or it is still executing.
        """
        record = self._finished(name)
        self._store.runs.clear_cancel(name)
        flow = _recorded_flow(record)
        return self._execute(record, flow, options or ExecutionOptions(), report)

    def resume_with_evaluations(
        self, name: str, *, options: ExecutionOptions | None = None, report: Report | None = None
    ) -> RunRecord:
        """Continue a run, and let the runs that evaluated it look at the lines that it completed now.

        Raises:
            RunNotFoundError, InvalidRunStatusError: there is no such run, or it is still executing.
        """
        record = self.resume(name, options=options, report=report)
        if record.status is Status.COMPLETED:
            for evaluation in self._store.runs.list(None, base_run=name):
                if evaluation.status.is_final:
                    self.resume(evaluation.name, options=options)

        return record

    def _finished(self, name: str) -> RunRecord:
        record = self.get(name)
        if not record.status.is_final:
            raise InvalidRunStatusError(
                f"Run {name!r} is still executing, its status is {record.status}.",
                hint=f"Wait for it, or stop it with: pfl run cancel --name {quote(name)}",
                run=name,
            )

        return record

    def _prepare(self, request: RunRequest) -> tuple[Flow, RunRecord]:
        wanted = request.flow
        if wanted is None:
            raise RunOperationParameterError("'flow' is required to create a run.", hint="Name a flow folder or file.")

        if request.data is None and request.run is None:
            raise RunOperationParameterError(
                "At least one of data or run must be provided.", hint="Add --data rows.jsonl, or --run BASE_RUN."
            )

        if request.run is not None:
            self._check_base(request.run)

        if request.data is not None and not Path(request.data).exists():
            raise UserErrorException(f"Data path {request.data} does not exist.", hint="Correct --data.")

        flow = load_flow(wanted, variant=request.variant) if isinstance(wanted, str | Path) else wanted
        self._check_connections(flow)
        name = request.name or default_run_name(flow, request.variant)
        properties = dict(request.properties)
        if isinstance(flow, FlexFlow) and flow.path is None:
            properties["code"] = str(flow.root)

        return flow, RunRecord(
            name=name,
            flow=_flow_text(wanted),
            status=Status.NOT_STARTED,
            created_on=time.time(),
            display_name=_with_macros(request.display_name or name, name, request.variant),
            description=request.description,
            tags=dict(request.tags),
            flow_name=flow.name,
            data=None if request.data is None else str(Path(request.data).absolute()),
            run=request.run,
            variant=request.variant,
            column_mapping=None if request.column_mapping is None else dict(request.column_mapping),
            connections=None if request.connections is None else {k: dict(v) for k, v in request.connections.items()},
            environment_variables=dict(request.environment_variables) if request.environment_variables else None,
            init=None if request.init is None else dict(request.init),
            output_path=str(runs_folder(flow) / name),
            properties=properties,
            pid=os.getpid(),
        )

    def _check_base(self, name: str) -> None:
        base = self.get(name)
        if base.status is not Status.COMPLETED:
            raise InvalidRunStatusError(
                f"Referenced run {name} is not completed, got status {base.status}.",
                hint=f"Finish it first: pfl run resume --name {quote(name)}",
                run=name,
            )

    def _check_connections(self, flow: Flow) -> None:
        """Every connection that an LLM node names must exist, also of nodes that will be bypassed."""
        if isinstance(flow, DagFlow):
            for node in flow.nodes:
                if node.connection:
                    self._connections.get(node.connection)

    def _execute(self, record: RunRecord, flow: Flow, options: ExecutionOptions, report: Report | None) -> RunRecord:
        try:
            if record.output_path is not None:
                write_snapshot(flow, record.output_path)

            with recorded_models() as models:
                self._execute_lines(record, flow, options, report or (lambda progress: None))
            if models:
                properties = {**self.get(record.name).properties, "models": models}
                self._store.runs.update(record.name, properties=properties)
        except PromptflowException as error:
            failed = self.get(record.name)
            if failed.error is None:
                self._store.runs.update(
                    record.name, status=Status.FAILED, error=error_to_dict(error), end_time=time.time(), pid=None
                )
        finished = self.get(record.name)
        write_run_files(self._store, finished, flow=flow)
        return finished

    def _execute_lines(self, record: RunRecord, flow: Flow, options: ExecutionOptions, report: Report) -> None:
        environment = resolve_environment(
            flow.environment_variables, record.environment_variables or {}, self._connections
        )
        lines = Lines(self._sources(record))
        batch = options.to_batch()
        if options.isolation == "process":
            self._execute_isolated(record, flow, environment, lines, batch, report)
        else:
            self._execute_here(record, flow, environment, lines, options, report)

    def _execute_here(
        self,
        record: RunRecord,
        flow: Flow,
        environment: Mapping[str, str],
        lines: Lines,
        options: ExecutionOptions,
        report: Report,
    ) -> None:
        with flow_process(flow.root, environment), captured_prints(echo=False):
            executor = create_executor(
                flow, self._connections, connection_overrides=record.connections, init=record.init
            )
            if options.prepare is not None:
                options.prepare(executor)

            mapping = ColumnMapping(record.column_mapping, executor.input_specs, lines.source_names, lines.columns)
            try:
                execute_batch(
                    record.name,
                    self._mapped(record, lines, mapping),
                    self._store,
                    make_runner=lambda: InProcessRunner(executor, record.name),
                    aggregate=executor.run_aggregation if executor.has_aggregation else None,
                    earlier_values=self._earlier(record, executor.aggregation_values)
                    if executor.has_aggregation
                    else (),
                    total=lines.total,
                    calls_models=executor.calls_models,
                    options=options.to_batch(),
                    report=report,
                )
            finally:
                executor.close()

    def _execute_isolated(
        self,
        record: RunRecord,
        flow: Flow,
        environment: Mapping[str, str],
        lines: Lines,
        batch: BatchOptions,
        report: Report,
    ) -> None:
        spec = FlowSpec(
            flow=record.flow,
            code=record.properties.get("code"),
            variant=record.variant,
            connections=self._plain_connections(),
            connection_overrides=record.connections or {},
            environment=dict(environment),
            init=record.init,
        )
        references = aggregation_references(flow) if isinstance(flow, DagFlow) else ()
        mapping = ColumnMapping(record.column_mapping, flow.inputs, lines.source_names, lines.columns)
        limit = batch.line_timeout_s
        aggregator = ProcessRunner(spec)
        try:
            execute_batch(
                record.name,
                self._mapped(record, lines, mapping),
                self._store,
                make_runner=lambda: ProcessRunner(spec, line_timeout_s=limit),
                aggregate=aggregator.aggregate,
                earlier_values=self._earlier(record, lambda line: line_values(references, line)) if references else (),
                total=lines.total,
                calls_models=isinstance(flow, DagFlow) and any(node.type == "llm" for node in flow.nodes),
                options=BatchOptions(
                    concurrency=min(batch.concurrency, 4),
                    line_timeout_s=None if limit is None else limit + 10.0,
                    batch_timeout_s=batch.batch_timeout_s,
                    retries=batch.retries,
                    grace_s=batch.grace_s,
                ),
                report=report,
            )
        finally:
            aggregator.close()

    def _plain_connections(self) -> builtins.list[dict[str, Any]]:
        """All usable connections as plain records, for a child process."""
        records = []
        for name in self._connections.names():
            try:
                connection = self._connections.get(name)
            except UserErrorException:
                continue  # one that cannot be resolved is missed only by flows that use it

            records.append(
                {
                    "yaml_type": "custom" if isinstance(connection, CustomConnection) else connection.yaml_type,
                    "name": name,
                    "configs": dict(connection.configs),
                    "secrets": dict(connection.secrets),
                }
            )
        return records

    def _sources(self, record: RunRecord) -> dict[str, Any]:
        sources: dict[str, Any] = {}
        if record.data:
            sources["data"] = DataFile(record.data)

        if record.run:
            sources["run.outputs"] = RunOutputs(self._store, record.run)
            base_data = self._original_data(record.run)
            if base_data:
                sources["run.inputs"] = DataFile(base_data)

        return sources

    def _original_data(self, name: str) -> str | None:
        """The data file at the start of a chain of runs."""
        base = self._store.runs.get(name)
        while base.data is None and base.run is not None:
            base = self._store.runs.get(base.run)

        return base.data

    def _mapped(self, record: RunRecord, lines: Lines, mapping: ColumnMapping) -> Iterator[tuple[int, dict[str, Any]]]:
        done = self._store.runs.completed_line_numbers(record.name)
        for number, sources in lines:
            if number not in done:
                yield number, mapping.apply(sources, number)

    def _earlier(self, record: RunRecord, values: Callable[[LineResult], LineValues]) -> Iterator[LineValues]:
        for line in self._store.runs.iter_lines(record.name, statuses=[Status.COMPLETED]):
            yield values(line)

    # --- look at ---

    def get(self, name: str) -> RunRecord:
        """The run of that name. Raises `RunNotFoundError`."""
        return self._store.runs.get(name)

    def list(
        self,
        max_results: int | None = 50,
        *,
        view: Literal["active", "archived", "all"] = "active",
        search: str | None = None,
    ) -> builtins.list[RunRecord]:
        """Runs, newest first."""
        return self._store.runs.list(max_results, view, search=search)

    def lines(self, name: str, **filters: Any) -> Iterator[LineResult]:
        """Lines in order; see `RunRepository.iter_lines` for the filters."""
        return self._store.runs.iter_lines(name, **filters)

    def page(
        self, name: str, wanted: LineFilter | None = None, **options: Any
    ) -> tuple[builtins.list[LineResult], int]:
        """One page of lines and the number of matching lines; see `RunRepository.page_lines` for the options."""
        return self._store.runs.page_lines(name, wanted, **options)

    def line(self, name: str, number: int) -> LineResult | None:
        """One line of a run."""
        return self._store.runs.line(name, number)

    def metrics(self, name: str) -> dict[str, Any]:
        """What the run's aggregation nodes logged."""
        return self.get(name).metrics

    # --- change ---

    def update(
        self,
        name: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """Change what a run is called; given tags are added to those it has."""
        changes: dict[str, Any] = {}
        if display_name is not None:
            changes["display_name"] = display_name

        if description is not None:
            changes["description"] = description

        if tags:
            changes["tags"] = {**self.get(name).tags, **tags}

        if changes:
            self._store.runs.update(name, **changes)

        return self.get(name)

    def cancel(self, name: str) -> RunRecord:
        """Ask a running run to stop; its finished lines stay.

        Raises:
            InvalidRunStatusError: the run has already ended.
        """
        record = self.get(name)
        if record.status.is_final:
            raise InvalidRunStatusError(f"Run {name!r} has already ended, its status is {record.status}.", run=name)

        self._store.runs.request_cancel(name)
        return self.get(name)

    def archive(self, name: str) -> RunRecord:
        self._store.runs.archive(name)
        return self.get(name)

    def restore(self, name: str) -> RunRecord:
        self._store.runs.restore(name)
        return self.get(name)

    def delete(self, name: str) -> None:
        """Remove a run, its lines and its files for good."""
        record = self.get(name)
        self._store.runs.delete(name)
        if record.output_path and Path(record.output_path).is_dir():
            shutil.rmtree(record.output_path)


class RunOutputs:
    """Outputs of a run's completed lines as rows of a source; can be iterated again and again."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._store.runs.iter_lines(self._name, statuses=[Status.COMPLETED]):
            yield {**(line.output or {}), "line_number": line.line_number}


def _recorded_flow(record: RunRecord) -> Flow:
    """The flow of a run as it ran: with its variant, or as the cell of an experiment."""
    if record.properties.get("cell"):
        from promptflow_lite.evals.grid import Cell, load_cell

        cell = Cell.from_dict(record.properties["cell"])
        return load_cell(record.flow, cell, repeat=record.properties.get("repeat") or 0)

    return load_flow(record.flow, variant=record.variant, code=record.properties.get("code"))


def _flow_text(flow: str | Path | Flow) -> str:
    """What a run's record calls its flow: an absolute path, or the entry of a flow without a file."""
    if isinstance(flow, str | Path):
        return str(Path(flow).absolute()) if Path(flow).exists() else str(flow)

    return flow.entry if isinstance(flow, FlexFlow) and flow.path is None else str(flow.path)


def runs_folder(flow: Flow) -> Path:
    """Where runs of a flow keep their files: `run.output_path` of the settings, else a folder in `PFL_HOME`."""
    from promptflow_lite.sdk.config import ConfigOperations

    configured = ConfigOperations().get("run.output_path")
    if not configured:
        return home() / ".runs"

    folder = flow.path.parent if flow.path else flow.root
    return Path(str(configured).replace("${flow_directory}", str(folder))).expanduser().absolute()


def default_run_name(flow: Flow, variant: str | None) -> str:
    """`<flow>_<variant>_<time>`; flows without nodes have no variant part."""
    stem = re.sub(r"\W+", "_", flow.name).lower()
    stamp = dt.datetime.now().astimezone().strftime("%Y%m%d_%H%M%S_%f")
    if not isinstance(flow, DagFlow):
        return f"{stem}_{stamp}"

    chosen = variant[2:-1].partition(".")[2] if variant else "variant_0"
    return f"{stem}_{chosen}_{stamp}"


def _with_macros(text: str, name: str, variant: str | None) -> str:
    stamp = dt.datetime.now().astimezone().strftime("%Y%m%d%H%M")
    chosen = variant[2:-1].partition(".")[2] if variant else "variant_0"
    return text.replace("${run}", name).replace("${timestamp}", stamp).replace("${variant_id}", chosen)
