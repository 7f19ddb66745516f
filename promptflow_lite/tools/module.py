"""Loads a node's Python file in isolation, the way flows expect it, and finds the one tool it defines.

Every node gets its own copy of the module, so module globals are not shared between nodes; the copy is registered in
`sys.modules` under a name of its own, so that dataclasses and pickling inside user code work.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from promptflow_lite import compat
from promptflow_lite._utils.imports import hint_for_import_error
from promptflow_lite.errors import (
    Location,
    MultipleToolsDefined,
    NoToolDefined,
    PromptflowException,
    PythonLoaderNotFound,
    PythonLoadError,
)
from promptflow_lite.tools.decorator import ToolProvider, is_tool

MODULE_NAME = "__pf_main__"
"""What user code sees as `__name__`."""

_counter = itertools.count()
_added_to_path: set[str] = set()
"""Flows' folders on `sys.path` that were not there before."""
_import_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class LoadedTool:
    """The tool found in a file: a function, or a method of a provider class."""

    function: Any
    provider: type[ToolProvider] | None
    path: Path


@contextmanager
def flow_import_path(root: Path) -> Iterator[None]:
    """Import a flow's code from its folder and from no other flow's; afterwards all folders stay, for lazy imports."""
    compat.install()
    entry = str(root)
    with _import_lock:
        _flow_roots.add(root)
        _forget_siblings_of_other_flows(root)
        if entry not in sys.path:
            _added_to_path.add(entry)

        # A folder without __init__.py would lose against a module of its name anywhere else on the path.
        others = [place for place in sys.path if place in _added_to_path and place != entry]
        sys.path[:] = [entry, *(place for place in sys.path if place != entry and place not in others)]
        try:
            yield
        finally:
            sys.path[1:1] = others


def _forget_siblings_of_other_flows(root: Path) -> None:
    """Two flows may each have a `helpers.py`; a module of another flow's folder must not be reused for this one."""
    names = {path.stem for path in root.glob("*.py")} | {path.parent.name for path in root.glob("*/*.py")}
    for name in names:
        if _is_of_another_flow(sys.modules.get(name), root):
            for loaded in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
                del sys.modules[loaded]


_flow_roots: set[Path] = set()


def _is_of_another_flow(module: ModuleType | None, root: Path) -> bool:
    origin = getattr(module, "__file__", None)
    places = [origin] if origin else list(getattr(module, "__path__", ()))  # a folder without __init__.py has no file
    return any(_flow_of(Path(place)) not in (root, None) for place in places)


def _flow_of(place: Path) -> Path | None:
    """The folder of the flow that a file belongs to: the innermost one, since flows may lie inside flows."""
    return next((folder for folder in place.parents if folder in _flow_roots), None)


def load_module(path: Path, root: Path) -> ModuleType:
    """Execute a Python file as a fresh module.

    Raises:
        PythonLoaderNotFound: there is no such file.
        PythonLoadError: the file cannot be imported; names the user's line.
    """
    if not path.is_file():
        raise PythonLoaderNotFound(
            f"Python file {path.name!r} does not exist.",
            hint=f"Create {path}, or correct the node's source path.",
            where=Location(str(path)),
        )

    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise PythonLoaderNotFound(f"{path.name!r} is not a Python file.", where=Location(str(path)))

    module = importlib.util.module_from_spec(spec)
    with flow_import_path(root):
        previous = sys.modules.get(MODULE_NAME)
        sys.modules[MODULE_NAME] = module
        try:
            spec.loader.exec_module(module)
        except PromptflowException:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise

            raise _load_error(path, error) from error
        finally:
            if previous is not None:
                sys.modules[MODULE_NAME] = previous

        sys.modules[f"{MODULE_NAME}_{next(_counter)}"] = module
    return module


def _load_error(path: Path, error: BaseException) -> PythonLoadError:
    return PythonLoadError(
        f"Failed to load python module from file {path.name!r}: ({type(error).__name__}) {error}",
        hint=hint_for_import_error(
            error, "Correct the error in this file; it runs when the flow is loaded for execution."
        ),
        where=user_location(error, path),
    )


def user_location(error: BaseException, path: Path) -> Location:
    """The last line of the user's file that an exception passed through."""
    if isinstance(error, SyntaxError) and error.filename:
        return Location(error.filename, error.lineno, error.offset)

    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return Location(str(path), lines[-1] if lines else None)


def load_tool(path: Path, root: Path) -> LoadedTool:
    """The single tool that a file defines.

    Raises:
        NoToolDefined, MultipleToolsDefined: the file defines none, or several.
        PythonLoaderNotFound, PythonLoadError: see `load_module`.
    """
    module = load_module(path, root)
    functions = [
        value for value in vars(module).values() if is_tool(value) and getattr(value, "__module__", "") == MODULE_NAME
    ]
    methods = [
        (cls, method)
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, ToolProvider) and cls.__module__ == MODULE_NAME
        for method in vars(cls).values()
        if is_tool(method)
    ]
    candidates = [LoadedTool(function, None, path) for function in _unique(functions)]
    candidates += [LoadedTool(method, cls, path) for cls, method in methods]
    if not candidates:
        raise NoToolDefined(
            f"No tool found in {path.name!r}.",
            hint="Decorate one function of this file with @tool (from promptflow.core import tool).",
            where=Location(str(path)),
        )

    if len(candidates) > 1:
        names = ", ".join(sorted(candidate.function.__name__ for candidate in candidates))
        raise MultipleToolsDefined(
            f"Expected 1 but collected {len(candidates)} tools in {path.name!r}: {names}.",
            hint="Keep one @tool in this file; move the others to files of their own.",
            where=Location(str(path)),
        )

    return candidates[0]


def _unique(functions: list[Any]) -> list[Any]:
    seen: dict[int, Any] = {id(function): function for function in functions}
    return list(seen.values())
