"""Commands of the original that have no counterpart here, and what to type instead."""

from __future__ import annotations

from collections.abc import Sequence

from promptflow_lite.errors import UsageError

_REPLACEMENTS: dict[tuple[str, ...], tuple[str, str]] = {
    ("service",): (
        "There is no background service: runs and traces are written to the local store directly.",
        "pfl ui opens the studio; pfl trace list prints traces.",
    ),
    ("upgrade",): ("This command does not change the installation.", "pip install --upgrade promptflow-lite"),
    ("run", "visualize"): (
        "Runs are looked at in the studio or compared on a page.",
        "pfl ui, pfl run show-details -n RUN, or pfl run compare RUN RUN --html FILE",
    ),
}


def replaced_command(arguments: Sequence[str]) -> UsageError | None:
    """The error for a command that the original has and this package answers otherwise; None for all others."""
    words = tuple(argument for argument in arguments if not argument.startswith("-"))
    for command, (message, hint) in _REPLACEMENTS.items():
        if words[: len(command)] == command:
            return UsageError(f"pfl {' '.join(command)} is not needed here. {message}", hint=f"Use: {hint}")

    return None
