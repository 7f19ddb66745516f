"""`pfl run`: run a flow over many rows; look at, compare, resume, export and remove runs."""

from __future__ import annotations

import argparse
import signal
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import (
    add_yes,
    nested,
    parse_connections,
    parse_environment,
    parse_inputs,
    parse_pairs,
)
from promptflow_lite.cli.compare import register_compare
from promptflow_lite.cli.diff import register_diff
from promptflow_lite.cli.grid import add_grid_options, create_grid, wants_grid
from promptflow_lite.cli.replay import register_replay
from promptflow_lite.errors import UsageError

if TYPE_CHECKING:
    from promptflow_lite.batch.runner import Progress
    from promptflow_lite.records import LineResult
    from promptflow_lite.sdk.client import Client
    from promptflow_lite.sdk.runs import Report


def register(groups: Any) -> None:
    """Add the group to the command line."""
    group = groups.add_parser("run", help="Run a flow over many rows; look at, compare and export runs")
    verbs = group.add_subparsers(metavar="<verb>")
    _register_create(verbs)
    _register_resume(verbs)
    _register_reading(verbs)
    _register_changing(verbs)
    register_compare(verbs)
    register_replay(verbs)
    register_diff(verbs)


def _register_create(verbs: Any) -> None:
    create = verbs.add_parser(
        "create",
        help="Run a flow over rows",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run a flow over every row of a data file and record everything.\n"
        "Exit code 0: all lines completed; 1: some failed, or the run did.",
        epilog="Examples:\n"
        "  pfl run create --flow my_flow --data rows.jsonl --column-mapping question='${data.question}' --name base\n"
        "  pfl run create --flow my_flow --data rows.jsonl --variant '${answer.short}' --name short\n"
        "  pfl run create --flow evaluators/exact_match --data rows.jsonl --run base \\\n"
        "      --column-mapping answer='${run.outputs.answer}' ground_truth='${data.label}' --name base_eval\n"
        "  pfl run create --file run.yaml --stream",
    )
    create.add_argument("-f", "--file", help="A run.yaml that says everything; options override it.")
    create.add_argument("--flow", help="Folder, file or module:function of the flow.")
    create.add_argument("--source", metavar="FOLDER", help="Register an exported run folder.")
    create.add_argument("--resume-from", metavar="RUN", help="Take over a run's completed lines, execute the rest.")
    create.add_argument("--data", help="Data file or folder: jsonl, csv, tsv, json, parquet.")
    create.add_argument("--column-mapping", nargs="+", metavar="INPUT=VALUE", help="Such as question='${data.q}'.")
    create.add_argument("--run", metavar="RUN", help="Base run whose outputs are mapped, such as '${run.outputs.a}'.")
    create.add_argument("--variant", metavar="${NODE.VARIANT}", help="Variant to use.")
    create.add_argument("--connections", nargs="+", metavar="NODE.KEY=VALUE", help="Connections to use instead.")
    create.add_argument("--environment-variables", nargs="*", metavar="KEY=VALUE", help="Variables or .env files.")
    create.add_argument("--init", nargs="+", metavar="KEY=VALUE", help="Constructor values of a flex class.")
    create.add_argument("-n", "--name", help="Name of the run; default: flow, variant and time.")
    create.add_argument("-s", "--stream", action="store_true", help="Show the run's summary when it ends.")
    create.add_argument("--set", nargs="+", metavar="KEY=VALUE", help="display_name, description, tags.KEY …")
    _add_execution_options(create)
    add_grid_options(create)
    create.set_defaults(handler=_create)


def _add_execution_options(parser: argparse.ArgumentParser) -> None:
    execution = parser.add_argument_group("execution")
    execution.add_argument("--concurrency", type=int, metavar="N", help="Lines at once (PF_WORKER_COUNT, 16).")
    execution.add_argument(
        "--isolation",
        choices=("thread", "process"),
        default="thread",
        help="process: a node that crashes or never returns costs its line, not the run (thread).",
    )
    execution.add_argument("--line-timeout", type=float, metavar="S", help="Seconds a line may take (600).")
    execution.add_argument("--batch-timeout", type=float, metavar="S", help="Seconds the whole run may take.")
    execution.add_argument("--retries", type=int, default=0, metavar="N", help="Try a failed line N more times.")


def _register_resume(verbs: Any) -> None:
    resume = verbs.add_parser(
        "resume",
        help="Continue a run in place: only lines that are not completed are executed",
        epilog="Example: pfl run resume --name base",
    )
    resume.add_argument("-n", "--name", required=True, help="The run.")
    _add_execution_options(resume)
    resume.set_defaults(handler=_resume)


def _register_reading(verbs: Any) -> None:
    listing = verbs.add_parser("list", help="List runs, newest first")
    listing.add_argument("-r", "--max-results", type=int, default=50, metavar="N", help="At most N runs (50).")
    listing.add_argument("--all-results", action="store_true", help="All runs.")
    listing.add_argument("--archived-only", action="store_true", help="Only archived runs.")
    listing.add_argument("--include-archived", action="store_true", help="Archived runs too.")
    listing.add_argument("-o", "--output", choices=("json", "table"), help="Form of the list.")
    listing.set_defaults(handler=_list)

    for verb, help_text, handler in (
        ("show", "Print a run as JSON", _show),
        ("show-metrics", "Print a run's metrics as JSON", _show_metrics),
        ("stream", "Follow a run until it ends and print its summary", _stream),
    ):
        parser = verbs.add_parser(verb, help=help_text)
        parser.add_argument("-n", "--name", required=True, help="The run.")
        parser.set_defaults(handler=handler)

    details = verbs.add_parser("show-details", help="Print inputs and outputs of every line")
    details.add_argument("-n", "--name", required=True, help="The run.")
    details.add_argument("-r", "--max-results", type=int, default=100, metavar="N", help="At most N lines (100).")
    details.add_argument("--all-results", action="store_true", help="All lines.")
    details.add_argument("-o", "--output", choices=("json", "table"), help="Form of the details.")
    details.set_defaults(handler=_show_details)

    export = verbs.add_parser(
        "export",
        help="Write a run's lines to a file",
        epilog="Example: pfl run export --name base --output base.parquet",
    )
    export.add_argument("-n", "--name", required=True, help="The run.")
    export.add_argument("-o", "--output", required=True, help="File ending in .jsonl, .csv or .parquet.")
    export.set_defaults(handler=_export)


def _register_changing(verbs: Any) -> None:
    update = verbs.add_parser("update", help="Change a run's display name, description or tags")
    update.add_argument("-n", "--name", required=True, help="The run.")
    update.add_argument("--set", nargs="+", required=True, metavar="KEY=VALUE", help="Such as tags.team=search.")
    update.set_defaults(handler=_update)

    for verb, help_text in (
        ("cancel", "Stop a running run; its finished lines stay"),
        ("archive", "Hide a run from lists"),
        ("restore", "Show an archived run in lists again"),
    ):
        parser = verbs.add_parser(verb, help=help_text)
        parser.add_argument("-n", "--name", required=True, help="The run.")
        parser.set_defaults(handler=_change, change=verb)

    delete = verbs.add_parser("delete", help="Remove a run, its lines and files for good")
    delete.add_argument("-n", "--name", required=True, help="The run.")
    add_yes(delete)
    delete.set_defaults(handler=_delete)


def _client() -> Client:
    from promptflow_lite.sdk.client import Client

    return Client()


# --- execute ---


def _create(args: Namespace) -> int:
    given = [name for name in ("file", "flow", "source", "resume_from") if getattr(args, name)]
    if not given:
        raise UsageError(
            "To create a run, one of --file, --flow, --source or --resume-from must be given.",
            hint="For example: pfl run create --flow my_flow --data rows.jsonl",
        )

    client = _client()
    options = _execution_options(args)
    settings = nested(dict(parse_pairs(args.set, "--set")))
    if wants_grid(args):
        with _interruptible():
            return create_grid(args, client, _request(args, settings), options)

    if args.source:
        shown = {key: settings.get(key) for key in ("display_name", "description", "tags")}
        record = client.runs.register(args.source, name=args.name, **shown)
        return _report_end(client, record.name, show_summary=args.stream)

    resumed = _resumed(args, settings)
    with _interruptible(), _progress(None) as report:
        if resumed is not None:
            record = client.runs.resume_from(**resumed, options=options, report=report)
        else:
            record = client.runs.create(_request(args, settings), options=options, report=report)
    return _report_end(client, record.name, show_summary=args.stream)


def _resumed(args: Namespace, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The run to take over and what the new one is called; None when a run starts afresh."""
    from promptflow_lite.sdk.run_yaml import resume_request

    asked: dict[str, Any] | None = {"source": args.resume_from} if args.resume_from else None
    if asked is None and args.file:
        asked = resume_request(args.file)
    if asked is None:
        return None

    shown = {key: settings.get(key) for key in ("display_name", "description", "tags")}
    given = {key: value for key, value in {"name": args.name, **shown}.items() if value is not None}
    return {**asked, **given}


def _request(args: Namespace, settings: dict[str, Any]) -> Any:
    from promptflow_lite.sdk.run_yaml import load_run_request
    from promptflow_lite.sdk.runs import RunRequest

    given = {
        "flow": args.flow,
        "data": args.data,
        "run": args.run,
        "variant": args.variant,
        "name": args.name,
        "column_mapping": dict(parse_pairs(args.column_mapping, "--column-mapping")) or None,
        "connections": parse_connections(args.connections) or None,
        "environment_variables": parse_environment(args.environment_variables) or None,
        "init": parse_inputs(args.init, "--init") or None,
        **settings,
    }
    overrides = {key: value for key, value in given.items() if value is not None}
    return load_run_request(args.file, overrides) if args.file else RunRequest(**overrides)


def _execution_options(args: Namespace) -> Any:
    from promptflow_lite.sdk.runs import ExecutionOptions

    return ExecutionOptions(
        concurrency=args.concurrency,
        isolation=args.isolation,
        line_timeout_s=args.line_timeout,
        batch_timeout_s=args.batch_timeout,
        retries=args.retries,
    )


def _resume(args: Namespace) -> int:
    client = _client()
    with _interruptible(), _progress(None) as report:
        record = client.runs.resume(args.name, options=_execution_options(args), report=report)
    return _report_end(client, record.name, show_summary=False)


@contextmanager
def _progress(total: int | None) -> Iterator[Report]:
    """Show progress; the total becomes known with the first report."""
    with render.progress(total) as show:

        def report(progress: Progress) -> None:
            show(progress.finished, progress.failed, progress.total)

        yield report


@contextmanager
def _interruptible() -> Iterator[None]:
    """A request to terminate ends a run as cleanly as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _report_end(client: Client, name: str, *, show_summary: bool) -> int:
    from promptflow_lite.sdk.run_json import run_summary, run_to_json

    record = client.runs.get(name)
    if show_summary:
        render.text(run_summary(record))

    render.json(run_to_json(record))
    if record.error:
        render.note(record.error["message"])
        if record.error.get("hint"):
            render.note(f"  hint: {record.error['hint']}")

    return 0 if record.status == "Completed" and not record.failed_lines else 1


# --- look at ---


def _list(args: Namespace) -> int:
    from promptflow_lite.sdk.run_json import run_to_json

    view: Any = "archived" if args.archived_only else "all" if args.include_archived else "active"
    records = _client().runs.list(None if args.all_results else args.max_results, view=view)
    items = [run_to_json(record, with_error_details=False) for record in records]
    columns = {
        "name": lambda item: item["name"],
        "status": lambda item: item["status"],
        "flow": lambda item: item["flow_name"],
        "created": lambda item: item["created_on"][:19],
        "lines": lambda item: _line_counts(item),
    }
    render.records(items, columns, output=args.output)
    return 0


def _line_counts(item: dict[str, Any]) -> str:
    counts = item["properties"]["lines"]
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    return f"{counts['completed']}{failed}"


def _show(args: Namespace) -> int:
    from promptflow_lite.sdk.run_json import run_to_json

    render.json(run_to_json(_client().runs.get(args.name)))
    return 0


def _show_metrics(args: Namespace) -> int:
    render.json(_client().runs.metrics(args.name))
    return 0


def _show_details(args: Namespace) -> int:
    from itertools import islice

    lines = _client().runs.lines(args.name)
    shown = list(lines if args.all_results else islice(lines, args.max_results))
    inputs = _keys(line.inputs for line in shown)
    outputs = _keys(line.output for line in shown)
    items = [
        {
            **{f"inputs.{key}": (line.inputs or {}).get(key) for key in inputs},
            **{f"outputs.{key}": _output_cell(line, key) for key in outputs or ["output"]},
            **({"error": line.error["message"]} if line.error else {}),
        }
        for line in shown
    ]
    if (args.output or "table") == "json":
        render.json(items)
    else:
        columns = _keys(items)
        render.table(([item.get(column) for column in columns] for item in items), columns)
    return 0


def _output_cell(line: LineResult, name: str) -> Any:
    return "(Failed)" if line.output is None else line.output.get(name)


def _keys(mappings: Any) -> list[str]:
    found: dict[str, None] = {}
    for mapping in mappings:
        found.update(dict.fromkeys(mapping or ()))
    return list(found)


def _stream(args: Namespace) -> int:
    import time

    from promptflow_lite.sdk.run_json import run_summary

    client = _client()
    record = client.runs.get(args.name)
    with render.progress(record.total_lines) as show:
        while not record.status.is_final:
            show(record.completed_lines + record.failed_lines, record.failed_lines)
            time.sleep(0.5)
            record = client.runs.get(args.name)
    render.text(run_summary(record))
    return 0 if record.status == "Completed" else 1


def _export(args: Namespace) -> int:
    from promptflow_lite.sdk.export import export_lines

    count = export_lines(_client().runs.lines(args.name), args.output)
    render.note(f"Wrote {count} lines to {args.output}.")
    return 0


# --- change ---


def _update(args: Namespace) -> int:
    from promptflow_lite.sdk.run_json import run_to_json

    settings = nested(dict(parse_pairs(args.set, "--set")))
    unknown = set(settings) - {"display_name", "description", "tags"}
    if unknown:
        raise UsageError(
            f"A run has no {sorted(unknown)[0]!r} to set.", hint="Set display_name, description, tags.KEY."
        )

    render.json(run_to_json(_client().runs.update(args.name, **settings)))
    return 0


def _change(args: Namespace) -> int:
    from promptflow_lite.sdk.run_json import run_to_json

    render.json(run_to_json(getattr(_client().runs, args.change)(args.name)))
    return 0


def _delete(args: Namespace) -> int:
    question = f"Delete run {args.name!r}, its lines and files for good?"
    if not args.yes and not render.confirm(question):
        render.note("Nothing was deleted.")
        return 1

    _client().runs.delete(args.name)
    return 0
