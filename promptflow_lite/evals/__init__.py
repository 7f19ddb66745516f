"""Evaluation: evaluators, statistics, comparison, reports, grids and data sets.

`evaluate` and the classes in `promptflow_lite.evals.evaluators` are what programs import; they are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptflow_lite.evals.evaluate import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    if name == "evaluate":
        from promptflow_lite.evals.evaluate import evaluate

        globals()["evaluate"] = evaluate  # over the module of that name, which the import put here
        return evaluate

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
