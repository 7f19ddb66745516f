"""Settings that users keep, with their values checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import InvalidConfigValue
from promptflow_lite.settings import env, set_env
from promptflow_lite.store import ConfigFiles


def _truth(text: str) -> bool:
    known = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    return known[text.lower()]


def _one_of(*choices: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in choices:
            raise ValueError

        return text

    return check


_KEYS: dict[str, tuple[Callable[[str], Any], str]] = {
    "connection.provider": (_one_of("local"), "'local'"),
    "run.output_path": (str, "a folder, which may contain ${flow_directory}"),
    "trace.destination": (_one_of("none", "local"), "'none' or 'local'"),
    "service.host": (str, "a host name"),
    "model.default": (str, "a model name"),
    "connection.default": (str, "the name of a connection"),
    "telemetry.enabled": (_truth, "true or false"),
    "user_agent": (str, "a text"),
    "enable_internal_features": (_truth, "true or false"),
    "cli.installation_id": (str, "a text"),
}
"""Key -> how its text becomes a value, and what is allowed. Telemetry is accepted and never sent."""


_VARIABLES = {"model.default": "PFL_DEFAULT_MODEL", "connection.default": "PFL_DEFAULT_CONNECTION"}
"""Settings that the layers below read from the environment, where a variable that is already set wins."""


class ConfigOperations:
    """Read and change settings; a project's `pf.yaml` wins over the global file."""

    def __init__(self, files: ConfigFiles | None = None) -> None:
        self._files = files or ConfigFiles()

    def show(self) -> dict[str, Any]:
        """Everything that is set, nested."""
        return self._files.show()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key."""
        return self._files.get(key, default)

    def apply(self) -> None:
        """Put the default model and connection where nodes without a connection look for them."""
        found = {variable: self.get(key) for key, variable in _VARIABLES.items()}
        set_env({variable: str(value) for variable, value in found.items() if value}, overwrite=False)

    def set(self, key: str, value: str, *, folder: str | Path | None = None) -> None:
        """Set a key globally, or in the `pf.yaml` of a folder; an empty value removes it.

        Raises:
            InvalidConfigValue: the key is unknown, or the value does not fit it.
        """
        if key not in _KEYS:
            raise InvalidConfigValue(f"There is no setting {key!r}.", hint=did_you_mean(key, _KEYS))

        convert, allowed = _KEYS[key]
        try:
            converted = convert(value) if value else None
        except (ValueError, KeyError):
            raise InvalidConfigValue(f"{key} cannot be {value!r}.", hint=f"Use {allowed}.") from None
        if key == "run.output_path" and str(converted).strip("/") == "${flow_directory}":
            raise InvalidConfigValue(
                "Runs cannot be written into the flow's own folder.",
                hint="Use a folder inside: ${flow_directory}/.runs",
            )

        before = self.get(key)
        self._files.set(key, converted, folder=Path(folder) if folder else None)
        variable = _VARIABLES.get(key)
        if variable and before is not None and env(variable) == str(before):
            set_env({variable: str(converted or "")})  # it came from the setting, so it follows it
