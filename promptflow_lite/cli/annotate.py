"""`pfl annotate`: label outputs by hand in the terminal, blind to the variant."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.cli import render
from promptflow_lite.errors import UsageError

if TYPE_CHECKING:
    from promptflow_lite.sdk.labels import LabelOperations, Task

_EPILOG = """\
examples: pfl annotate base new --labels good,bad --name quality --limit 50
          pfl annotate base new --name quality --agreement
          pfl annotate base new --name quality --export labels.csv"""


def register(groups: Any) -> None:
    """Add the command to the command line."""
    parser = groups.add_parser(
        "annotate",
        help="Label outputs by hand",
        description="Show outputs of one or several runs in random order, without saying which run they are from, and "
        "keep what you say about them. Several people can label the same runs, each under their own --annotator.",
        epilog=_EPILOG,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--name", default="quality", help="What is asked (default: quality).")
    parser.add_argument("--labels", default="good,bad", help="Possible labels, such as good,bad or 1,2,3,4,5.")
    parser.add_argument("--annotator", help="Who labels (default: your user name).")
    parser.add_argument("--limit", type=int, metavar="N", help="At most so many outputs.")
    parser.add_argument("--seed", type=int, default=0, help="Of the order; equal seeds show equal outputs first.")
    parser.add_argument("--show", nargs="+", metavar="COLUMN", help="Only these inputs.")
    parser.add_argument("--agreement", action="store_true", help="Say how far the annotators agree.")
    parser.add_argument("--export", metavar="FILE", help="Write the labels to a .jsonl or .csv file.")
    parser.set_defaults(handler=_annotate)


def _annotate(args: Namespace) -> int:
    from promptflow_lite.sdk.client import Client

    with Client() as client:
        for run in args.runs:
            client.runs.get(run)

        if args.agreement:
            return _agreement(client.labels, args)

        if args.export:
            count = client.labels.export(args.export, args.runs, name=args.name)
            render.note(f"Wrote {count} labels to {args.export}")
            return 0

        return _ask_all(client.labels, args)


def _ask_all(operations: LabelOperations, args: Namespace) -> int:
    labels = [label.strip() for label in args.labels.split(",") if label.strip()]
    if len(labels) < 2:
        raise UsageError("--labels needs at least two labels.", hint="For example: --labels good,bad")

    annotator = args.annotator or getpass.getuser()
    tasks = operations.tasks(args.runs, annotator=annotator, name=args.name, limit=args.limit, seed=args.seed)
    render.text(f"{len(tasks)} outputs to label as {annotator}. s skips, q ends; what you said is kept.")
    n_labelled = 0
    for index, task in enumerate(tasks, 1):
        _show(task, index, len(tasks), args.show)
        answer = _ask(labels)
        if answer is None:
            break

        if answer:
            operations.put(task, annotator=annotator, name=args.name, value=answer)
            n_labelled += 1

    render.text(f"{n_labelled} labels kept.")
    return 0


def _show(task: Task, index: int, total: int, columns: list[str] | None) -> None:
    render.text(f"\n─── {index} of {total} " + "─" * 40)
    for name, value in task.inputs.items():
        if columns is None or name in columns:
            render.text(f"{name}: {_text(value)}")

    for name, value in task.output.items():
        render.text(f"→ {name}: {_text(value)}")


def _ask(labels: list[str]) -> str | None:
    """A label, an empty text to skip, None to end. A label may be given by its number or its first letters."""
    numbered = (label if label.isdigit() else f"{number}) {label}" for number, label in enumerate(labels, 1))
    choices = "  ".join(numbered)
    while True:
        render.text(f"{choices}  s) skip  q) quit: ", end="", flush=True)
        line = sys.stdin.readline()
        word = line.strip().lower()
        if not line or word == "q":
            return None

        if word == "s":
            return ""

        found = _match(word, labels)
        if found:
            return found

        render.text("That is none of the labels.")


def _match(word: str, labels: list[str]) -> str | None:
    if word in (label.lower() for label in labels):
        return next(label for label in labels if label.lower() == word)

    if word.isdigit() and 1 <= int(word) <= len(labels) and not any(label.isdigit() for label in labels):
        return labels[int(word) - 1]

    fitting = [label for label in labels if word and label.lower().startswith(word)]
    return fitting[0] if len(fitting) == 1 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)


def _agreement(operations: LabelOperations, args: Namespace) -> int:
    found = operations.agreement(args.runs, name=args.name)
    interval = f" ({found.interval.low:.3f} to {found.interval.high:.3f})" if found.interval else ""
    render.text(f"{found.coefficient}: {found.value:.3f}{interval} on {found.n} outputs")
    render.text(f"same label: {found.observed:.1%}")
    for item in operations.disagreements(args.runs, name=args.name):
        render.text(f"  line {item['line']} of {item['run']}: {dumps(item['labels'])}")

    return 0
