"""What a connection is: the address, credentials and settings of a service that a flow talks to, as an object.

A connection never shows its secrets: `repr`, `str`, formatting and the JSON form carry its name only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

SCRUBBED = "******"
"""What stands for a secret wherever one would be shown."""


class Secret(str):
    """Text that must not be shown; marks secret keys of custom strong-type connections."""

    __slots__ = ()

    def __repr__(self) -> str:
        return SCRUBBED


class Connection:
    """Base of all kinds: named configs and secrets, reachable as attributes, items and `{**connection}`.

    Args:
        name: The name under which it is stored; None for one made in code.
        configs: Settings that may be shown.
        secrets: Values that may not.
    """

    yaml_type: ClassVar[str] = ""
    type: ClassVar[str] = ""
    default_module: ClassVar[str] = "promptflow.connections"
    config_keys: ClassVar[tuple[str, ...]] = ()
    secret_keys: ClassVar[tuple[str, ...]] = ()
    required_keys: ClassVar[tuple[str, ...]] = ()
    optional_keys: ClassVar[tuple[str, ...]] = ()
    """Settings of ours that are there only when somebody sets them."""

    name: str | None
    module: str
    configs: dict[str, Any]
    secrets: dict[str, Any]

    def __init__(
        self,
        *,
        name: str | None = None,
        module: str | None = None,
        configs: dict[str, Any] | None = None,
        secrets: dict[str, Any] | None = None,
    ) -> None:
        self.__dict__.update(
            name=name, module=module or self.default_module, configs=dict(configs or {}), secrets=dict(secrets or {})
        )

    def __getattr__(self, key: str) -> Any:
        if not key.startswith("__"):
            for values in (self.__dict__.get("secrets", {}), self.__dict__.get("configs", {})):
                if key in values:
                    return values[key]

            if key in self.config_keys or key in self.secret_keys or key in self.optional_keys:
                return None

        raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}")

    def __setattr__(self, key: str, value: Any) -> None:
        if key in self.secret_keys or key in self.__dict__.get("secrets", {}):
            self.secrets[key] = value
        elif key in (*self.config_keys, *self.optional_keys) or key in self.__dict__.get("configs", {}):
            self.configs[key] = value
        else:
            object.__setattr__(self, key, value)

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise KeyError(key)

        return self.secrets.get(key, self.configs.get(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __jsonable__(self) -> str:
        return self.name or type(self).__name__

    def keys(self) -> list[str]:
        """Names of all settings, secrets last."""
        declared = [*self.config_keys, *(k for k in self.configs if k not in self.config_keys)]
        secret = [*self.secret_keys, *(k for k in self.secrets if k not in self.secret_keys)]
        return [*declared, *secret]

    def is_secret(self, key: str) -> bool:
        """Whether the setting may not be shown."""
        return key in self.secret_keys or key in self.secrets

    def copy_with(self, configs: dict[str, Any], secrets: dict[str, Any]) -> Connection:
        """The same connection with other values."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.__dict__.update(configs=configs, secrets=secrets)
        return twin

    @classmethod
    def from_values(cls, values: dict[str, Any], *, name: str | None = None, module: str | None = None) -> Connection:
        """A connection of this kind from its settings; unknown keys are dropped, None means unset."""
        connection = cls.__new__(cls)
        Connection.__init__(connection, name=name, module=module)
        cls._set_defaults(connection)
        for key, value in values.items():
            if value is not None and key in (*cls.config_keys, *cls.secret_keys, *cls.optional_keys):
                setattr(connection, key, value)

        return connection

    @classmethod
    def _set_defaults(cls, connection: Connection) -> None:
        """Fill in the kind's default values."""
        for key, value in cls.defaults().items():
            setattr(connection, key, value)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Settings that the kind has when nobody sets them."""
        return {}
