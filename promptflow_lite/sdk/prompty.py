"""Prompties as Python callables: `Prompty.load("x.prompty")(question="...")`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import PromptyFlow, load_prompty
from promptflow_lite.sdk.local_connections import LocalConnections
from promptflow_lite.tools.prompty import PromptyCall
from promptflow_lite.tracing import close_span, open_span

_END = object()


class Prompty:
    """A prompty that can be called with its inputs.

    Args:
        path: The `.prompty` file.
        overrides: Merged over the front matter, for example `model={"parameters": {"temperature": 0}}`.
    """

    def __init__(self, path: str | os.PathLike[str], **overrides: Any) -> None:
        self.path = Path(path).absolute()
        self.overrides = {key: value for key, value in overrides.items() if value is not None}
        self._flow = load_prompty(self.path, overrides=_with_plain_model(self.overrides))
        self._call = PromptyCall(self._flow, LocalConnections())

    @classmethod
    def load(cls, source: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Read a prompty.

        Raises:
            UserErrorException: there is no such file, or it is not a `.prompty` file.
        """
        path = Path(source)
        if not path.exists():
            raise UserErrorException(f"Source {path!s} does not exist.", hint="Correct the path.")

        if path.suffix != ".prompty":
            raise UserErrorException("Source must be a file with .prompty extension.", hint=f"Got {path.name!r}.")

        return cls(path, **kwargs)

    @property
    def flow(self) -> PromptyFlow:
        """The parsed file, overrides merged in."""
        return self._flow

    @property
    def code(self) -> Path:
        """The prompty's folder."""
        return self._flow.root

    @property
    def name(self) -> str:
        return self._flow.name

    @property
    def description(self) -> str:
        return self._flow.description

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the model with these inputs; what comes back depends on the prompty (contract 5.3).

        Raises:
            UserErrorException: positional arguments were given.
            MissingRequiredInputError: a declared input has no value.
        """
        return self._ask(args, kwargs)

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        _refuse_positional(args)
        values, timeout_s = self._split(kwargs)
        span, token = open_span(self.name, "Function", values)
        try:
            answer = self._call(values, timeout_s=timeout_s)
        except Exception as error:
            close_span(span, token, error={"type": type(error).__name__, "message": str(error)})
            raise

        close_span(span, token, output=None if isinstance(answer, Iterator) else answer)
        return answer

    def _split(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
        timeout_s = kwargs.get("timeout")
        values = {key: value for key, value in kwargs.items() if key != "timeout" or "timeout" in self._flow.inputs}
        return values, timeout_s if isinstance(timeout_s, int | float) else None

    def render(self, *args: Any, **kwargs: Any) -> str:
        """The messages that a call would send, as Python text; the rendered text of a completion prompty."""
        _refuse_positional(args)
        return self._call.render(kwargs)

    def estimate_token_count(self, *args: Any, **kwargs: Any) -> int:
        """Tokens of the rendered prompt plus `max_tokens`."""
        _refuse_positional(args)
        return self._call.estimate_token_count(kwargs)


class AsyncPrompty(Prompty):
    """A prompty whose call is awaited; a stream becomes an async generator."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See `Prompty.__call__`."""
        answer = await asyncio.to_thread(self._ask, args, kwargs)
        return iterate_async(answer) if isinstance(answer, Iterator) else answer


async def iterate_async(items: Iterator[Any]) -> AsyncIterator[Any]:
    """An async generator over a blocking iterator."""
    while (item := await asyncio.to_thread(next, items, _END)) is not _END:
        yield item


def _refuse_positional(args: tuple[Any, ...]) -> None:
    if args:
        raise UserErrorException(
            "Prompty can only be called with keyword arguments.", hint="Write prompty(question='...')."
        )


def _with_plain_model(overrides: dict[str, Any]) -> dict[str, Any]:
    """`response=` and `api=` at the top level belong to `model`."""
    inner = {key: overrides[key] for key in ("response", "api") if key in overrides}
    if not inner:
        return overrides

    rest = {key: value for key, value in overrides.items() if key not in inner}
    return {**rest, "model": {**dict(rest.get("model") or {}), **inner}}
