"""A model's card: what its file says, and whether it fits this machine. Nothing is loaded for it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite._utils.gguf import GgufHeader, read_header
from promptflow_lite._utils.quantisation import FILE_TYPES
from promptflow_lite.catalog.machine import available_memory_bytes

DEFAULT_CELLS = 8192
"""KV cells that a fit is judged with."""
_OVERHEAD_BYTES = 150 << 20
"""Library, compute buffers and vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One model that can be run here."""

    name: str
    source: str
    """`bundled`, `file`, `hub` or `endpoint`."""
    path: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    quantisation: str | None = None
    context: int | None = None
    """Longest sequence the model was trained for."""
    layers: int | None = None
    embedding: int | None = None
    licence: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    template: str | None = None
    """The chat template."""
    template_sha256: str | None = None
    need_bytes: int | None = None
    """Memory it takes with the default pool of cells."""
    have_bytes: int | None = None
    """Memory available now."""
    fit: str | None = None
    """`fits`, `tight` or `too large`."""
    aliases: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    """Where it came from, and results of own evaluations."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_card(name: str, path: Path, *, source: str, licence: str | None = None, **extra: Any) -> ModelCard:
    """The card of a GGUF file. Raises `ModelLoadError` when the header cannot be read."""
    header = read_header(path)
    metadata = header.metadata
    template = metadata.get("tokenizer.chat_template")
    size_bytes = path.stat().st_size
    context = header.of_architecture("context_length")
    need = size_bytes + cell_bytes(header) * min(DEFAULT_CELLS, context or DEFAULT_CELLS) + _OVERHEAD_BYTES
    have = available_memory_bytes()
    return ModelCard(
        name=name,
        source=source,
        path=str(path),
        architecture=metadata.get("general.architecture"),
        parameters=header.n_parameters,
        quantisation=FILE_TYPES.get(metadata.get("general.file_type", -1)),
        context=context,
        layers=header.of_architecture("block_count"),
        embedding=header.of_architecture("embedding_length"),
        licence=licence or metadata.get("general.license"),
        size_bytes=size_bytes,
        template=template,
        template_sha256=hashlib.sha256(template.encode()).hexdigest() if template else None,
        need_bytes=need,
        have_bytes=have,
        fit=judge_fit(need, have),
        **extra,
    )


def cell_bytes(header: GgufHeader) -> int:
    """Bytes of one KV cell at 16 bits a value."""
    layers = int(header.of_architecture("block_count", 0))
    heads = _largest(header.of_architecture("attention.head_count", 1))
    kv_heads = _largest(header.of_architecture("attention.head_count_kv", heads))
    width = int(header.of_architecture("embedding_length", 0)) // max(heads, 1)
    key = int(header.of_architecture("attention.key_length", width))
    value = int(header.of_architecture("attention.value_length", width))
    return layers * kv_heads * (key + value) * 2


def _largest(value: Any) -> int:
    """Some architectures have a number a layer."""
    return max(value, default=1) if isinstance(value, list) else int(value)


def judge_fit(need: int, have: int) -> str:
    """`fits` leaves a fifth of the memory free."""
    if need <= have * 0.8:
        return "fits"

    return "tight" if need <= have else "too large"
