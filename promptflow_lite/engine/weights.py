"""Rewrites Q4_1 weights, without changing what they mean, for the kernels that compute several rows at once.

llama.cpp has kernels for several columns for Q4_0, where a block of 32 weights is `d * (q - 8)`, and none for Q4_1,
where it is `d * q + m`. With the same `d` and `q` they differ by `c = m + 8 * d`, the same for the whole block. So the
product with a Q4_1 matrix is the product with the Q4_0 matrix of the same numbers, plus `C @ S @ x`: S sums each block
of x, and C holds the c of each row and block. That is a LoRA adapter, which the library can apply.

The two files are written once a model, into `PFL_HOME/models/converted`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from promptflow_lite._utils.gguf import GgufHeader, GgufTensor, read_header
from promptflow_lite.engine.bindings import LlamaContext, LlamaModel
from promptflow_lite.engine.settings import EngineSettings
from promptflow_lite.settings import home

logger = logging.getLogger(__name__)

_F32, _Q4_0, _Q4_1, _Q8_0 = 0, 2, 3, 8
"""Tensor types of the file format."""
_BLOCK = 32
_RANK_STEP = 32
"""The adapter's rank is a multiple of this: the kernels for float matrices want it."""
_KEPT_MODELS = 4
"""Rewritten models on disk; the one used least recently goes first."""
_ALIGNMENT = 32
_PROBE_TOKENS = 16
_MOST_DIVERGENCE = 0.1
"""Mean Kullback-Leibler divergence up to which two sets of weights count as the same; rounding alone gives 0.005."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RewrittenWeights:
    """The files to load in place of a model's own."""

    model: Path
    correction: Path
    """A LoRA adapter that belongs to every request."""


def rewritten_weights(path: Path, is_alike: Callable[[RewrittenWeights], bool]) -> RewrittenWeights | None:
    """The rewritten files of a model, made at first use; None when there is nothing to gain or no place to write.

    Args:
        path: The model's own file.
        is_alike: Whether the files answer as the model's own; asked once, when they are new.
    """
    folder = home() / "models" / "converted" / _folder_name(path)
    try:
        if not folder.is_dir():
            _make_folder(path, folder, is_alike)
        os.utime(folder)
    except OSError as error:
        logger.warning("the weights of %s are used as they are, because rewriting them failed: %s", path.name, error)
        return None

    files = _files_in(folder)
    return files if files.model.is_file() else None


def answers_alike(path: Path, files: RewrittenWeights) -> bool:
    """Whether a model answers from its rewritten files as from its own, but for rounding.

    Measured, because not every architecture applies an adapter to every matrix.
    """
    own = _probe_log_probabilities(path, None)
    rewritten = _probe_log_probabilities(files.model, files.correction)
    return bool((np.exp(own) * (own - rewritten)).sum(axis=1).mean() < _MOST_DIVERGENCE)


def _probe_log_probabilities(path: Path, correction: Path | None) -> npt.NDArray[np.float64]:
    settings = EngineSettings(n_cells=256, step_tokens=_PROBE_TOKENS, n_threads=1)
    model = LlamaModel(path, settings, correction)
    context = LlamaContext(model, settings, n_sequences=1)
    tokens = [(3 + 997 * position) % model.n_vocab for position in range(_PROBE_TOKENS)]
    context.decode(tokens, range(_PROBE_TOKENS), [0] * _PROBE_TOKENS, None)
    logits = np.array([context.logits(position) for position in range(_PROBE_TOKENS)], np.float64)
    context.close()
    model.close()
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _folder_name(path: Path) -> str:
    """Tells apart the versions of a file without reading all of it."""
    status = path.stat()
    identity = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    return f"{path.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _files_in(folder: Path) -> RewrittenWeights:
    return RewrittenWeights(folder / "model.gguf", folder / "correction.gguf")


def _make_folder(path: Path, folder: Path, is_alike: Callable[[RewrittenWeights], bool]) -> None:
    """The folder appears complete or not at all; it stays empty when the model is better used as it is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        header = read_header(path)
        if any(map(_is_rewritten, header.tensors)):
            files = _files_in(partial)
            _write_files(path, header, files)
            if not is_alike(files):
                logger.info("the weights of %s are used as they are: rewritten, they answer differently", path.name)
                shutil.rmtree(partial)
                partial.mkdir()
        _drop_old(folder.parent)
        if not folder.is_dir():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _drop_old(folder: Path) -> None:
    """Make room for one more."""
    present = sorted((item for item in folder.iterdir() if item.name[0] != "."), key=lambda item: item.stat().st_mtime)
    for item in present[: max(len(present) - _KEPT_MODELS + 1, 0)]:
        shutil.rmtree(item, ignore_errors=True)


def _is_rewritten(tensor: GgufTensor) -> bool:
    """Matrices of the layers; embeddings and output are read in other ways too, and stay."""
    return tensor.type == _Q4_1 and len(tensor.shape) == 2 and tensor.name.startswith("blk.")


def _write_files(path: Path, header: GgufHeader, files: RewrittenWeights) -> None:
    if shutil.disk_usage(files.model.parent).free < 2 * path.stat().st_size:
        raise OSError("the disk is nearly full")

    source = np.memmap(path, np.uint8, "r")
    parts = list(_tensor_parts(source, header))
    with files.model.open("wb") as file:
        _write_model(file, source, header, parts)
    with files.correction.open("wb") as file:
        _write_correction(file, header, [part for part in parts if _is_rewritten(part[0])])


def _tensor_parts(source: Bytes, header: GgufHeader) -> Iterator[tuple[GgufTensor, Bytes]]:
    """Each tensor with its bytes, padding included, in the order of the header."""
    data = source[_aligned(header.size, header.alignment) :]
    starts = sorted(tensor.start for tensor in header.tensors)
    ends = dict(zip(starts, [*starts[1:], len(data)], strict=True))
    for tensor in header.tensors:
        yield tensor, data[tensor.start : ends[tensor.start]]


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _write_model(file: BinaryIO, source: Bytes, header: GgufHeader, parts: list[tuple[GgufTensor, Bytes]]) -> None:
    """The same header with other types and offsets, then the tensors."""
    head = bytearray(source[: _aligned(header.size, header.alignment)].tobytes())
    file.write(head)
    start = 0
    for tensor, data in parts:
        kind = tensor.type
        if _is_rewritten(tensor):
            kind, data = _Q4_0, _as_q4_0(_blocks(tensor, data))
        struct.pack_into("<IQ", head, tensor.position, kind, start)
        file.write(data.data)
        file.write(bytes(-data.size % header.alignment))
        start += _aligned(data.size, header.alignment)
    file.seek(0)
    file.write(head)


def _blocks(tensor: GgufTensor, data: Bytes) -> Bytes:
    """Bytes of a Q4_1 matrix by (row, block): d, m, then the numbers."""
    n_in, n_out = tensor.shape
    return data[: n_in * n_out // _BLOCK * 20].reshape(n_out, n_in // _BLOCK, 20)


def _as_q4_0(blocks: Bytes) -> Bytes:
    return np.concatenate([blocks[:, :, :2], blocks[:, :, 4:]], axis=2).reshape(-1)


def _constants(blocks: Bytes) -> npt.NDArray[np.float32]:
    """What each block of a Q4_1 matrix has beyond its Q4_0 twin."""
    scales = np.ascontiguousarray(blocks[:, :, :4]).view(np.float16).astype(np.float32)
    return np.asarray(scales[:, :, 1] + 8 * scales[:, :, 0])


def _write_correction(file: BinaryIO, header: GgufHeader, parts: list[tuple[GgufTensor, Bytes]]) -> None:
    """An adapter file: for each matrix, sums over blocks as `lora_a` and the constants as `lora_b`."""
    metadata = {
        "general.architecture": str(header.metadata["general.architecture"]),
        "general.type": "adapter",
        "adapter.type": "lora",
    }
    head = b"GGUF" + struct.pack("<IQQ", 3, 2 * len(parts), len(metadata))
    head += b"".join(_text(key) + struct.pack("<I", 8) + _text(value) for key, value in metadata.items())
    start = 0
    for tensor, _data in parts:
        n_in, n_out = tensor.shape
        rank = _rank(n_in)
        for suffix, kind, shape, size in (
            ("lora_a", _Q8_0, (n_in, rank), n_in // _BLOCK * 34 * rank),
            ("lora_b", _F32, (rank, n_out), 4 * rank * n_out),
        ):
            head += _text(f"{tensor.name}.{suffix}") + struct.pack("<IQQIQ", 2, *shape, kind, start)
            start += _aligned(size, _ALIGNMENT)
    file.write(head + bytes(-len(head) % _ALIGNMENT))
    for tensor, data in parts:
        blocks = _blocks(tensor, data)
        _write_aligned(file, _block_sums(tensor.shape[0]))
        constants = _constants(blocks)
        _write_aligned(file, np.pad(constants, ((0, 0), (0, _rank(tensor.shape[0]) - constants.shape[1]))))


def _rank(n_in: int) -> int:
    return _aligned(n_in // _BLOCK, _RANK_STEP)


def _block_sums(n_in: int) -> Bytes:
    """A Q8_0 matrix whose row k is 1 in block k and 0 elsewhere, so inputs are rounded as they are for the weights."""
    n_blocks = n_in // _BLOCK
    matrix = np.zeros((_rank(n_in), n_blocks, 34), np.uint8)
    matrix[:, :, :2] = np.ones(1, np.float16).view(np.uint8)
    blocks = np.arange(n_blocks)
    matrix[blocks, blocks, 2:] = 1
    return matrix


def _write_aligned(file: BinaryIO, data: npt.NDArray[Any]) -> None:
    file.write(np.ascontiguousarray(data).data)
    file.write(bytes(-data.nbytes % _ALIGNMENT))


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data
