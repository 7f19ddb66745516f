"""`pfl run replay`: run a recorded line again with an edit, and keep the edit as a variant."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_inputs, parse_pairs

if TYPE_CHECKING:
    from promptflow_lite.sdk.replay import Replay

_EPILOG = """\
examples:
  pfl run replay base --line 17
  pfl run replay base --line 17 --node classify --variant few_shot
  pfl run replay base --line 17 --node classify --set temperature=0.7 --template new.jinja2 --promote warmer"""


def register_replay(verbs: Any) -> None:
    """Add `replay` to the verbs of `pfl run`."""
    parser = verbs.add_parser(
        "replay",
        help="Run a recorded line again, from any node, with an edit",
        description="Run a recorded line again with its recorded inputs. With --node, nodes before it keep their "
        "recorded outputs. --promote writes the edit into the flow's YAML as a new variant, comments kept.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--line", type=int, required=True, metavar="N")
    parser.add_argument("--node", help="Start here.")
    parser.add_argument("--variant", help="Variant of the node.")
    parser.add_argument("--set", nargs="+", metavar="INPUT=VALUE", help="Inputs of the node to replace.")
    parser.add_argument("--inputs", nargs="+", metavar="INPUT=VALUE", help="Inputs of the flow to replace.")
    parser.add_argument("--template", metavar="FILE", help="Replaces the node's template or code.")
    parser.add_argument("--promote", metavar="VARIANT", help="Keep the edit as a variant of this name.")
    parser.set_defaults(handler=_replay)


def _replay(args: Namespace) -> int:
    import yaml

    from promptflow_lite.sdk.client import Client
    from promptflow_lite.sdk.replay import ReplayRequest

    request = ReplayRequest(
        run=args.run,
        line=args.line,
        node=args.node,
        variant=args.variant,
        inputs={name: yaml.safe_load(value) for name, value in parse_pairs(args.set, "--set").items()},
        template=args.template,
        line_inputs=parse_inputs(args.inputs, "--inputs"),
    )
    with Client() as client:
        replay = client.replays.run(request)
        _show(replay)
        if args.promote:
            path = client.replays.promote(request, args.promote)
            render.note(f"Wrote variant {args.promote!r} of {args.node!r} into {path}")

    return 0 if replay.after.status.value == "Completed" else 1


def _show(replay: Replay) -> None:
    rows = []
    for node in replay.after.nodes:
        before = replay.before.node(node.node)
        state = "recorded" if node.node in replay.reused else node.status.value
        rows.append([node.node, state, before.output if before else None, node.output])

    render.table(rows, ["node", "now", "output before", "output after"])
    render.json(
        {
            "before": replay.before.output or replay.before.error,
            "after": replay.after.output or replay.after.error,
            "is_changed": replay.is_changed,
        }
    )
