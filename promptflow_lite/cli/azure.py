"""`pfazure`: the original's cloud command, which says what to use instead."""

from __future__ import annotations

from promptflow_lite.cli import render
from promptflow_lite.errors import CompatImportError


def main() -> int:
    """Explain that Azure workspaces are out of reach; the exit code is 1."""
    error = CompatImportError(
        "Azure workspaces are out of reach of a local installation.",
        hint="Use `pfl`: `pfl run create` runs the same flows on this machine.",
    )
    render.error("pfazure", error)
    return 1
