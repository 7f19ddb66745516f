"""`pfl completion`: print a completion script for a shell."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from promptflow_lite.cli import render


def register(groups: Any) -> None:
    """Add the group to the command line."""
    parser = groups.add_parser(
        "completion",
        help="Shell completion",
        description="Print a script that completes commands and options.",
        epilog="Example: pfl completion bash > ~/.local/share/bash-completion/completions/pfl",
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.set_defaults(handler=_print)


def _print(args: Namespace) -> int:
    import shtab

    from promptflow_lite.cli.main import build_parser

    render.text(shtab.complete(build_parser(), args.shell))
    return 0
