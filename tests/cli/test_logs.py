"""What commands log to standard error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from promptflow_lite.cli.logs import configure_logging
from promptflow_lite.errors import SettingsError

LEVEL, LAYOUT, TIME = "PF_LOGGING_LEVEL", "PF_LOG_FORMAT", "PF_LOG_DATETIME_FORMAT"
BARE = {LAYOUT: "%(levelname)s %(message)s"}


@contextmanager
def fresh_logging(*options: str) -> Iterator[logging.Logger]:
    """Logging as a new process configures it: the handlers of pytest are set aside."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    try:
        configure_logging(verbose="verbose" in options, debug="debug" in options)
        yield logging.getLogger("execution.bulk")
    finally:
        root.handlers = handlers
        root.setLevel(level)


@pytest.mark.parametrize(
    ("variables", "options", "shown"),
    [
        ({}, (), "problem"),
        ({LEVEL: "nonsense"}, (), "problem"),
        (BARE, (), "WARNING problem"),
        ({**BARE, LEVEL: "error"}, (), ""),
        ({**BARE, LEVEL: "INFO"}, (), "INFO news|WARNING problem"),
        ({**BARE, LEVEL: "ERROR"}, ("verbose",), "INFO news|WARNING problem"),
        ({**BARE, LEVEL: "ERROR"}, ("debug",), "DEBUG detail|INFO news|WARNING problem"),
        ({LAYOUT: "%(asctime)s %(message)s", TIME: "at"}, (), "at problem"),
    ],
)
def test_level_and_layout_come_from_options_and_variables(
    variables: dict[str, str],
    options: tuple[str, ...],
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with fresh_logging(*options) as logger:
        logger.debug("detail")
        logger.info("news")
        logger.warning("problem")

    assert "|".join(capsys.readouterr().err.splitlines()) == shown


def test_the_layout_of_the_original_is_used_with_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    with fresh_logging("verbose") as logger:
        logger.info("news")

    assert capsys.readouterr().err.endswith(" execution.bulk     INFO     news\n")


def test_a_layout_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAYOUT, "%(message")
    with pytest.raises(SettingsError, match="PF_LOG_FORMAT"), fresh_logging():
        pass
