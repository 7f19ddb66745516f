"""Connections as plain dicts: for the database with encrypted secrets, and for people with none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from promptflow_lite._utils.clock import iso_utc
from promptflow_lite.connections.cipher import Cipher
from promptflow_lite.connections.custom import CUSTOM_MODULE, CUSTOM_TYPE, CustomConnection, CustomStrongTypeConnection
from promptflow_lite.connections.kinds import TYPE_BY_YAML
from promptflow_lite.connections.model import SCRUBBED, Connection
from promptflow_lite.errors import UserErrorException, ValidationException

Record = dict[str, Any]
"""Keys `name`, `type`, `module`, `configs`, `secrets` (encrypted), `created_on`, `modified_on` (epoch seconds)."""

NO_CHANGE = "<no-change>"
USER_INPUT = "<user-input>"


def to_record(connection: Connection, cipher: Cipher, *, previous: Record | None = None) -> Record:
    """The stored form.

    Args:
        connection: What to store; its secrets must be final (see `merge_placeholders`).
        cipher: Encrypts the secrets.
        previous: The record that this one replaces; the time of its creation stays.
    """
    now = time.time()
    return {
        "name": connection.name,
        "type": type_name(connection),
        "module": connection.module,
        "configs": {key: value for key, value in _stored_configs(connection).items() if value is not None},
        "secrets": {key: cipher.encrypt(str(value)) for key, value in connection.secrets.items() if value is not None},
        "created_on": (previous or {}).get("created_on") or now,
        "modified_on": now,
    }


def _stored_configs(connection: Connection) -> dict[str, Any]:
    if not isinstance(connection, CustomStrongTypeConnection):
        return connection.configs

    return {**connection.configs, CUSTOM_TYPE: type(connection).__name__, CUSTOM_MODULE: type(connection).__module__}


def from_record(record: Mapping[str, Any], cipher: Cipher) -> Connection:
    """The connection behind a stored record, secrets included.

    Raises:
        DecryptConnectionError: the key file does not fit.
        UserErrorException: the record's type is unknown.
    """
    name = record["name"]
    secrets = {
        key: cipher.decrypt(token, what=f"secret {key!r} of connection {name!r}")
        for key, token in record["secrets"].items()
    }
    return from_parts(record["type"], name, record["configs"], secrets, module=record.get("module"))


def from_parts(
    yaml_type: str,
    name: str | None,
    configs: Mapping[str, Any],
    secrets: Mapping[str, Any],
    *,
    module: str | None = None,
) -> Connection:
    """A connection of the kind that `yaml_type` names."""
    cls = TYPE_BY_YAML.get(yaml_type)
    if cls is None:
        raise UserErrorException(
            f"Connection {name!r} has the unknown type {yaml_type!r}.",
            hint=f"Known types: {', '.join(sorted(TYPE_BY_YAML))}.",
        )

    if cls is CustomConnection:
        return CustomConnection(dict(secrets), dict(configs), name=name, module=module)

    return cls.from_values({**configs, **secrets}, name=name, module=module)


def reencrypt_record(record: Record, cipher: Cipher) -> Record:
    """The record with its secrets under the cipher's newest key."""
    return {**record, "secrets": {key: cipher.reencrypt(token) for key, token in record["secrets"].items()}}


def to_public(connection: Connection, *, created: float | None = None, modified: float | None = None) -> dict[str, Any]:
    """What `show` and `list` print: every key of the kind, secrets as `******`."""
    shown: dict[str, Any] = {}
    if "auth_mode" in connection.config_keys:
        shown["auth_mode"] = connection.configs.get("auth_mode")

    shown.update(
        name=connection.name,
        module=connection.module,
        created_date=iso_utc(created),
        last_modified_date=iso_utc(modified),
        type=type_name(connection),
    )
    if isinstance(connection, CustomConnection | CustomStrongTypeConnection):
        shown["configs"] = dict(connection.configs)
        shown["secrets"] = dict.fromkeys(connection.secrets, SCRUBBED)
        return shown

    for key in connection.keys():
        if connection.is_secret(key):
            shown[key] = SCRUBBED if connection.secrets.get(key) is not None else None
        elif key != "auth_mode":
            shown[key] = connection.configs.get(key)

    return shown


def public_from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """`to_public` of a stored record; needs no key, so it works when the key file is lost."""
    scrubbed = dict.fromkeys(record["secrets"], SCRUBBED)
    connection = from_parts(record["type"], record["name"], record["configs"], scrubbed, module=record.get("module"))
    return to_public(connection, created=record.get("created_on"), modified=record.get("modified_on"))


def type_name(connection: Connection) -> str:
    """The `type` of the connection's yaml."""
    if not connection.yaml_type:
        raise ValidationException(
            f"A {type(connection).__name__} cannot be stored.", hint="Use a custom connection for this service."
        )

    return connection.yaml_type


def is_placeholder(value: Any) -> bool:
    """Whether a given secret stands for "not given": empty, only `*`, `<no-change>` or `<user-input>`."""
    return value is None or (
        isinstance(value, str) and (not value.strip("*").strip() or value in (NO_CHANGE, USER_INPUT))
    )


def secrets_to_ask(connection: Connection, *, is_update: bool) -> list[str]:
    """Secrets that a person must type in: all placeholders when creating, `<user-input>` ones when updating."""
    return [
        key
        for key, value in connection.secrets.items()
        if is_placeholder(value)
        and (value == USER_INPUT if is_update else key in connection.required_keys or value is not None)
    ]


def merge_placeholders(connection: Connection, existing: Connection | None) -> Connection:
    """The connection with the existing one's secrets where only placeholders are given.

    Raises:
        ValidationException: a secret is `<user-input>`, or a placeholder has nothing to keep.
    """
    merged = dict(connection.secrets)
    for key, value in connection.secrets.items():
        if value is None or not is_placeholder(value):
            continue

        kept = existing.secrets.get(key) if existing is not None else None
        if value == USER_INPUT or kept is None:
            raise ValidationException(
                f"Secret {key!r} of connection {connection.name!r} is a placeholder, but no value is known.",
                hint=f"Give the value of {key!r}; '{NO_CHANGE}' keeps the value of an existing connection only.",
                key=key,
            )

        merged[key] = kept

    if existing is not None:
        for key in connection.secret_keys:
            if merged.get(key) is None and existing.secrets.get(key) is not None:
                merged[key] = existing.secrets[key]

    return connection.copy_with(dict(connection.configs), merged)
