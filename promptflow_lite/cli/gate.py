"""`pfl gate`: pass or fail a change on its evaluation, for continuous integration."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import Any

from promptflow_lite.cli import render
from promptflow_lite.cli.compare import add_scoring_options, settings_from, write

_DESCRIPTION = """\
Compare a run with its baseline on one metric, and answer with the exit code:
  0  pass          the run is surely not worse than the baseline by more than the margin
  1  fail          the run is surely worse by more than the margin
  3  inconclusive  these rows cannot tell
  2  wrong usage"""
_EPILOG = """\
examples:
  pfl gate --run new --baseline main --metric accuracy --margin 0.02
  pfl gate --run new --metric accuracy --min-score 0.75 --junit gate.xml --markdown summary.md"""


def register(groups: Any) -> None:
    """Add the command to the command line."""
    parser = groups.add_parser(
        "gate",
        help="Pass or fail a change on its evaluation",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", required=True, help="The run (or experiment cell) to judge.")
    parser.add_argument("--baseline", help="The run it must hold up against.")
    parser.add_argument("--margin", type=float, default=0.0, help="How much worse it may be (default: 0).")
    parser.add_argument("--must-improve", action="store_true", help="Ask that it is surely better.")
    parser.add_argument("--min-score", type=float, help="Ask that its interval lies above this score.")
    add_scoring_options(parser)
    parser.add_argument("--junit", metavar="FILE", help="Write JUnit XML.")
    parser.add_argument("--markdown", metavar="FILE", help="Write a summary for a pull request.")
    parser.set_defaults(handler=_gate)


def _gate(args: Namespace) -> int:
    from promptflow_lite.errors import UsageError
    from promptflow_lite.evals.gate import render_gate_markdown, render_junit
    from promptflow_lite.sdk.client import Client

    if len(args.metric) != 1:
        raise UsageError("A gate needs one --metric.", hint="For example: --metric accuracy")

    with Client() as client:
        result = client.evaluations.gate(
            args.run,
            args.metric[0],
            baseline=args.baseline,
            margin=args.margin,
            must_improve=args.must_improve,
            min_score=args.min_score,
            settings=settings_from(args),
        )

    if args.junit:
        write(Path(args.junit), render_junit(result))

    if args.markdown:
        write(Path(args.markdown), render_gate_markdown(result))

    for check in result.checks:
        render.text(f"{check.outcome:12}  {check.name}: {check.reason}")

    render.text(f"gate: {result.outcome}")
    return result.exit_code
