"""Grid options of `pfl run create`: every combination of variants, inputs and models in one command."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_pairs
from promptflow_lite.cli.compare import write
from promptflow_lite.errors import UsageError

if TYPE_CHECKING:
    from promptflow_lite.evals.grid import GridPlan, GridRequest
    from promptflow_lite.sdk.client import Client
    from promptflow_lite.sdk.grids import GridResult


def add_grid_options(parser: argparse.ArgumentParser) -> None:
    """Add what makes a run an experiment."""
    grid = parser.add_argument_group("grid: many variants as one experiment")
    grid.add_argument("--variants", choices=("all",), help="Every variant of every node.")
    grid.add_argument("--grid", nargs="+", metavar="NODE=V|V", default=[], help="Variants to combine; NODE=* for all.")
    grid.add_argument("--sweep", nargs="+", metavar="NODE.INPUT=A,B", default=[], help="Values of inputs to combine.")
    grid.add_argument("--models", metavar="M,M", help="Models for every LLM node.")
    grid.add_argument("--repeat", type=int, default=1, metavar="N", help="Run every cell N times.")
    grid.add_argument("--dry-run", action="store_true", help="Say what it will take; run nothing.")
    grid.add_argument("--price", nargs="+", metavar="MODEL=IN,OUT", help="Money for a million tokens; * for any.")
    grid.add_argument("--evaluate", metavar="FLOW", help="Evaluate every cell with this flow, and compare.")
    grid.add_argument("--eval-mapping", nargs="+", metavar="INPUT=VALUE", help="Column mapping of the evaluator.")
    grid.add_argument("--html", metavar="FILE", help="Write the comparison as a page.")
    grid.add_argument("--stop-early", metavar="METRIC", help="Stop cells that surely lose on this metric.")
    grid.add_argument("--stop-range", metavar="LOW,HIGH", help="Possible scores of that metric (default: 0,1).")


def wants_grid(args: Namespace) -> bool:
    return bool(args.variants or args.grid or args.sweep or args.models or args.repeat > 1 or args.dry_run)


def create_grid(args: Namespace, client: Client, request: Any, options: Any) -> int:
    """Run (or only plan) an experiment, evaluate and compare its cells."""
    grid = _grid_request(args)
    if not request.flow:
        raise UsageError("A grid needs --flow (or a flow in --file).")

    if args.dry_run:
        _show_plan(client.grids.plan(str(request.flow), grid, request.data), args)
        return 0

    result = client.grids.run(
        request,
        grid,
        evaluations=_evaluations(args),
        stop=_stop(args),
        options=options,
        announce=lambda text: render.note(f"cell: {text}"),
    )
    _show_result(result)
    if args.evaluate:
        _compare(args, client, result)

    failed = any(run.failed_lines for run in result.runs) or any(run.error for run in result.runs)
    return 1 if failed else 0


def _grid_request(args: Namespace) -> GridRequest:
    from promptflow_lite.evals.grid import GridRequest, parse_grid, parse_sweeps

    return GridRequest(
        variants=parse_grid(args.grid),
        sweeps=parse_sweeps(args.sweep),
        models=[name.strip() for name in (args.models or "").split(",") if name.strip()],
        repeat=args.repeat,
        all_variants=args.variants == "all",
    )


def _evaluations(args: Namespace) -> list[Any]:
    from promptflow_lite.sdk.grids import EvaluationRequest

    if not args.evaluate:
        return []

    return [EvaluationRequest(flow=args.evaluate, column_mapping=parse_pairs(args.eval_mapping, "--eval-mapping"))]


def _stop(args: Namespace) -> Any:
    from promptflow_lite.evals.compare import KNOWN_RANGES
    from promptflow_lite.sdk.grids import StopRequest

    if not args.stop_early:
        return None

    limits = _stop_range(args) or KNOWN_RANGES.get(args.stop_early, (0.0, 1.0))
    return StopRequest(metric=args.stop_early, limits=limits)


def _stop_range(args: Namespace) -> tuple[float, float] | None:
    if not args.stop_range:
        return None

    try:
        low, high = (float(part) for part in args.stop_range.split(","))
    except ValueError as error:
        raise UsageError(f"--stop-range needs LOW,HIGH, not {args.stop_range!r}.") from error

    return low, high


def _show_plan(plan: GridPlan, args: Namespace) -> None:
    from promptflow_lite.evals.pricing import parse_prices

    render.table([[index, cell.label] for index, cell in enumerate(plan.cells)], ["cell", "what it is"])
    tokens = plan.prompt_tokens + plan.completion_tokens
    repeats = f" x {plan.repeat} repeats" if plan.repeat > 1 else ""
    lines = [
        f"{len(plan.cells)} cells x {plan.n_rows:,} rows{repeats}",
        f"model calls: {plan.shared_calls:,} (every cell on its own: {plan.naive_calls:,})",
        f"node runs:   {plan.shared_node_runs:,} (every cell on its own: {plan.naive_node_runs:,})",
        f"tokens:      about {tokens:,} (every cell on its own: about {plan.naive_tokens:,})",
    ]
    price = parse_prices(parse_pairs(args.price, "--price")).find(None)
    if price is not None:
        money = (plan.prompt_tokens * price.prompt + plan.completion_tokens * price.completion) / 1_000_000
        lines.append(f"money:       about {money:.4f} at the price of *")

    render.text("\n".join(lines))


def _show_result(result: GridResult) -> None:
    rows = [
        [run.name, run.display_name, run.status.value, run.completed_lines, run.failed_lines] for run in result.runs
    ]
    render.table(rows, ["run", "cell", "status", "completed", "failed"], title=f"experiment {result.experiment}")
    render.text(
        f"node runs executed: {result.node_runs:,}; shared: {result.shared:,}; model calls made: {result.model_calls:,}"
    )
    for run, reason in result.stopped.items():
        render.text(f"{run} was stopped early: {reason}")


def _compare(args: Namespace, client: Client, result: GridResult) -> None:
    from promptflow_lite.evals import reports

    comparison = client.evaluations.compare([result.experiment], prices=parse_pairs(args.price, "--price"))
    render.text(reports.render_table(comparison, width=150).rstrip("\n"))
    if args.html:
        write(Path(args.html), reports.render_html(comparison))
