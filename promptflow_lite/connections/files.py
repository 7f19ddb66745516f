"""Connections from files: a yaml description, or an `.env` file whose entries are all secrets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.connections.custom import (
    CUSTOM_MODULE,
    CUSTOM_PACKAGE,
    CUSTOM_PACKAGE_VERSION,
    CUSTOM_TYPE,
    CustomConnection,
    load_strong_type,
)
from promptflow_lite.connections.kinds import TYPE_BY_YAML
from promptflow_lite.connections.model import Connection
from promptflow_lite.errors import (
    ConnectionNameNotSetError,
    FlowSyntaxError,
    Location,
    UserErrorException,
    ValidationException,
)
from promptflow_lite.flow.yaml_io import parse_yaml, read_text

logger = logging.getLogger(__name__)

_COMMON_KEYS = {"$schema", "name", "type", "module", "created_date", "last_modified_date"}
_STRONG_TYPE_KEYS = {
    "custom_type": CUSTOM_TYPE,
    "module": CUSTOM_MODULE,
    "package": CUSTOM_PACKAGE,
    "package_version": CUSTOM_PACKAGE_VERSION,
}


def load_connection_file(path: Path, *, name: str | None = None, overrides: dict[str, Any] | None = None) -> Connection:
    """The connection that a file describes.

    Args:
        path: A yaml file, or a file whose name ends with `.env`.
        name: Its name; required for `.env` files, wins over the one in yaml.
        overrides: Dotted keys (`api_key`, `configs.a`, `secrets.b`) to set; ignored for `.env` files.

    Raises:
        UserErrorException: the file is missing or unreadable.
        ValidationException: what it says is no connection.
        ConnectionNameNotSetError: nobody gave a name.
    """
    if not path.is_file():
        raise UserErrorException(f"File {str(path)!r} does not exist.", hint="Check the path of the connection file.")

    if path.name.endswith(".env"):
        return _from_env_file(path, name)

    data = _read_yaml(path)
    for key, value in (overrides or {}).items():
        _set_dotted(data, key, value)

    if name is not None:
        data["name"] = name

    return connection_from_data(data, where=Location(str(path)))


def connection_from_data(data: dict[str, Any], *, where: Location | None = None) -> Connection:
    """The connection that a yaml mapping describes; see `load_connection_file` for the errors."""
    yaml_type = str(data.get("type") or "").lower()
    if not yaml_type:
        raise ValidationException(
            "The connection has no type.",
            hint=f"Add `type:` with one of {', '.join(sorted(TYPE_BY_YAML))}.",
            where=where,
        )

    cls = TYPE_BY_YAML.get(yaml_type)
    if cls is None:
        raise ValidationException(
            f"Connection type {yaml_type!r} is unknown.", hint=did_you_mean(yaml_type, TYPE_BY_YAML), where=where
        )

    name = data.get("name")
    if not name:
        raise ConnectionNameNotSetError(
            "The connection has no name.", hint="Add `name:` to the file or pass --name.", where=where
        )

    if cls is CustomConnection:
        return _custom(data, str(name), where)

    return _typed(cls, data, str(name), where)


def _typed(cls: type[Connection], data: dict[str, Any], name: str, where: Location | None) -> Connection:
    known = {*cls.config_keys, *cls.secret_keys, *cls.optional_keys}
    for key in data:
        if key not in known and key not in _COMMON_KEYS:
            logger.warning(
                "Connection %r of type %r has no key %r, it is ignored. %s",
                name,
                cls.yaml_type,
                key,
                did_you_mean(str(key), known),
            )

    _check_scalars(name, {key: data[key] for key in known if key in data}, where)
    auth_mode = _text(data.get("auth_mode")) or "key"
    if "auth_mode" in cls.config_keys and auth_mode not in ("key", "meid_token"):
        raise ValidationException(
            f"auth_mode {auth_mode!r} of connection {name!r} is not valid.",
            hint="Use 'key' or 'meid_token'.",
            where=where,
        )

    required = set(cls.required_keys)
    if "auth_mode" in cls.config_keys and auth_mode == "key":
        required |= set(cls.secret_keys)

    # An empty secret in a file is a placeholder: the caller asks for it or keeps the stored one.
    missing = [key for key in sorted(required) if key not in data or (not data[key] and key not in cls.secret_keys)]
    if missing:
        raise ValidationException(
            f"Connection {name!r} of type {cls.yaml_type!r} lacks {', '.join(map(repr, missing))}.",
            hint=f"Add `{missing[0]}:` to the connection.",
            where=where,
            missing=missing,
        )

    values = {key: _text(value) for key, value in data.items() if key in known}
    secrets = {key: values.get(key) or "" for key in cls.secret_keys if key in data}
    return cls.from_values({**values, **secrets}, name=name, module=_text(data.get("module")))


def _custom(data: dict[str, Any], name: str, where: Location | None) -> Connection:
    sections: dict[str, dict[str, Any]] = {}
    for section in ("configs", "secrets"):
        value = data.get(section)
        if section == "secrets" and section not in data:
            raise ValidationException(
                f"Custom connection {name!r} has no secrets.",
                hint="Add `secrets:`; it may be an empty mapping.",
                where=where,
            )

        if value not in (None, "") and not isinstance(value, dict):
            raise ValidationException(
                f"{section!r} of connection {name!r} must be a mapping.",
                hint=f"Write `{section}:` as key: value.",
                where=where,
            )

        sections[section] = dict(value or {})
        _check_scalars(name, sections[section], where)

    configs = {key: _text(value) for key, value in sections["configs"].items()}
    secrets = {key: _text(value) or "" for key, value in sections["secrets"].items()}
    if data.get("custom_type"):
        configs.update(_strong_type_configs(data, name, configs, secrets, where))

    # A strong type's `module` says where its class is; the connection object itself stays an ordinary custom one.
    module = None if data.get("custom_type") else _text(data.get("module"))
    return CustomConnection(secrets, configs, name=name, module=module)


def _strong_type_configs(
    data: dict[str, Any], name: str, configs: dict[str, Any], secrets: dict[str, Any], where: Location | None
) -> dict[str, str]:
    missing = [key for key in _STRONG_TYPE_KEYS if not data.get(key)]
    if missing:
        raise ValidationException(
            f"Connection {name!r} names a custom_type but lacks {', '.join(map(repr, missing))}.",
            hint="A custom type needs custom_type, module, package and package_version.",
            where=where,
        )

    declared = load_strong_type(str(data["module"]), str(data["custom_type"])).declared_keys()
    for section, is_secret, values in (("config", False, configs), ("secret", True, secrets)):
        for key in values:
            if key not in declared or declared[key] != is_secret:
                raise ValidationException(
                    f"Invalid {section} key {key}, please check the schema.",
                    hint=did_you_mean(key, [k for k, secret in declared.items() if secret == is_secret]),
                    where=where,
                    key=key,
                )

    return {full: str(data[short]) for short, full in _STRONG_TYPE_KEYS.items()}


def _check_scalars(name: str, values: dict[str, Any], where: Location | None) -> None:
    for key, value in values.items():
        if isinstance(value, dict | list):
            raise ValidationException(
                f"The value of {key!r} of connection {name!r} must be text.",
                hint="Connection values are plain text.",
                where=where,
            )


def _from_env_file(path: Path, name: str | None) -> Connection:
    from dotenv import dotenv_values

    if not name:
        raise ConnectionNameNotSetError(
            f"A connection from {path.name!r} needs a name.", hint="Pass --name.", where=Location(str(path))
        )

    try:
        values = dotenv_values(path, interpolate=False, encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserErrorException(f"File {str(path)!r} is not UTF-8 text.", hint="Save it as UTF-8.") from error

    entries = {key: value for key, value in values.items() if value}
    if not entries:
        raise ValidationException(
            f"File {str(path)!r} holds no `KEY=value` entry.",
            hint="Every entry becomes a secret.",
            where=Location(str(path)),
        )

    return CustomConnection(entries, {}, name=name)


def _read_yaml(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        data = parse_yaml(text, path=str(path), as_written=True).value
    except FlowSyntaxError as error:
        # What the parser says may quote a secret, so only the place and the hint are passed on.
        raise FlowSyntaxError(
            f"{path.name} is not valid YAML.", hint=error.hint or "Correct the syntax.", where=error.where
        ) from None

    if not isinstance(data, dict):
        raise ValidationException(
            f"{path.name} must hold a mapping.", hint="Start with `name:` and `type:`.", where=Location(str(path))
        )

    return data


def _set_dotted(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".", 1) if key.startswith(("configs.", "secrets.")) else (key,)
    target = data
    for parent in parents:
        if not isinstance(target.get(parent), dict):
            target[parent] = {}

        target = target[parent]

    target[last] = value


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
