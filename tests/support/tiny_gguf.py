"""Writes GGUF files: headers for readers, and LoRA adapters that really load."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ALIGNMENT = 32


@dataclass(frozen=True)
class Quantised:
    """A tensor in a format of the library: its number, numpy's shape of its elements, and its bytes."""

    type: int
    shape: tuple[int, ...]
    data: bytes


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)

    if isinstance(value, int):
        return struct.pack("<II", 4, value)

    if isinstance(value, float):
        return struct.pack("<If", 6, value)

    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)

    if all(isinstance(item, str) for item in value):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_text(item) for item in value)

    return struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)


def write_gguf(path: Path, metadata: dict[str, Any], tensors: dict[str, Any] | None = None) -> Path:
    """A file with tensors of 32 bits or `Quantised`; shapes are numpy's, the first dimension varying slowest."""
    tensors = tensors or {}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items())
    body = b""
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        head += _text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        is_quantised = isinstance(tensor, Quantised)
        head += struct.pack("<IQ", tensor.type if is_quantised else 0, len(body))
        data = tensor.data if is_quantised else np.ascontiguousarray(tensor, np.float32).tobytes()
        body += data + b"\0" * (-len(data) % ALIGNMENT)
    path.write_bytes(head + b"\0" * (-len(head) % ALIGNMENT) + body)
    return path


LLAMA = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "general.file_type": 15,
    "general.license": "mit",
    "llama.context_length": 1024,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.chat_template": "{{ messages }}",
    "tokenizer.ggml.tokens": [f"t{number}" for number in range(200)],
}
"""Metadata of a small model that cannot run."""


def tiny_model(path: Path, **changes: Any) -> Path:
    tensors = {"token_embd.weight": np.zeros((200, 64)), "output_norm.weight": np.zeros(64)}
    return write_gguf(path, {**LLAMA, **changes}, tensors)
