"""Free-form connections, and the kinds that users define on top of them."""

from __future__ import annotations

import builtins
import importlib
import inspect
from typing import Any

from promptflow_lite.connections.model import Connection
from promptflow_lite.errors import ValidationException

CUSTOM_TYPE = "promptflow.connection.custom_type"
CUSTOM_MODULE = "promptflow.connection.module"
CUSTOM_PACKAGE = "promptflow.connection.package"
CUSTOM_PACKAGE_VERSION = "promptflow.connection.package_version"
META_KEYS = (CUSTOM_TYPE, CUSTOM_MODULE, CUSTOM_PACKAGE, CUSTOM_PACKAGE_VERSION)
"""Configs of a custom connection that name its class; they are no settings of the service."""


class CustomConnection(Connection):
    """Free-form configs and secrets."""

    yaml_type = "custom"
    type = "Custom"

    def __init__(
        self,
        secrets: dict[str, Any] | None = None,
        configs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__(name=name, module=module, configs=configs, secrets=secrets)

    @property
    def custom_type(self) -> str | None:
        """Class name of the strong type that this connection stands for, if any."""
        return self.configs.get(CUSTOM_TYPE)

    def to_strong_type(
        self, strong_type: builtins.type[CustomStrongTypeConnection] | None = None
    ) -> CustomStrongTypeConnection:
        """This connection as an object of a custom strong type; by default of the class that its own configs name.

        Raises:
            ValidationException: they name none, or the class cannot be imported.
        """
        if strong_type is None:
            strong_type = load_strong_type(self.configs.get(CUSTOM_MODULE), self.custom_type)

        configs = {key: value for key, value in self.configs.items() if key not in META_KEYS}
        return strong_type(secrets=dict(self.secrets), configs=configs, name=self.name)


class CustomStrongTypeConnection(Connection):
    """Base of users' own kinds: annotated attributes, `Secret` ones are secrets.

    Reads give stored values; a default in the class body does not hide them.
    """

    yaml_type = "custom"
    type = "Custom"

    def __init__(
        self,
        secrets: dict[str, Any] | None = None,
        configs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        module: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__(name=name, module=module, configs=configs, secrets=secrets)

    def __getattribute__(self, key: str) -> Any:
        if not key.startswith("_") and key not in ("secrets", "configs"):
            own = object.__getattribute__(self, "__dict__")
            for values in (own.get("secrets", {}), own.get("configs", {})):
                if key in values:
                    return values[key]

        return object.__getattribute__(self, key)

    @classmethod
    def declared_keys(cls) -> dict[str, bool]:
        """Annotated key -> whether it is secret."""
        keys: dict[str, bool] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, CustomStrongTypeConnection) and base is not CustomStrongTypeConnection:
                for key, annotation in inspect.get_annotations(base).items():
                    keys[key] = getattr(annotation, "__name__", str(annotation)).split(".")[-1] == "Secret"

        return keys


def load_strong_type(module: str | None, class_name: str | None) -> type[CustomStrongTypeConnection]:
    """Import a user's connection class.

    Raises:
        ValidationException: the names are missing, or there is no such class.
    """
    try:
        found = getattr(importlib.import_module(module or ""), class_name or "", None)
    except (ImportError, ValueError) as error:
        raise ValidationException(
            f"The module {module!r} of custom connection type {class_name!r} cannot be imported: {error}",
            hint="Install the package that defines this connection type.",
            module=module,
            custom_type=class_name,
        ) from error

    if not (isinstance(found, type) and issubclass(found, CustomStrongTypeConnection)):
        raise ValidationException(
            f"Module {module!r} has no custom connection type {class_name!r}.",
            hint="The class must derive from CustomStrongTypeConnection.",
        )

    return found
