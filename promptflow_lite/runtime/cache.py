"""Cached node outputs: the same code, inputs and model give the recorded output without running the node again.

Entries are files named by their content key, in `PFL_HOME/cache`; several processes may share them.
"""

from __future__ import annotations

import ast
import inspect
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promptflow_lite._utils.hashing import content_key, file_digest
from promptflow_lite._utils.jsonable import dumps_bytes, dumps_strict, loads
from promptflow_lite.connections import Connection
from promptflow_lite.flow import PromptResult
from promptflow_lite.runtime.aio import run_coroutine
from promptflow_lite.settings import home
from promptflow_lite.tools import ResolvedTool
from promptflow_lite.tracing import current_scope

logger = logging.getLogger(__name__)

_PLAIN_TYPES = (str, int, float, bool, type(None), list, dict)
_MISS = object()


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One cached output, as `pfl cache show` lists it."""

    key: str
    node: str
    tool: str
    size_bytes: int
    created: float


class NodeCache:
    """Cached outputs below a folder.

    Thread: safe, also between processes; an entry appears whole or not at all.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where entries are; `PFL_HOME/cache` unless given."""
        return self._folder or home() / "cache"

    def get(self, key: str) -> Any:
        """The cached output, or `MISS`."""
        try:
            return loads(self._path(key).read_bytes())["output"]
        except (OSError, ValueError, KeyError, TypeError):
            return _MISS

    def put(self, key: str, output: Any, *, node: str, tool: str) -> bool:
        """Keep an output; False when it would not read back as it is, or cannot be written: it is still an output."""
        text = _exact_json(output)
        if text is None:
            return False

        head = dumps_bytes({"node": node, "tool": tool})[:-1]
        try:
            self._write(self._path(key), head + b',"output":' + text.encode() + b"}")
        except OSError as error:
            logger.warning("The output of node %r is not cached: %s", node, error)
            return False

        return True

    @staticmethod
    def _write(target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, target)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def entries(self) -> Iterator[CacheEntry]:
        """Every entry."""
        for path in sorted(self.folder.glob("??/*.json")):
            try:
                data = loads(path.read_bytes())
                stat = path.stat()
            except (OSError, ValueError):
                continue

            yield CacheEntry(path.stem, data.get("node", ""), data.get("tool", ""), stat.st_size, stat.st_mtime)

    def clear(self, node: str | None = None) -> int:
        """Remove all entries, or those of one node; returns how many."""
        removed = 0
        for entry in list(self.entries()):
            if node is None or entry.node == node:
                self._path(entry.key).unlink(missing_ok=True)
                removed += 1
        if node is None:
            shutil.rmtree(self.folder, ignore_errors=True)

        return removed

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def cached_tool(node: str, tool: ResolvedTool, root: Path, cache: NodeCache | None = None) -> ResolvedTool:
    """The tool, answering from the cache where it can.

    Args:
        node: The node's name, to tell entries apart in lists.
        tool: What to cache; its `cache_parts` and code are part of every key.
        root: The flow's folder; modules below it that the tool's file imports count as its code.
        cache: Where outputs are kept.
    """
    store = cache or NodeCache()
    parts = [tool.name, *tool.cache_parts, *code_digests(tool.user_file, root)]

    def call(**arguments: Any) -> Any:
        key = _key(parts, arguments, tool.stream_parameter)
        found = _MISS if key is None else store.get(key)
        if found is not _MISS:
            _mark_cached()
            return found

        output = tool.call(**arguments)
        if inspect.iscoroutine(output):
            output = run_coroutine(output)

        if key is not None:
            store.put(key, output, node=node, tool=tool.name)

        return output

    return replace(tool, call=call, is_async=False)


def _mark_cached() -> None:
    scope = current_scope()
    if scope is not None:
        scope.is_cached = True


def _key(parts: list[Any], arguments: Mapping[str, Any], stream_parameter: str | None) -> str | None:
    """The content key of a call; None when an argument cannot be compared by content."""
    values = {name: _comparable(value) for name, value in arguments.items() if name != stream_parameter}
    if any(value is _MISS for value in values.values()):
        return None

    return content_key(*parts, values)


def _comparable(value: Any) -> Any:
    if isinstance(value, Connection):
        return [type(value).__name__, value.name, value.configs]

    if isinstance(value, Iterator):
        return _MISS

    if isinstance(value, PromptResult):
        return [str(value), value.escaped]

    if isinstance(value, str) or hasattr(value, "__jsonable__"):
        return value

    return _MISS if _exact_json(value) is None else value


def _exact_json(value: Any) -> str | None:
    """JSON that reads back as an equal value of the same types; None when there is none."""
    if type(value) not in _PLAIN_TYPES:
        return None

    try:
        text = dumps_strict(value)
        return text if loads(text) == value else None
    except (TypeError, ValueError, RecursionError):
        return None


def code_digests(file: Path | None, root: Path) -> list[str]:
    """Digests of the modules below `root` that a Python file imports, directly or not; read without running them."""
    if file is None or file.suffix != ".py":
        return []

    seen: dict[Path, str] = {}
    waiting = [file]
    while waiting:
        for module in _local_imports(waiting.pop(), root):
            if module not in seen:
                seen[module] = file_digest(module)
                waiting.append(module)
    return [f"{path.relative_to(root)}:{digest}" for path, digest in sorted(seen.items())]


def _local_imports(file: Path, root: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return

    for statement in ast.walk(tree):
        names: list[str] = []
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            names = [statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)]
        for name in names:
            base = root.joinpath(*name.split("."))
            for candidate in (base.with_suffix(".py"), base / "__init__.py"):
                if candidate.is_file():
                    yield candidate
