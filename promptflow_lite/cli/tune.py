"""`pfl tune`: search for a better prompt, and say what it is worth on rows the search never saw."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_pairs
from promptflow_lite.errors import UsageError

_DESCRIPTION = """\
Split the data into training, validation and test rows. Propose prompts: examples taken from training rows, and
instructions rewritten by the model. Halve them on validation rows until one is left. Then run it and the present
prompt on the test rows, which the search never saw, and compare."""
_EPILOG = """\
example:
  pfl tune --flow flows/sentiment --node classify --data reviews.jsonl --answer label \\
      --column-mapping text='${data.text}' --evaluate evaluators/accuracy --metric correct \\
      --eval-mapping answer='${run.outputs.label}' ground_truth='${data.label}' --promote tuned"""


def register(groups: Any) -> None:
    """Add the command to the command line."""
    parser = groups.add_parser(
        "tune",
        help="Search for better prompts",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--flow", required=True)
    parser.add_argument("--node", required=True, help="The LLM node to tune.")
    parser.add_argument("--data", required=True, help="A data file or set.")
    parser.add_argument("--answer", required=True, metavar="COLUMN", help="Column with the right answer.")
    parser.add_argument("--column-mapping", nargs="+", metavar="INPUT=VALUE")
    parser.add_argument("--evaluate", required=True, metavar="FLOW", help="The evaluator.")
    parser.add_argument("--eval-mapping", nargs="+", required=True, metavar="INPUT=VALUE")
    parser.add_argument("--metric", required=True)
    parser.add_argument("--name", default="tune", help="Of the splits and runs (default: tune).")
    parser.add_argument("--split", default="0.2,0.4,0.4", help="Training, validation, test (default: 0.2,0.4,0.4).")
    parser.add_argument("--examples", default="2,4,8", metavar="N,N", help="Sizes of example sets (default: 2,4,8).")
    parser.add_argument("--sets", type=int, default=2, help="Sets of every size (default: 2).")
    parser.add_argument("--rewrites", type=int, default=3, help="Rewritten instructions (default: 3).")
    parser.add_argument("--first-rows", type=int, default=16, help="Rows of the first round (default: 16).")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--promote", metavar="VARIANT", help="Write the winner into the flow as a variant.")
    parser.set_defaults(handler=_tune)


def _tune(args: Namespace) -> int:
    from promptflow_lite.evals import reports
    from promptflow_lite.sdk.client import Client
    from promptflow_lite.sdk.tuning import TuneRequest

    shares = tuple(_numbers(args.split, "--split", float))
    if len(shares) != 3:
        raise UsageError("--split needs three shares.", hint="For example: --split 0.2,0.4,0.4")

    request = TuneRequest(
        flow=args.flow,
        node=args.node,
        data=args.data,
        answer=args.answer,
        evaluator=args.evaluate,
        metric=args.metric,
        eval_mapping=parse_pairs(args.eval_mapping, "--eval-mapping"),
        column_mapping=parse_pairs(args.column_mapping, "--column-mapping"),
        name=args.name,
        shares=(shares[0], shares[1], shares[2]),
        sizes=_numbers(args.examples, "--examples", int),
        sets_each=args.sets,
        rewrites=args.rewrites,
        first_rows=args.first_rows,
        seed=args.seed,
    )
    with Client() as client:
        result = client.tuning.run(request, announce=render.note)
        for rung in result.rungs:
            best = sorted(rung.scores.items(), key=lambda item: -item[1])
            shown = ", ".join(f"{name}: {score:.3f}" for name, score in best)
            render.text(f"{rung.n_rows} validation rows: {shown}")

        render.text(f"winner of {result.n_candidates}: {result.winner.name} ({result.template})")
        if result.comparison is None:
            render.text("The present prompt won; nothing to test.")
            return 0

        render.text(reports.render_table(result.comparison, width=140).rstrip("\n"))
        if args.promote:
            path = client.tuning.promote(request, result, args.promote)
            render.note(f"Wrote variant {args.promote!r} of {args.node!r} into {path}")

    return 0


def _numbers(text: str, option: str, kind: type[Any]) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise UsageError(f"{option} needs numbers, not {text!r}.") from error
