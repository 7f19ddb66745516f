"""Finds the files that ship beside the code: sample flows, evaluators and the studio."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def bundled(name: str) -> Path:
    """The folder `flows`, `evaluators` or `ui`: of the checkout when the code runs from one, else of the wheel."""
    in_checkout = _PACKAGE.parent / name
    in_wheel = _PACKAGE / "_bundled" / name
    return in_wheel if in_wheel.is_dir() else in_checkout
