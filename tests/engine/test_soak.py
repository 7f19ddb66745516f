"""A short soak; `benchmarks.engine.soak` runs the long one."""

from __future__ import annotations

import pytest

from benchmarks.engine.soak import run_soak

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(300)]


def test_books_balance_after_cancels_bad_requests_and_timeouts() -> None:
    result = run_soak(150, 12)

    assert (result["wrong"], result["rows_left"], result["cells_leaked"]) == (0, 0, 0)
    assert result["still_serving"]
