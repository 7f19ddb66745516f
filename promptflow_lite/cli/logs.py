"""What commands log to standard error, as the options and the environment ask."""

from __future__ import annotations

import logging

from promptflow_lite.errors import SettingsError
from promptflow_lite.settings import env, log_level

_FORMAT = "%(asctime)s %(process)7d %(name)-18s %(levelname)-8s %(message)s"
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S %z"


def configure_logging(*, verbose: bool, debug: bool) -> None:
    """Set the level by `--debug`, `--verbose` or `PF_LOGGING_LEVEL`, and the layout of lines by `PF_LOG_FORMAT`.

    Without any of these only warnings are shown, as bare messages.

    Raises:
        SettingsError: `PF_LOG_FORMAT` is no layout.
    """
    level = logging.DEBUG if debug else logging.INFO if verbose else log_level()
    layout, time_layout = env("PF_LOG_FORMAT"), env("PF_LOG_DATETIME_FORMAT")
    if level is None and layout is None and time_layout is None:
        return

    handler = logging.StreamHandler()
    try:
        handler.setFormatter(logging.Formatter(layout or _FORMAT, time_layout or _TIME_FORMAT))
    except ValueError as error:
        raise SettingsError(
            f"PF_LOG_FORMAT is no layout of log lines: {error}.", hint=f"Write it like this: {_FORMAT}"
        ) from error

    logging.basicConfig(level=logging.WARNING if level is None else level, handlers=[handler])
