"""`pfl run compare`: which run is better, by how much, and how sure that is."""

from __future__ import annotations

import argparse
import shutil
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.files import replace_file
from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_pairs
from promptflow_lite.errors import Location, UsageError

if TYPE_CHECKING:
    from promptflow_lite.evals.comparison import CompareSettings, Comparison

_FORMATS = {".html": "html", ".htm": "html", ".md": "markdown", ".json": "json", ".csv": "csv", ".txt": "table"}
_DESCRIPTION = """\
Compare runs on the rows they share. Scores come from the runs that evaluated them (pfl run create --run), or from their
own outputs when nothing evaluated them. Rows are paired; pass/fail scores get McNemar's exact test, grades a sign-flip
permutation test; p-values are corrected for the number of comparisons (Holm). Rows that failed score worst."""
_EPILOG = """\
examples:
  pfl run compare base new
  pfl run compare my_experiment --html report.html
  pfl run compare base new --metric accuracy --min-effect 0.02 --slice-by topic -o report.md"""


def register_compare(verbs: Any) -> None:
    """Add `compare` to the verbs of `pfl run`."""
    parser = verbs.add_parser(
        "compare",
        help="Say which run is better, and how sure that is",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="RUN", help="Runs or experiments; the first is the baseline.")
    parser.add_argument("--baseline", help="Another baseline, by its label.")
    parser.add_argument("--title", default="", help="Title of the report.")
    add_scoring_options(parser)
    parser.add_argument("--slice-by", metavar="COLUMN", help="Show every metric for each value of this column.")
    parser.add_argument("--all-pairs", action="store_true", help="Test every pair, not only against the baseline.")
    parser.add_argument("--min-effect", type=float, help="The smallest difference that matters, for rows needed.")
    parser.add_argument("--no-correction", action="store_true", help="Do not correct p-values for their number.")
    parser.add_argument("--format", choices=("table", "markdown", "json", "csv"), help="What to print.")
    parser.add_argument("--rows", action="store_true", help="Put every row into the JSON.")
    parser.add_argument("--html", metavar="FILE", help="Also write a page with charts; it needs no network.")
    parser.add_argument("-o", "--output", metavar="FILE", help="Write to a file: .md, .json, .csv, .html or .txt.")
    parser.set_defaults(handler=_compare)


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """Options that decide how runs are scored and tested; shared with the gate."""
    parser.add_argument("--metric", action="append", default=[], help="Only this metric; may be repeated.")
    parser.add_argument("--level", type=float, default=0.95, help="Confidence level (default: 0.95).")
    parser.add_argument("--lower-is-better", action="append", default=[], metavar="METRIC")
    parser.add_argument("--range", nargs="+", metavar="METRIC=LOW,HIGH", help="Possible scores, to know the worst.")
    parser.add_argument(
        "--failed-rows", choices=("worst", "exclude"), default="worst", help="What a failed row scores."
    )
    parser.add_argument("--unscored-rows", choices=("exclude", "worst"), default="exclude")
    parser.add_argument("--cluster-by", metavar="COLUMN", help="Rows with the same value belong together.")
    parser.add_argument("--mid-p", action="store_true", help="McNemar's mid-p instead of the exact p-value.")
    parser.add_argument(
        "--price", nargs="+", metavar="MODEL=IN,OUT", help="Money for a million tokens; * for any model."
    )
    parser.add_argument("--seed", type=int, default=0, help="Of bootstrap and permutation (default: 0).")


def settings_from(args: Namespace, **more: Any) -> CompareSettings:
    """The settings that the scoring options ask for."""
    from promptflow_lite.evals.comparison import CompareSettings

    if not 0 < args.level < 1:
        raise UsageError(f"--level lies between 0 and 1, not {args.level}.")

    return CompareSettings(
        level=args.level,
        lower_is_better=tuple(args.lower_is_better),
        ranges={name: _range(name, text) for name, text in parse_pairs(args.range, "--range").items()},
        failed_rows=args.failed_rows,
        unscored_rows=args.unscored_rows,
        cluster_by=args.cluster_by,
        is_mid_p=args.mid_p,
        seed=args.seed,
        **more,
    )


def _range(name: str, text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--range {name} needs LOW,HIGH, not {text!r}.") from error

    return low, high


def _compare(args: Namespace) -> int:
    from promptflow_lite.sdk.client import Client

    settings = settings_from(
        args,
        slice_by=args.slice_by,
        all_pairs=args.all_pairs,
        min_effect=args.min_effect,
        correction="none" if args.no_correction else "holm",
    )
    with Client() as client:
        comparison = client.evaluations.compare(
            args.names,
            settings,
            baseline=args.baseline,
            metrics=args.metric,
            prices=parse_prices_option(args.price),
            title=args.title,
        )

    if args.html:
        write(Path(args.html), _rendered(comparison, "html", args))

    if args.output:
        write(Path(args.output), _rendered(comparison, _format_of(args), args))
    else:
        render.text(_rendered(comparison, args.format or "table", args).rstrip("\n"))

    return 0


def parse_prices_option(items: list[str] | None) -> dict[str, str]:
    return parse_pairs(items, "--price")


def _format_of(args: Namespace) -> str:
    suffix = Path(args.output).suffix.lower()
    if args.format:
        return str(args.format)

    if suffix not in _FORMATS:
        raise UsageError(f"The format of {args.output!r} is unknown.", hint=f"Use one of {', '.join(_FORMATS)}.")

    return _FORMATS[suffix]


def _rendered(comparison: Comparison, kind: str, args: Namespace) -> str:
    from promptflow_lite.evals import reports

    if kind == "table":
        is_terminal = render.is_terminal() and not args.output
        width = shutil.get_terminal_size((140, 40)).columns if is_terminal else 140
        return reports.render_table(comparison, width=width, is_color=is_terminal)

    if kind == "json":
        return reports.render_json(comparison, has_rows=args.rows)

    renderers = {"markdown": reports.render_markdown, "csv": reports.render_csv, "html": reports.render_html}
    return renderers[kind](comparison)


def write(path: Path, content: str) -> None:
    """Write a report and say where it is."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise UsageError(f"The file cannot be written: {error.strerror}.", where=Location(str(path))) from error

    render.note(f"Wrote {path}")
