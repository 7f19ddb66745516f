"""Values of a connection as they are used: `${env:NAME}` resolved and `<CONNECTION>_<KEY>` overrides applied."""

from __future__ import annotations

import re
from typing import Any

from promptflow_lite.connections.model import Connection
from promptflow_lite.connections.secrets import remember_secrets
from promptflow_lite.errors import EnvironmentVariableNotFoundError
from promptflow_lite.settings import environ

_ENV_REFERENCE = re.compile(r"\$\{env:([^}]*)\}")


def resolve_connection(connection: Connection) -> Connection:
    """A copy with every value final; the stored connection keeps its references.

    Raises:
        EnvironmentVariableNotFoundError: a value refers to a variable that is not set.
    """
    override_names = {_override_name(connection.name, key): key for key in connection.keys()} if connection.name else {}
    overrides = {key: environ()[name] for name, key in override_names.items() if name in environ()}
    configs = {key: _final(connection, key, value, overrides) for key, value in connection.configs.items()}
    secrets = {key: _final(connection, key, value, overrides) for key, value in connection.secrets.items()}
    for key, value in overrides.items():
        (secrets if connection.is_secret(key) else configs)[key] = value

    resolved = connection.copy_with(configs, secrets)
    remember_secrets(resolved)
    return resolved


def override_variable(connection_name: str, key: str) -> str:
    """The environment variable that replaces one value of a connection: `my conn`, `api_key` -> `MY_CONN_API_KEY`."""
    return _override_name(connection_name, key)


def _override_name(connection_name: str | None, key: str) -> str:
    return f"{connection_name}_{key}".replace(" ", "_").upper()


def _final(connection: Connection, key: str, value: Any, overrides: dict[str, str]) -> Any:
    if key in overrides or not isinstance(value, str) or "${env:" not in value:
        return value

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1).strip()
        if name not in environ():
            raise EnvironmentVariableNotFoundError(
                f"Environment variable {name!r} is not found; connection {connection.name!r} takes {key!r} from it.",
                hint=f"Set {name}, or {_override_name(connection.name, key)} to give the value directly.",
                variable=name,
                connection=connection.name,
                key=key,
            )

        return environ()[name]

    return _ENV_REFERENCE.sub(replacement, value)
