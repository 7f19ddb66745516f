"""Which form an answer takes: the `Accept` header against what the flow produced.

Source: RFC 9110 section 12.5.1, with the contract's rule that an event stream must be asked for by its exact name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from promptflow_lite.errors import NotAcceptable

EVENT_STREAM = "text/event-stream"
JSON = "application/json"
_JSON_RANGES = {JSON: 3, "application/*": 2, "*/*": 1}


@dataclass(frozen=True, slots=True)
class Accept:
    """What a client takes, as far as it matters here: quality 0 means not at all."""

    text: str
    json_quality: float
    stream_quality: float

    @property
    def prefers_stream(self) -> bool:
        """Whether an iterator output should be streamed; at equal quality it is."""
        return self.stream_quality > 0 and self.stream_quality >= self.json_quality

    def require_any(self, *, can_stream: bool) -> None:
        """Refuse before running a flow whose answer could not be sent in any form.

        Raises:
            NotAcceptable: neither JSON nor, if the flow can stream, an event stream is accepted.
        """
        if self.json_quality <= 0 and not (can_stream and self.stream_quality > 0):
            raise self.refusal(has_stream=can_stream)

    def refusal(self, *, has_stream: bool) -> NotAcceptable:
        supported = f"{EVENT_STREAM}, {JSON}" if has_stream else JSON
        return NotAcceptable(
            f"Media type {self.text} in Accept header is not acceptable. Supported media type(s) - {supported}"
        )


@lru_cache(maxsize=512)
def parse_accept(header: str | None) -> Accept:
    """Read an `Accept` header; absent or empty means anything."""
    text = (header or "").strip() or "*/*"
    json_quality, json_rank, stream_quality = 0.0, 0, 0.0
    for member in text.split(","):
        media_range, _, parameters = member.partition(";")
        media_range = media_range.strip().lower()
        quality = _quality(parameters)
        if media_range == EVENT_STREAM:
            stream_quality = quality

        rank = _JSON_RANGES.get(media_range, 0)
        if rank > json_rank:
            json_quality, json_rank = quality, rank
    return Accept(text, json_quality, stream_quality)


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return min(max(float(value.strip()), 0.0), 1.0)
            except ValueError:
                return 0.0

    return 1.0
