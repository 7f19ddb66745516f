"""Clients of the tests in this folder are closed after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from promptflow_lite.providers import forget_clients


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    forget_clients()
