"""`pfl eval`: the evaluators that ship with this package, new ones, and judges held against people."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path
from shlex import quote
from typing import Any

from promptflow_lite.cli import render
from promptflow_lite.errors import UsageError


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser(
        "eval",
        help="Evaluate runs and outputs",
        description="Evaluators are flows: run one on a finished run with pfl run create --flow EVALUATOR --run RUN.",
    ).add_subparsers(metavar="<verb>")

    parser = verbs.add_parser("list", help="List the evaluators that ship with this package")
    parser.add_argument("-o", "--output", choices=("json", "table"))
    parser.set_defaults(handler=_list)

    parser = verbs.add_parser("show", help="Show what an evaluator does, and its folder")
    parser.add_argument("name")
    parser.set_defaults(handler=_show)

    parser = verbs.add_parser(
        "new",
        help="Start an evaluator of your own",
        description="Copy an evaluator, or a template: a flow with a Python node, or a judge.",
        epilog="Example: pfl eval new my_judge --like rubric",
    )
    parser.add_argument("folder", help="Where to put it.")
    parser.add_argument("--like", default="exact_match", help="The evaluator to start from (default: exact_match).")
    parser.set_defaults(handler=_new)

    parser = verbs.add_parser(
        "calibrate",
        help="Hold a judge against human labels",
        description="Compare a judge's scores of runs with the labels that pfl annotate kept: agreement beyond chance, "
        "bias, a threshold, and the mean corrected by the labels.",
        epilog="Example: pfl eval calibrate base new --metric gpt_relevance --labels quality",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="Runs that the judge evaluated and people labelled.")
    parser.add_argument("--metric", required=True, help="The judge's metric.")
    parser.add_argument("--labels", default="quality", metavar="NAME", help="Name of the human labels.")
    parser.add_argument("--threshold", type=float, help="Score that counts as a pass (default: the best one).")
    parser.add_argument("--level", type=float, default=0.95)
    parser.set_defaults(handler=_calibrate)


def _list(args: Namespace) -> int:
    from promptflow_lite.sdk.evaluations import bundled_evaluators

    columns = {name: lambda item, name=name: item[name] for name in ("name", "description", "inputs", "outputs")}
    render.records(bundled_evaluators(), columns, output=args.output)
    return 0


def _show(args: Namespace) -> int:
    folder = _folder(args.name)
    render.text((folder / "README.md").read_text("utf-8").rstrip())
    render.text(f"\nFolder: {folder}")
    return 0


def _new(args: Namespace) -> int:
    target = Path(args.folder)
    if target.exists():
        raise UsageError(f"{args.folder!r} exists already.", hint="Choose another folder.")

    shutil.copytree(_folder(args.like), target, ignore=shutil.ignore_patterns("__pycache__", ".promptflow"))
    render.text(
        f"Made {target}. Try it: pfl flow test --flow {quote(str(target))} --inputs {quote(f'{target}/data.jsonl')}"
    )
    return 0


def _folder(name: str) -> Path:
    from promptflow_lite._utils.text import did_you_mean
    from promptflow_lite.sdk.evaluations import bundled_evaluators
    from promptflow_lite.sdk.resources import bundled

    names = [str(item["name"]) for item in bundled_evaluators()]
    if name not in names:
        raise UsageError(f"There is no evaluator {name!r}.", hint=did_you_mean(name, names))

    return bundled("evaluators") / name


def _calibrate(args: Namespace) -> int:
    from promptflow_lite.sdk.client import Client

    with Client() as client:
        found = client.labels.calibrate(
            args.runs, args.metric, name=args.labels, level=args.level, threshold=args.threshold
        )

    agreement = found.agreement
    render.text(f"{found.n} rows with a judge's score and a human label ({found.kind})")
    render.text(f"{agreement.coefficient}: {agreement.value:.3f}{_interval(agreement.interval)}")
    render.text(f"same label: {agreement.observed:.1%}")
    if found.threshold is not None:
        render.text(f"pass from a score of {found.threshold:.3f} on")

    render.text(f"bias of the judge: {found.bias:+.3f}{_interval(found.bias_interval)}")
    if found.rank_correlation is not None:
        render.text(f"Kendall's tau-b: {found.rank_correlation:.3f}")

    render.text(f"mean by the judge: {found.judge_mean:.3f}")
    if found.corrected_mean is not None:
        render.text(f"corrected by the labels: {found.corrected_mean:.3f}{_interval(found.corrected_interval)}")

    return 0


def _interval(interval: Any) -> str:
    return f" ({100 * interval.level:g}% interval {interval.low:.3f} to {interval.high:.3f})" if interval else ""
