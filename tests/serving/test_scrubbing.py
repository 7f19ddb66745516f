"""Secrets of connections stay out of records, wherever user code puts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.connections import DictConnectionSource, OpenAIConnection
from promptflow_lite.serving.scrubbing import SCRUBBED, secrets_of
from promptflow_lite.store import Store

from .conftest import PLAIN, MakeClient, write_flow

SECRET = 'sk-"very\\secret"-é'


def test_printed_returned_and_raised_secrets_are_taken_out(
    serve: MakeClient, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAK", SECRET)
    leaky = "import os\n" + PLAIN["shout.py"].replace(
        "return text.upper() * times", "return 'key: ' + os.environ['LEAK']"
    )
    leaky = leaky.replace('ValueError("boom")', "ValueError([os.environ['LEAK']])")
    connections = DictConnectionSource({"c": OpenAIConnection(api_key=SECRET)})
    client = serve(write_flow(tmp_path / "leaky", {**PLAIN, "shout.py": leaky}), connections=connections)

    client.post("/score", {"text": SECRET})
    client.post("/score", {"text": "explode"})
    client.app.stop()

    kept = store.requests.list()
    assert len(kept) == 2
    assert SECRET not in repr(kept)
    assert "secret" not in repr(kept).replace(SCRUBBED, "")
    assert kept[1].output["answer"] == f"key: {SCRUBBED}"


def test_short_values_and_unresolvable_connections_are_left_alone() -> None:
    source = DictConnectionSource(
        {"short": OpenAIConnection(api_key="abc"), "unset": OpenAIConnection(api_key="${env:NOT_SET_ANYWHERE}")}
    )

    assert secrets_of(source) == ()
