"""Text out of token bytes: characters stay whole, stop strings never leak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptflow_lite.engine.detokenize import TextAssembler


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [*pieces, data[start:]]


@given(st.text(max_size=40), st.lists(st.integers(0, 5), max_size=20))
def test_any_cut_of_the_bytes_gives_the_same_text(text: str, sizes: list[int]) -> None:
    text = text.encode("utf-8", "replace").decode()
    assembler = TextAssembler()

    parts = [assembler.push(piece) for piece in cut(text.encode(), sizes)]

    assert "".join([*parts, assembler.finish()]) == text == assembler.text


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=3), max_size=3), st.data())
def test_text_ends_before_the_first_stop_string(text: str, stop: list[str], data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), max_size=20))
    assembler = TextAssembler(stop)

    parts = []
    for piece in cut(text.encode(), sizes):
        parts.append(assembler.push(piece))
        if assembler.is_stopped:
            break
    emitted = "".join([*parts, assembler.finish()])

    assert text.startswith(emitted)
    assert not any(marker in emitted for marker in stop)
    assert assembler.is_stopped == any(marker in text for marker in stop)


def test_half_a_character_at_the_end_is_marked() -> None:
    assembler = TextAssembler()

    assert assembler.push("é".encode()[:1]) == ""
    assert assembler.finish() == "�"


@pytest.mark.parametrize("pieces", [[b"ab", b"X"], [b"a", b"bX"], [b"abX"]])
def test_possible_start_of_a_stop_string_is_held_back(pieces: list[bytes]) -> None:
    assembler = TextAssembler(["bY"])

    assert "".join([*(assembler.push(piece) for piece in pieces), assembler.finish()]) == "abX"
