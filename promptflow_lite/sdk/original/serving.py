"""`create_app` of the original, for servers that load an application by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptflow_lite.errors import UserErrorException
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.endpoints import ServeRequest


def create_app(
    engine: str = "fastapi",
    *,
    flow: str | None = None,
    init: Mapping[str, Any] | None = None,
    environment_variables: Mapping[str, str] | None = None,
    **_ignored: Any,
) -> Any:
    """The ASGI application of the flow in `PROMPTFLOW_PROJECT_PATH`, whichever engine is named.

    Raises:
        UserErrorException: the engine is neither `flask` nor `fastapi`.
    """
    if engine not in ("flask", "fastapi"):
        raise UserErrorException(f"Unsupported engine {engine!r}.", hint="Use fastapi.")

    request = ServeRequest(flow=flow, init=init, environment_variables=dict(environment_variables or {}), records=False)
    return Client().endpoints.app(request)
