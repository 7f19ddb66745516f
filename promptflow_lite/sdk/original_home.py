"""The folder where the original keeps connections and runs: read, never written (contract 7.2 and 11.1)."""

from __future__ import annotations

import importlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite._utils.text import truncate
from promptflow_lite.connections import CONNECTION_TYPES, Connection, from_parts
from promptflow_lite.errors import Location, PromptflowException, StoreError
from promptflow_lite.records import RunRecord
from promptflow_lite.sdk.run_import import run_of
from promptflow_lite.settings import env

_KEYRING_SERVICE, _KEYRING_USER = "promptflow", "encryption_key"


def original_home() -> Path:
    """Where the original keeps its state: `PF_HOME_DIRECTORY`, else `~/.promptflow`."""
    return Path(env("PF_HOME_DIRECTORY") or "~/.promptflow").expanduser().absolute()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundConnection:
    """A connection of the original."""

    connection: Connection
    """With a `${env:NAME}` reference in place of each secret that could not be read."""
    missing: dict[str, str] = field(default_factory=dict)
    """Secret key -> the environment variable that its reference names."""


class OriginalHome:
    """Connections and runs in a folder of the original.

    Args:
        folder: The folder.
        key: Its encryption key; asked from the system keyring when not given.
    """

    def __init__(self, folder: Path, *, key: str | None = None) -> None:
        self.folder = folder
        self._key = key

    @property
    def database(self) -> Path:
        return self.folder / "pf.sqlite"

    def connections(self) -> Iterator[FoundConnection | PromptflowException]:
        """Every connection; the error in place of one that cannot be understood.

        Raises:
            StoreError: the database cannot be read.
        """
        key = self._key or _key_of_keyring()
        for row in self._rows("connection"):
            try:
                yield _connection(row, key)
            except PromptflowException as error:
                yield error

    def runs(self) -> Iterator[tuple[RunRecord, Path]]:
        """Every run that has a folder, oldest first, with that folder.

        Raises:
            StoreError: the database cannot be read.
        """
        for row in sorted(self._rows("run_info"), key=lambda row: str(row.get("created_on"))):
            folder = self._run_folder(row)
            if folder is not None:
                yield run_of(row, folder, fallback_name=folder.name), folder

    def _run_folder(self, row: Mapping[str, Any]) -> Path | None:
        name = str(row.get("name"))
        recorded = _loads(row.get("properties")).get("output_path")
        for folder in (Path(str(recorded)) if recorded else None, self.folder / ".runs" / name):
            if folder is not None and folder.is_dir():
                return folder

        return None

    def _rows(self, table: str) -> list[dict[str, Any]]:
        if not self.database.is_file():
            return []

        try:
            uri = f"{self.database.as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as database:
                database.row_factory = sqlite3.Row
                exists = database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
                query = "SELECT * FROM connection" if table == "connection" else "SELECT * FROM run_info"
                return [dict(row) for row in database.execute(query)] if exists else []
        except sqlite3.Error as error:
            raise StoreError(
                f"The original's database cannot be read: {error}.",
                hint="Is it a database of prompt flow, and is no other program writing to it?",
                where=Location(str(self.database)),
            ) from error


def _connection(row: Mapping[str, Any], key: str | None) -> FoundConnection:
    name = str(row.get("connectionName"))
    cls = _class_of(str(row.get("connectionType")))
    configs: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for item, value in _loads(row.get("configs")).items():
        target = secrets if item in cls.secret_keys else configs
        if value is not None:
            target[item] = value

    for item, raw in _loads(row.get("customConfigs")).items():
        custom = raw if isinstance(raw, dict) else {"value": raw}
        is_secret = custom.get("configValueType") == "Secret"
        if is_secret:
            secrets[item] = str(custom.get("value") or "")
        else:
            configs[item] = custom.get("value")

    missing: dict[str, str] = {}
    for item, token in secrets.items():
        plain = _decrypt(token, key)
        if plain is None:
            missing[item] = _variable(name, item)
            plain = f"${{env:{missing[item]}}}"

        secrets[item] = plain

    connection = from_parts(cls.yaml_type, name, configs, secrets)
    return FoundConnection(connection=connection, missing=missing)


def _class_of(kind: str) -> type[Connection]:
    for cls in CONNECTION_TYPES:
        if kind.lower() in (cls.type.lower(), cls.yaml_type, cls.__name__.lower()):
            return cls

    raise StoreError(
        f"The connection type {truncate(kind, 40)!r} is unknown.",
        hint="Create this connection by hand from a yaml file.",
    )


def _variable(connection: str, key: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in f"{connection}_{key}").upper()


def _key_of_keyring() -> str | None:
    try:
        key = importlib.import_module("keyring").get_password(_KEYRING_SERVICE, _KEYRING_USER)
    except Exception:  # no keyring package, no backend, or one that refuses: all mean that there is no key
        return None

    return key if isinstance(key, str) else None


def _decrypt(token: str, key: str | None) -> str | None:
    if key is None or not token:
        return None

    from cryptography.fernet import Fernet, InvalidToken

    try:
        return Fernet(key.encode()).decrypt(token.encode()).decode()
    except (InvalidToken, ValueError):
        return None


def _loads(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}

    return value if isinstance(value, dict) else {}
