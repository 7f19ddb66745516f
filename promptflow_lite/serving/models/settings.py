"""What a model server is told once."""

from __future__ import annotations

from dataclasses import dataclass

from promptflow_lite.errors import SetupError
from promptflow_lite.serving.loopback import is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServerSettings:
    """Settings of one server."""

    host: str = "127.0.0.1"
    port: int = 8080
    keys: tuple[str, ...] = ()
    """API keys, one of which every request must bring; none needed when empty."""
    max_requests: int = 256
    """Requests answered at a time; more are refused with 429."""
    max_body_bytes: int = 8 << 20
    timeout_s: float = 600.0

    def check(self) -> None:
        """Refuse to be reachable from other machines without a key. Raises `SetupError`."""
        if not self.keys and not is_loopback(self.host):
            raise SetupError(
                f"The model server would listen on {self.host} without an API key.",
                hint="Set PFL_MODEL_KEYS, or keep the host 127.0.0.1.",
                host=self.host,
            )
