"""Which form an answer takes, by the `Accept` header."""

from __future__ import annotations

import pytest

from promptflow_lite.errors import NotAcceptable
from promptflow_lite.serving.negotiation import parse_accept


@pytest.mark.parametrize(
    ("header", "takes_json", "prefers_stream"),
    [
        (None, True, False),
        ("", True, False),
        ("*/*", True, False),
        ("application/json", True, False),
        ("application/*", True, False),
        ("text/event-stream", False, True),
        ("TEXT/Event-Stream", False, True),
        ("text/event-stream, application/json", True, True),
        ("text/event-stream;q=0.9", False, True),
        ("text/event-stream;q=0.5, application/json", True, False),
        ("text/event-stream, */*;q=0.1", True, True),
        ("text/event-stream;q=0, */*", True, False),
        ("application/json;q=0, */*", False, False),
        ("text/*", False, False),
        ("text/html", False, False),
        ("text/event-stream;q=abc", False, False),
        ("text/html, application/xhtml+xml, */*;q=0.8", True, False),
    ],
)
def test_accept_headers_are_read_with_their_qualities(
    header: str | None, takes_json: bool, prefers_stream: bool
) -> None:
    accept = parse_accept(header)

    assert (accept.json_quality > 0, accept.prefers_stream) == (takes_json, prefers_stream)


@pytest.mark.parametrize(
    ("header", "can_stream"), [("text/html", True), ("text/html", False), ("text/event-stream", False)]
)
def test_an_answer_nobody_takes_is_refused_before_running(header: str, can_stream: bool) -> None:
    with pytest.raises(NotAcceptable) as caught:
        parse_accept(header).require_any(can_stream=can_stream)

    supported = "text/event-stream, application/json" if can_stream else "application/json"
    assert str(caught.value) == (
        f"Media type {header} in Accept header is not acceptable. Supported media type(s) - {supported}"
    )
