"""Web search through SerpAPI."""

from __future__ import annotations

import enum
from typing import Any

from promptflow_lite.connections import SerpConnection
from promptflow_lite.tools.builtin.http_json import request_json
from promptflow_lite.tools.decorator import ToolProvider, tool

ADDRESS = "https://serpapi.com/search"


class SafeMode(enum.StrEnum):
    """Whether results for adults are left out."""

    ACTIVE = "active"
    OFF = "off"


class Engine(enum.StrEnum):
    """The search engine to ask."""

    GOOGLE = "google"
    BING = "bing"


class SerpAPI(ToolProvider):
    """Web search with the key of a connection."""

    def __init__(self, connection: SerpConnection) -> None:
        super().__init__()
        self.connection = connection

    @tool
    def search(
        self,
        query: str,
        location: str | None = None,
        safe: SafeMode = SafeMode.OFF,
        num: int = 10,
        engine: Engine = Engine.GOOGLE,
    ) -> Any:
        """Search the web; the result is SerpAPI's JSON."""
        parameters: dict[str, Any] = {"q": query, "engine": str(engine), "api_key": self.connection.api_key}
        if location:
            parameters["location"] = location

        if str(engine) == Engine.BING:
            parameters.update(count=int(num), safeSearch="Strict" if str(safe) == SafeMode.ACTIVE else "Off")
        else:
            parameters.update(num=int(num), safe=str(safe))

        return request_json("SerpAPI", ADDRESS, query=parameters, secret=self.connection.api_key)
