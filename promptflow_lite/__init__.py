"""Author, run, compare, evaluate and serve prompt flows on one machine, offline.

The public names are imported when they are first used; type checkers read them from `__init__.pyi`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Client": "promptflow_lite.sdk.client",
    "load_flow": "promptflow_lite.flow",
    "log_metric": "promptflow_lite.tracing",
    "start_trace": "promptflow_lite.sdk.traces",
    "tool": "promptflow_lite.tools",
    "trace": "promptflow_lite.tracing",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - a list of strings, though not a literal one


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
