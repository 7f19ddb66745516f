"""Weights rewritten for other kernels mean exactly what they meant, or are left alone. No model needed."""

from __future__ import annotations

import logging
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from promptflow_lite._utils.gguf import GgufTensor, read_header
from promptflow_lite.engine.weights import RewrittenWeights, rewritten_weights
from tests.support.tiny_gguf import LLAMA, Quantised, tiny_model, write_gguf

N_IN, N_OUT = 96, 8
NAME = "blk.0.ffn_up.weight"

Matrix = npt.NDArray[np.float64]


def quantised_matrix() -> tuple[Quantised, Matrix]:
    """Random Q4_1 bytes, and the weights they stand for."""
    draw = np.random.default_rng(5)
    blocks = (N_OUT, N_IN // 32)
    scale = draw.normal(size=blocks).astype(np.float16)
    least = draw.normal(size=blocks).astype(np.float16)
    numbers = draw.integers(0, 256, size=(*blocks, 16), dtype=np.uint8)
    data = np.concatenate([scale[..., None].view(np.uint8), least[..., None].view(np.uint8), numbers], axis=2)
    weights = scale[..., None].astype(np.float64) * halves(numbers) + least[..., None]
    return Quantised(3, (N_OUT, N_IN), data.tobytes()), weights.reshape(N_OUT, N_IN)


def halves(numbers: npt.NDArray[np.uint8]) -> Matrix:
    return np.concatenate([numbers & 15, numbers >> 4], axis=-1).astype(np.float64)


def read_tensors(path: Path) -> dict[str, tuple[GgufTensor, bytes]]:
    header = read_header(path)
    data = path.read_bytes()[-(-header.size // 32) * 32 :]
    return {tensor.name: (tensor, data[tensor.start :]) for tensor in header.tensors}


def q4_0(tensor: GgufTensor, data: bytes) -> Matrix:
    n_in, n_out = tensor.shape
    blocks = np.frombuffer(data, np.uint8, n_in * n_out // 32 * 18).reshape(n_out, -1, 18)
    scale = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float64)
    return (scale * (halves(blocks[..., 2:]) - 8)).reshape(n_out, n_in)


def q8_0(tensor: GgufTensor, data: bytes) -> Matrix:
    n_in, n_out = tensor.shape
    blocks = np.frombuffer(data, np.uint8, n_in * n_out // 32 * 34).reshape(n_out, -1, 34)
    scale = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float64)
    return (scale * blocks[..., 2:].view(np.int8)).reshape(n_out, n_in)


def f32(tensor: GgufTensor, data: bytes) -> Matrix:
    n_in, n_out = tensor.shape
    return np.frombuffer(data, np.float32, n_in * n_out).reshape(n_out, n_in).astype(np.float64)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tensors = {"token_embd.weight": np.arange(64.0).reshape(2, 32), NAME: quantised_matrix()[0], "z": np.ones(3)}
    return write_gguf(tmp_path / "model.gguf", LLAMA, tensors)


def rewrite(path: Path) -> RewrittenWeights:
    files = rewritten_weights(path, lambda _files: True)
    assert files is not None
    return files


def test_matrix_and_correction_together_are_the_weights_of_the_file(model: Path) -> None:
    files = rewrite(model)

    matrix = q4_0(*read_tensors(files.model)[NAME])
    adapter = read_tensors(files.correction)
    correction = f32(*adapter[f"{NAME}.lora_b"]) @ q8_0(*adapter[f"{NAME}.lora_a"])
    assert np.allclose(matrix + correction, quantised_matrix()[1], rtol=0, atol=1e-6)


def test_other_tensors_and_the_header_stay(model: Path) -> None:
    before, after = read_tensors(model), read_tensors(rewrite(model).model)

    for name, n_values in (("token_embd.weight", 64), ("z", 3)):
        assert after[name][0].type == 0
        assert after[name][1][: 4 * n_values] == before[name][1][: 4 * n_values]
    assert read_header(rewrite(model).model).metadata == read_header(model).metadata


def test_files_are_made_once_and_again_when_the_model_changes(model: Path) -> None:
    first = rewrite(model)
    made = first.model.stat().st_mtime_ns
    assert rewrite(model) == first
    assert first.model.stat().st_mtime_ns == made

    os.utime(model, ns=(1, 1))
    assert rewrite(model) != first


def test_model_without_such_weights_is_left_alone(tmp_path: Path) -> None:
    assert rewritten_weights(tiny_model(tmp_path / "tiny.gguf"), lambda _files: True) is None


def test_weights_that_answer_differently_are_thrown_away_for_good(model: Path) -> None:
    asked: list[RewrittenWeights] = []

    def is_alike(files: RewrittenWeights) -> bool:
        asked.append(files)
        return False

    assert rewritten_weights(model, is_alike) is None
    assert rewritten_weights(model, is_alike) is None
    assert len(asked) == 1
    assert not asked[0].model.exists()


def test_full_disk_leaves_the_model_as_it_is(
    model: Path, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage(10, 9, 1))

    with caplog.at_level(logging.WARNING):
        assert rewritten_weights(model, lambda _files: True) is None

    assert "nearly full" in caplog.text
    assert not list((home / "models" / "converted").iterdir())


def test_only_the_models_used_last_are_kept(model: Path, home: Path) -> None:
    made = []
    for number in range(6):
        os.utime(model, ns=(number, number))
        made.append(rewrite(model).model.parent)
        os.utime(made[-1], ns=(number, number))

    assert set((home / "models" / "converted").iterdir()) == set(made[-4:])
