"""`FlowExecutor` of the original, for code that runs single lines with connections of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from promptflow_lite.connections import CONNECTION_TYPES, Connection, CustomConnection
from promptflow_lite.errors import UnknownConnectionType
from promptflow_lite.sdk.flow_function import Flow, InvokeResult


class FlowExecutor:
    """A flow made ready to run line by line.

    Args:
        flow: The flow.
        connections: Connection objects by name, or mappings `{"type": class name, "value": {...}}`.
    """

    def __init__(self, flow: Flow, connections: Mapping[str, Any]) -> None:
        self._flow = flow
        self._connections = {name: _connection(name, value) for name, value in connections.items()}

    @classmethod
    def create(
        cls,
        flow_file: str | os.PathLike[str],
        connections: Mapping[str, Any] | None = None,
        working_dir: str | os.PathLike[str] | None = None,
        **_ignored: Any,
    ) -> Self:
        """The executor of a flow file, relative to `working_dir` if that is given."""
        path = Path(flow_file)
        return cls(Flow(Path(working_dir) / path if working_dir else path), connections or {})

    def exec_line(self, inputs: Mapping[str, Any], index: int | None = None, **_ignored: Any) -> InvokeResult:
        """Run one line; a failing flow raises its error."""
        return self._flow.invoke(inputs, self._connections)

    def exec(self, inputs: Mapping[str, Any], **_ignored: Any) -> dict[str, Any]:
        """The outputs of one line."""
        return self.exec_line(inputs).output


def _connection(name: str, value: Any) -> Connection:
    if isinstance(value, Connection):
        return value

    kinds = {kind.__name__: kind for kind in CONNECTION_TYPES}
    kind = kinds.get(str(value.get("type")))
    if kind is None:
        raise UnknownConnectionType(
            f"Connection {name!r} is of type {value.get('type')!r}, which is unknown.",
            hint=f"Use one of {', '.join(sorted(kinds))}.",
        )

    settings = dict(value.get("value") or {})
    if kind is CustomConnection:
        secret = set(value.get("secret_keys") or ())
        secrets = {key: item for key, item in settings.items() if key in secret}
        configs = {key: item for key, item in settings.items() if key not in secret}
        return CustomConnection(secrets, configs, name=name)

    return kind.from_values(settings, name=name)
