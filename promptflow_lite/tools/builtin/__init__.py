"""Package tools that come with this package, under the ids of the original's `promptflow-tools`."""

from __future__ import annotations

from typing import Any


def builtin_tools() -> dict[str, dict[str, Any]]:
    """Tool id -> metadata, as a `package_tools` entry point gives it."""
    return {}
