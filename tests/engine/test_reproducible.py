"""Reproducible mode on a real model: byte-identical answers whatever runs beside them and whatever is cached."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from promptflow_lite.engine import EngineSettings
from promptflow_lite.providers.base import ModelClient
from promptflow_lite.providers.local import LocalClient, local_client

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

SYSTEM = "You continue short stories in the same tone. " * 8
STARTS = ["The cat", "Once upon", "Rain fell", "Nobody knew", "Seven ships", "A door"]


@pytest.fixture(scope="module")
def client() -> Iterator[ModelClient]:
    client = local_client(engine_settings=EngineSettings(reproducible=True, max_rows=6, row_cells=256))
    yield client
    if isinstance(client, LocalClient):
        client.engine().close()


def answers(client: ModelClient, starts: list[str], n_together: int) -> dict[str, str]:
    def ask(start: str) -> str:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": start}]
        body = client.chat({"messages": messages, "temperature": 0, "max_tokens": 10})
        return str(body["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(n_together) as pool:
        return dict(zip(starts, pool.map(ask, starts), strict=True))


def test_answers_do_not_depend_on_neighbours_order_or_cache(client: ModelClient) -> None:
    alone = answers(client, STARTS, 1)

    assert answers(client, STARTS[::-1], 6) == alone
    assert answers(client, STARTS[3:] + STARTS[:3], 3) == alone


def test_sampling_is_seeded_by_default(client: ModelClient) -> None:
    request = {"messages": [{"role": "user", "content": "Say a word."}], "temperature": 1.0, "max_tokens": 6}

    first = client.chat(request)["choices"][0]["message"]["content"]

    assert client.chat(request)["choices"][0]["message"]["content"] == first
