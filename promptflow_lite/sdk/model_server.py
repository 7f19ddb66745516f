"""Serving one local model: finds it, reads the keys, runs the application."""

from __future__ import annotations

from promptflow_lite import settings
from promptflow_lite._utils.imports import require
from promptflow_lite.catalog import default_model, resolve_model
from promptflow_lite.providers.local import LocalClient, settings_from_environment
from promptflow_lite.serving.loopback import LoopbackGuard
from promptflow_lite.serving.models import ModelServerSettings


def serve_model(
    name: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    key_variable: str = "PFL_MODEL_KEYS",
    max_requests: int = 256,
    timeout_s: float = 600.0,
) -> None:
    """Serve a model until interrupted.

    Raises:
        SetupError: the address is reachable from other machines and no key is set.
        ModelNotFoundError: there is no such model.
    """
    from promptflow_lite.serving.models.app import create_model_app

    keys = tuple(key.strip() for key in (settings.env(key_variable) or "").split(",") if key.strip())
    chosen = ModelServerSettings(host=host, port=port, keys=keys, max_requests=max_requests, timeout_s=timeout_s)
    chosen.check()
    client = LocalClient(resolve_model(name), settings_from_environment(), name=name or default_model())
    client.engine()
    uvicorn = require("uvicorn", extra="serve", feature="Serving a model")
    app = create_model_app(client, chosen)
    uvicorn.run(app if keys else LoopbackGuard(app), host=host, port=port, log_level="warning")
