"""Stand-ins for names that cannot work on one machine: importing is fine, using one says why and what to do."""

from __future__ import annotations

from typing import Any, NoReturn

from promptflow_lite.errors import CompatImportError


class _AbsentType(type):
    """Metaclass of stand-ins: calls and attribute reads raise, `isinstance` and annotations work."""

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise _error(cls)

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)

        raise _error(cls)


def absent_name(module: str, name: str, note: str) -> type:
    """A class that stands for `module.name` and raises `CompatImportError` when it is used."""
    return _AbsentType(name, (), {"__module__": module, "__doc__": note, "__pfl_note__": note})


def _error(stand_in: type) -> CompatImportError:
    qualified = f"{stand_in.__module__}.{stand_in.__name__}"
    note = vars(stand_in).get("__pfl_note__", "")
    return CompatImportError(f"{qualified!r} cannot be used here.", hint=note, name=qualified)
