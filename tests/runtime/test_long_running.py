"""Warnings about nodes that run long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.flow_files import executor_of, graph_flow

WAITING = {"a": "def a(x):\n    import time\n    time.sleep(0.3)\n    return x"}


@pytest.mark.parametrize(
    ("interval", "warns"), [(None, False), ("0", False), ("-1", False), ("soon", False), ("30", False), ("0.1", True)]
)
def test_nodes_that_run_long_are_named_with_their_stack_when_asked(
    interval: str | None,
    warns: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if interval is not None:
        monkeypatch.setenv("PF_LONG_RUNNING_LOGGING_INTERVAL", interval)

    line = executor_of(graph_flow(tmp_path, "a", code=WAITING)).run_line({"x": "1"})

    assert line.status.value == "Completed"
    messages = [record.getMessage() for record in caplog.records if "has been running" in record.getMessage()]
    assert bool(messages) == warns
    if warns:
        assert messages[0].startswith("Node 'a' has been running for 0 s:")
        assert "time.sleep(0.3)" in messages[0]
