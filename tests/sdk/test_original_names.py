"""Objects that stand for private names of the original."""

from __future__ import annotations

import asyncio

from promptflow_lite._utils.attributes import AttributeDict
from promptflow_lite.connections import AzureOpenAIConnection
from promptflow_lite.sdk.original.internals import ConnectionType, async_run_allowing_running_loop
from promptflow_lite.sdk.original.vector_search import SearchResultEntity


def test_a_found_document_is_read_from_and_written_to_a_mapping() -> None:
    found = SearchResultEntity.from_dict({"text": "t", "score": 0.5, "metadata": {"source": "s"}})

    assert (found.text, found.score, found.metadata) == ("t", 0.5, {"source": "s"})
    assert SearchResultEntity.from_dict(found.as_dict()) == found


async def _add(a: int, *, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


async def _add_from_a_running_loop() -> int:
    result: int = async_run_allowing_running_loop(_add, 1, b=2)
    return result


def test_an_async_function_is_called_with_and_without_a_running_loop() -> None:
    assert async_run_allowing_running_loop(_add, 1, b=2) == 3
    assert asyncio.run(_add_from_a_running_loop()) == 3


def test_connection_kinds_compare_with_the_kind_of_a_connection() -> None:
    assert AzureOpenAIConnection(api_key="k", api_base="http://x").type == ConnectionType.AZURE_OPEN_AI


def test_keys_are_attributes() -> None:
    record = AttributeDict(a=1)
    record.b = 2

    assert (record.a, record["b"], hasattr(record, "c")) == (1, 2, False)
