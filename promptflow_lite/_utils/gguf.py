"""Reads the header of a GGUF file in pure Python: metadata and tensor shapes, never the weights.

Everything in the file is untrusted: sizes are checked against the file's before anything is read.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from promptflow_lite.errors import ModelLoadError, ModelNotFoundError

_MAGIC = b"GGUF"
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MAX_ENTRIES = 1_000_000
_KEPT_ELEMENTS = 64
"""Longer arrays (vocabularies) are kept as their length only."""


_ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where one tensor of a file is, and what it holds."""

    name: str
    shape: tuple[int, ...]
    """The fastest dimension first."""
    type: int
    start: int
    """Offset in the data part."""
    position: int
    """Where in the file type and start are written."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself."""

    version: int
    metadata: dict[str, Any]
    """Key -> value; a long array is replaced by its length."""
    tensors: tuple[GgufTensor, ...]
    size: int
    """Bytes of the header itself; the data part starts at the next multiple of `alignment`."""

    @property
    def n_tensors(self) -> int:
        return len(self.tensors)

    @property
    def n_parameters(self) -> int:
        """Elements of all tensors."""
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def alignment(self) -> int:
        """Tensors start at multiples of this many bytes."""
        alignment = self.metadata.get("general.alignment")
        return alignment if isinstance(alignment, int) and alignment > 0 else _ALIGNMENT

    def of_architecture(self, name: str, default: Any = None) -> Any:
        """A value under the architecture's own prefix, such as `llama.context_length`."""
        return self.metadata.get(f"{self.metadata.get('general.architecture', '')}.{name}", default)


def read_header(path: Path) -> GgufHeader:
    """Parse the header of a file.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelLoadError: it is no GGUF file, or it is cut short.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"No model file at {str(path)!r}.", path=str(path))

    stat = path.stat()
    return _parsed(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _parsed(path: Path, size: int, modified: int) -> GgufHeader:
    """The header of a version of a file; a vocabulary of a hundred thousand words takes a while to step over."""
    with path.open("rb") as file:
        reader = _Reader(file, path)
        if reader.take(4) != _MAGIC:
            raise reader.error("it does not start with the letters GGUF")

        version = reader.scalar("<I")
        if version not in (2, 3):
            raise reader.error(f"its format version is {version}, this reader knows 2 and 3")

        n_tensors = reader.count()
        metadata = dict(reader.entry() for _ in range(reader.count()))
        tensors = tuple(reader.tensor() for _ in range(n_tensors))
    return GgufHeader(version, metadata, tensors, size=reader.position)


class _Reader:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = self._left = path.stat().st_size

    @property
    def position(self) -> int:
        return self._size - self._left

    def error(self, reason: str) -> ModelLoadError:
        return ModelLoadError(f"{str(self._path)!r} is not a usable GGUF file: {reason}.", path=str(self._path))

    def take(self, size: int) -> bytes:
        if size > self._left:
            raise self.error("it is cut short")

        self._left -= size
        data = self._file.read(size)
        if len(data) < size:
            raise self.error("it is cut short")

        return data

    def scalar(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def count(self) -> int:
        count = int(self.scalar("<Q"))
        if count > _MAX_ENTRIES:
            raise self.error(f"it claims {count} entries")

        return count

    def text(self) -> str:
        return self.take(int(self.scalar("<Q"))).decode("utf-8", "replace")

    def entry(self) -> tuple[str, Any]:
        return self.text(), self.value(int(self.scalar("<I")))

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])

        if kind == _STRING:
            return self.text()

        if kind == _ARRAY and depth < 4:
            return self._array(depth)

        raise self.error(f"it has a value of unknown type {kind}")

    def _array(self, depth: int) -> Any:
        kind = int(self.scalar("<I"))
        count = self.count()
        if kind in _SCALARS and count > _KEPT_ELEMENTS:
            self.take(count * struct.calcsize(_SCALARS[kind]))
            return count

        values = [self.value(kind, depth + 1) for _ in range(count)]
        return values if count <= _KEPT_ELEMENTS else count

    def tensor(self) -> GgufTensor:
        name = self.text()
        n_dimensions = int(self.scalar("<I"))
        if n_dimensions > 8:
            raise self.error(f"it has a tensor of {n_dimensions} dimensions")

        shape = tuple(int(self.scalar("<Q")) for _ in range(n_dimensions))
        position = self.position
        kind, start = int(self.scalar("<I")), int(self.scalar("<Q"))
        return GgufTensor(name, shape, kind, start, position)
