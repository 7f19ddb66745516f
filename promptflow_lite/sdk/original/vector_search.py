"""What flows that search their own documents import from the vector database package of the original."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass
class SearchResultEntity:
    """One document that a search found."""

    text: str | None = None
    vector: list[float] | None = None
    score: float | None = None
    original_entity: dict[str, Any] | None = None
    metadata: dict[str, Any] | str | None = None
    additional_fields: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, dict_object: dict[str, Any]) -> SearchResultEntity:
        """The document as search tools hand it over."""
        return cls(**dict_object)

    def as_dict(self) -> dict[str, Any]:
        """The document as search tools hand it over."""
        return dataclasses.asdict(self)
