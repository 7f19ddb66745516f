from __future__ import annotations

from typing import Optional

from promptflow.connections import OpenAIConnection
from promptflow.tracing import trace


class Grader:
    def __init__(self, weight: float, connection: Optional[OpenAIConnection] = None):
        self.weight = weight
        self.connection = connection

    @trace
    def score(self, text: str) -> float:
        return len(text) * self.weight

    def __call__(self, text: str) -> dict:
        return {"score": self.score(text), "has_key": bool(self.connection and self.connection.api_key)}

    def __aggregate__(self, line_results: list) -> dict:
        return {"total": sum(item.score for item in line_results)}
