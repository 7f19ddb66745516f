"""Serves `import promptflow...` from the table, behind everything that is really installed.

The finder stands last on `sys.meta_path`: an installed copy of the original is found first and left alone. Modules that
other distributions add below `promptflow.` (tool packages do) are found on `sys.path` and live beside ours.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.compat.absent import absent_name
from promptflow_lite.compat.table import CLOUD_ONLY_PREFIXES, TABLE, Entry, package_names

_ROOTS = ("promptflow", "promptflow_vectordb")
_MARKS_OF_THE_ORIGINAL = ("core", "_core", "_sdk", "tracing", "executor")


class ShimFinder(importlib.abc.MetaPathFinder):
    """Finds the table's modules, and other distributions' modules below them."""

    def __init__(self) -> None:
        self._packages = package_names()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in _ROOTS:
            return None

        if fullname in TABLE:
            is_package = fullname in self._packages or _is_cloud_only(fullname)
            return importlib.machinery.ModuleSpec(fullname, _ShimLoader(), is_package=is_package)

        if _is_cloud_only(fullname):
            return importlib.machinery.ModuleSpec(fullname, _ShimLoader(), is_package=True)

        return importlib.machinery.PathFinder.find_spec(fullname, _portions(fullname.rpartition(".")[0]))


class _ShimLoader(importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return ShimModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing runs: names are resolved when they are first read."""


class ShimModule(types.ModuleType):
    """A module whose names come from the table, each resolved on first use."""

    def __getattr__(self, name: str) -> Any:
        module = self.__name__
        if name == "__all__":
            return [key for key, entry in TABLE.get(module, {}).items() if entry.kind == "works" and key[0] != "_"]

        entry = TABLE.get(module, {}).get(name)
        if entry is None and not name.startswith("__"):
            entry = _cloud_only_entry(module)

        if entry is None:
            raise AttributeError(_unknown_name_message(module, name), name=name, obj=self)

        value = resolve(module, name, entry)
        if entry.kind != "deprecated":
            self.__dict__[name] = value

        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *TABLE.get(self.__name__, {})})


def resolve(module: str, name: str, entry: Entry) -> Any:
    """The object that stands for a name of the original."""
    if not entry.target:
        return absent_name(module, name, entry.note)

    if entry.kind == "deprecated":
        warnings.warn(
            f"Importing {name!r} from {module!r} is deprecated; import it from {entry.note.rpartition('.')[0]!r}.",
            DeprecationWarning,
            stacklevel=4,
        )

    target_module, _, attribute = entry.target.partition(":")
    return getattr(importlib.import_module(target_module), attribute)


def is_original_installed() -> bool:
    """Whether a real copy of the original is on the path, so that the shim must stay away."""
    spec = importlib.machinery.PathFinder.find_spec("promptflow")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return any(Path(folder, mark).is_dir() for folder in folders for mark in _MARKS_OF_THE_ORIGINAL)


def install() -> bool:
    """Make `import promptflow` work in this process; False when a real copy is installed and nothing was done."""
    if any(isinstance(finder, ShimFinder) for finder in sys.meta_path):
        return True

    if is_original_installed():
        return False

    finder = ShimFinder()
    sys.meta_path.append(finder)
    for root in _ROOTS:
        _claim_namespace(root, finder)

    return True


def uninstall() -> None:
    """Undo `install`: forget the finder and the modules it served."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, ShimFinder)]
    for name, module in list(sys.modules.items()):
        if isinstance(module, ShimModule):
            del sys.modules[name]


def _claim_namespace(root: str, finder: ShimFinder) -> None:
    """Other distributions' folders make `root` a namespace package; the table's names must be found there too."""
    installed = importlib.machinery.PathFinder.find_spec(root)
    if root in sys.modules or installed is None or (root != "promptflow" and installed.origin is not None):
        return  # a package with code of its own is the real one; only what it lacks comes from the table

    spec = finder.find_spec(root)
    if spec is not None:
        sys.modules[root] = importlib.util.module_from_spec(spec)


def _portions(package: str) -> list[str]:
    """Folders on `sys.path` that hold a part of `package`."""
    folder = Path(*package.split("."))
    return [str(found) for entry in sys.path if (found := Path(entry or ".", folder)).is_dir()]


def _is_cloud_only(module: str) -> bool:
    return _cloud_only_entry(module) is not None


def _cloud_only_entry(module: str) -> Entry | None:
    for prefix, note in CLOUD_ONLY_PREFIXES.items():
        if module == prefix or module.startswith(prefix + "."):
            return Entry("cloud", note=note)

    return None


def _unknown_name_message(module: str, name: str) -> str:
    hint = did_you_mean(name, TABLE.get(module, {})) if not name.startswith("__") else None
    return f"module {module!r} has no name {name!r} that works here" + (f". {hint}" if hint else "")
