"""Content keys: a stable digest of values or files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from promptflow_lite._utils.jsonable import dumps_bytes


def content_key(*parts: Any) -> str:
    """SHA-256 (hex) of the JSON form of the parts; mappings are compared by content, not by key order."""
    normal = orjson.loads(dumps_bytes(list(parts)))
    return hashlib.sha256(orjson.dumps(normal, option=orjson.OPT_SORT_KEYS)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
