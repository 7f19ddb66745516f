"""What commands print: the only module that writes to the terminal.

Machines get JSON on stdout; people at a terminal get tables. Everything that is no result goes to stderr.
"""

from __future__ import annotations

import getpass
import json as json_module
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from promptflow_lite import settings
from promptflow_lite._utils.jsonable import dumps_bytes, loads
from promptflow_lite._utils.text import visible
from promptflow_lite.errors import PromptflowException, UnexpectedError, UsageError, error_to_dict, file_error

_RED, _BOLD, _PLAIN = "\x1b[31m", "\x1b[1m", "\x1b[0m"
_JSON_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
"""Control characters that JSON allows as they are, but terminals obey."""
_BAR_WIDTH = 30
_REDRAW_INTERVAL_S = 0.1


class ReportProgress(Protocol):
    """Told how many lines finished and how many of those failed, and of how many in all once that is known."""

    def __call__(self, finished: int, failed: int, total: int | None = None) -> None: ...


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def json(value: Any) -> None:
    """Print a value as JSON, indented by four, non-ASCII text kept."""
    print(to_json(value).translate(_JSON_CONTROLS))


def to_json(value: Any) -> str:
    return json_module.dumps(loads(dumps_bytes(value)), indent=4, ensure_ascii=False)


def text(value: str = "", *, end: str = "\n", flush: bool = False) -> None:
    """Print text: into a pipe as it is, at a terminal without what could steer it."""
    print(visible(value) if is_terminal() else value, end=end, flush=flush)


def note(value: str) -> None:
    """Tell a person something that is no result."""
    print(visible(value), file=sys.stderr)


def table(rows: Iterable[Sequence[Any]], columns: Sequence[str], *, title: str | None = None) -> None:
    """Print a table that fits the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(visible(_cell(value))) for value in row))
    Console(file=sys.stdout, width=None if is_terminal() else 160).print(grid)


def _cell(value: Any) -> str:
    if value is None:
        return ""

    return (
        value
        if isinstance(value, str)
        else dumps_bytes(value).decode()
        if isinstance(value, dict | list)
        else str(value)
    )


def records(
    items: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Callable[[Mapping[str, Any]], Any]],
    *,
    output: str | None = None,
) -> None:
    """Print records as JSON, or as a table at a terminal.

    Args:
        items: What to print.
        columns: Heading -> how to get the cell from a record.
        output: `json` or `table`; by default whatever fits the reader.
    """
    if (output or ("table" if is_terminal() else "json")) == "json":
        json(list(items))
    else:
        table(([cell(item) for cell in columns.values()] for item in items), list(columns))


def error(activity: str, failure: BaseException, *, debug: bool = False) -> None:
    """Say on stderr what failed, what to do and where, and what to search for."""
    known = failure if isinstance(failure, PromptflowException) else file_error(failure) or _unexpected(failure)
    lines = [_styled(visible(f"{activity} failed with {type(failure).__name__}: {known.message}"), _RED)]
    if known.where:
        lines.append(visible(f"  at:   {known.where}"))

    if known.hint:
        lines.append(visible(f"  hint: {known.hint}"))

    lines.append(f"  code: {known.code}")
    print("\n".join(lines), file=sys.stderr)
    if debug:
        from promptflow_lite.connections import without_secrets

        print(visible(without_secrets("".join(traceback.format_exception(failure)))), end="", file=sys.stderr)

    if settings.env_bool("PROMPTFLOW_STRUCTURE_EXCEPTION_OUTPUT"):
        print(to_json(error_to_dict(failure)), file=sys.stderr)


def _unexpected(failure: BaseException) -> UnexpectedError:
    detail = str(failure) or "no message"
    return UnexpectedError(detail, hint="Run the command again with --debug and report what it prints.")


def _styled(value: str, style: str, stream: TextIO | None = None) -> str:
    stream = stream or sys.stderr
    return f"{style}{value}{_PLAIN}" if stream.isatty() and "NO_COLOR" not in settings.environ() else value


def confirm(question: str) -> bool:
    """Ask for a yes; anything else, and a closed stdin, is a no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def ask(prompt: str) -> str:
    """Ask for a line of text. Raises `EOFError` when the input has ended."""
    return input(prompt)


def ask_secret(label: str) -> str:
    """Ask for a text without showing it.

    Raises:
        UsageError: there is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            f"{label} is missing, and there is no terminal to ask for it.",
            hint="Write it as ${env:NAME} in the file, or pass it with --set.",
        )

    return getpass.getpass(f"{label}: ", stream=sys.stderr)


@contextmanager
def progress(total: int | None) -> Iterator[ReportProgress]:
    """Show how far a run is, on stderr: a bar at a terminal, else a line now and then."""
    show: _Bar | _Milestones = _Bar(total) if sys.stderr.isatty() else _Milestones(total)
    try:
        yield show.report
    finally:
        show.close()


class _Bar:
    def __init__(self, total: int | None) -> None:
        self._total = total
        self._started = time.monotonic()
        self._drawn = 0.0
        self._last = (0, 0)

    def report(self, finished: int, failed: int, total: int | None = None) -> None:
        self._last = (finished, failed)
        self._total = total or self._total
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_INTERVAL_S:
            self._drawn = now
            self._draw()

    def _draw(self) -> None:
        finished, failed = self._last
        elapsed = max(time.monotonic() - self._started, 1e-9)
        parts = [
            f"{finished}" if self._total is None else f"{finished}/{self._total}",
            f"{finished / elapsed:.0f} lines/s",
        ]
        if self._total:
            filled = round(_BAR_WIDTH * min(finished / self._total, 1))
            parts.insert(0, f"[{'█' * filled}{'·' * (_BAR_WIDTH - filled)}]")
            if finished:
                parts.append(f"{_duration((self._total - finished) * elapsed / finished)} left")

        if failed:
            parts.append(_styled(f"{failed} failed", _RED))

        print(f"\r\x1b[2K{'  '.join(parts)}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        self._draw()
        print(file=sys.stderr)


class _Milestones:
    def __init__(self, total: int | None) -> None:
        self._total = total
        self._next = 0.0
        self._interval_s = 10.0
        self._started = time.monotonic()

    def report(self, finished: int, failed: int, total: int | None = None) -> None:
        self._total = total or self._total
        now = time.monotonic()
        if self._next == 0.0:
            self._next = now + self._interval_s
        if now >= self._next:
            self._next = now + self._interval_s
            note(f"Finished {finished} / {'?' if self._total is None else self._total} lines, {failed} failed.")

    def close(self) -> None:
        """Nothing stays on the line."""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def use_utf8() -> None:
    """Write UTF-8 whatever the locale says, and survive text that has no encoding."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")


def silence_stdout() -> None:
    """Point stdout nowhere after its reader left, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
