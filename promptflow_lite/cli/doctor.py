"""`pfl doctor`: what this machine has, which engine settings follow, what to change."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from promptflow_lite.cli import render

_GIB = 1 << 30


def register(groups: Any) -> None:
    """Add the command."""
    parser = groups.add_parser("doctor", help="Check this installation", description="Check this installation.")
    parser.add_argument("-o", "--output", choices=("json", "table"))
    parser.set_defaults(handler=_doctor)


def _doctor(args: Namespace) -> int:
    from promptflow_lite.sdk.models import ModelOperations

    report = ModelOperations().doctor()
    if (args.output or ("table" if render.is_terminal() else "json")) == "json":
        render.json(report)
        return 0

    machine = report["machine"]
    rows = [
        ("processor", f"{machine['processor']}, {machine['cores']} of {machine['cores_total']} cores usable"),
        ("instructions", " ".join(machine["instructions"])),
        ("memory", f"{machine['memory_available_bytes'] / _GIB:.1f} of {machine['memory_bytes'] / _GIB:.1f} GiB free"),
        ("engine", f"{report['engine']['version'] or 'not installed'}, GPU build: {report['engine']['gpu']}"),
        *((f"setting {name}", value) for name, value in report["settings"].items()),
        *((f"model {model['name']}", model["fit"]) for model in report["models"]),
    ]
    render.table(rows, ("what", "found"))
    for line in report["advice"] or ["Nothing to change."]:
        render.text(f"- {line}")
    return 0
