"""Mappings whose keys can be read as attributes."""

from __future__ import annotations

from typing import Any


class AttributeDict(dict[str, Any]):
    """A dict with its keys as attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value
