"""Reading GGUF headers, good and bad."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from promptflow_lite.catalog import read_card, read_header
from promptflow_lite.catalog.card import judge_fit
from promptflow_lite.errors import ModelLoadError, ModelNotFoundError
from tests.support.tiny_gguf import LLAMA, tiny_model, write_gguf


def test_metadata_and_parameters_are_read(tmp_path: Path) -> None:
    header = read_header(tiny_model(tmp_path / "tiny.gguf"))

    assert header.metadata["general.name"] == "Tiny"
    assert header.metadata["tokenizer.ggml.tokens"] == 200
    assert header.n_parameters == 200 * 64 + 64
    assert header.of_architecture("context_length") == 1024


def test_card_says_what_the_file_says(tmp_path: Path) -> None:
    card = read_card("tiny", tiny_model(tmp_path / "tiny.gguf"), source="file")

    facts = (card.architecture, card.quantisation, card.context, card.layers, card.licence, card.fit)
    assert facts == ("llama", "Q4_K_M", 1024, 2, "mit", "fits")
    assert card.need_bytes is not None
    assert card.need_bytes - (150 << 20) == card.size_bytes + 1024 * 2 * 2 * 32 * 2  # type: ignore[operator]


def test_every_cut_is_refused_not_guessed_at(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf", LLAMA).read_bytes().rstrip(b"\0")
    cut = tmp_path / "cut.gguf"

    for size in range(0, len(whole) - 8, 37):
        cut.write_bytes(whole[:size])
        with pytest.raises(ModelLoadError):
            read_header(cut)


@pytest.mark.parametrize(
    "content",
    [
        b"not a model at all",
        b"GGUF" + struct.pack("<I", 99),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 77),
    ],
    ids=["other file", "future version", "absurd count", "absurd length", "unknown type"],
)
def test_malformed_header_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)

    with pytest.raises(ModelLoadError):
        read_header(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        read_header(tmp_path / "nowhere.gguf")


@pytest.mark.parametrize(("need", "have", "fit"), [(79, 100, "fits"), (81, 100, "tight"), (101, 100, "too large")])
def test_fit_leaves_a_fifth_free(need: int, have: int, fit: str) -> None:
    assert judge_fit(need, have) == fit
