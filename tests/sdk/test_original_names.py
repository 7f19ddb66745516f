"""Objects that stand for private names of the original."""

from __future__ import annotations

from promptflow_lite.sdk.original.vector_search import SearchResultEntity


def test_a_found_document_is_read_from_and_written_to_a_mapping() -> None:
    found = SearchResultEntity.from_dict({"text": "t", "score": 0.5, "metadata": {"source": "s"}})

    assert (found.text, found.score, found.metadata) == ("t", 0.5, {"source": "s"})
    assert SearchResultEntity.from_dict(found.as_dict()) == found
