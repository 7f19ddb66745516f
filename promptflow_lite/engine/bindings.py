"""The only importer of llama.cpp: owns every C handle and turns return codes into `EngineError`s.

The library's log goes to this module's logger at debug level, never to stdout or stderr.

Thread: a `LlamaModel` may tokenise from any thread; a `LlamaContext` belongs to one thread.
"""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from promptflow_lite._utils.imports import require
from promptflow_lite.engine.kv import Copy, Operation
from promptflow_lite.engine.settings import EMBEDDING_TOKENS, EngineSettings
from promptflow_lite.engine.threads import ThreadTuner
from promptflow_lite.errors import EngineError, ModelLoadError, ModelNotFoundError

logger = logging.getLogger(__name__)

Logits = npt.NDArray[np.float32]

_LOG_ERROR = 4
_recent_errors: deque[str] = deque(maxlen=4)
_kept_alive: list[Any] = []
"""The log callback: C holds its address for the life of the process."""


def load_library() -> Any:
    """The `llama_cpp` module, initialised once and silenced."""
    library = require("llama_cpp", extra="local", feature="Running a local model")
    if not _kept_alive:
        callback = library.llama_log_callback(_log)
        _kept_alive.append(callback)
        library.llama_log_set(callback, ctypes.c_void_p(0))
        library.llama_backend_init()
    return library


def _log(level: int, text: bytes, _user_data: Any) -> None:
    message = text.decode("utf-8", "replace").rstrip()
    if level == _LOG_ERROR and message:
        _recent_errors.append(message)
    logger.debug("llama.cpp: %s", message)


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LlamaModel:
    """Weights and vocabulary of one GGUF file.

    Args:
        path: The file.
        settings: Devices and mode.
        correction: A LoRA adapter that completes the weights of this file: part of every computation.
    Raises:
        ModelNotFoundError: the file does not exist.
        ModelLoadError: it cannot be loaded.
    """

    def __init__(self, path: Path, settings: EngineSettings, correction: Path | None = None) -> None:
        if not path.is_file():
            raise ModelNotFoundError(f"No model file at {str(path)!r}.", path=str(path))

        self.path = path
        self.correction = correction
        self._adapters: dict[str, Any] = {}
        self.library = load_library()
        parameters = self.library.llama_model_default_params()
        parameters.n_gpu_layers = settings.n_gpu_layers
        if settings.reproducible:
            # Repacked weights use one kernel for four columns and another for the rest: sums differ with the batch.
            parameters.use_extra_bufts = False
        _recent_errors.clear()
        self.handle = self.library.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.handle:
            reason = "; ".join(_recent_errors) or "the library gave no reason"
            raise ModelLoadError(
                f"The model file {str(path)!r} cannot be loaded: {reason}.",
                hint="Check that it is a complete GGUF file: pfl model show PATH.",
                path=str(path),
                reason=reason,
            )

        self.vocabulary = self.library.llama_model_get_vocab(self.handle)
        self.n_vocab = int(self.library.llama_vocab_n_tokens(self.vocabulary))
        self.n_ctx_train = int(self.library.llama_model_n_ctx_train(self.handle))
        self.n_embd = int(self.library.llama_model_n_embd(self.handle))
        self.n_params = int(self.library.llama_model_n_params(self.handle))
        self.adds_bos = bool(self.library.llama_vocab_get_add_bos(self.vocabulary))
        if correction is not None:
            self.load_adapter(str(correction))

    def close(self) -> None:
        for adapter in self._adapters.values():
            self.library.llama_adapter_lora_free(adapter)
        self._adapters.clear()
        if self.handle:
            self.library.llama_model_free(self.handle)
            self.handle = None

    def load_adapter(self, path: str) -> None:
        """Read a LoRA adapter file once. Raises `ModelLoadError`."""
        if path not in self._adapters:
            handle = self.library.llama_adapter_lora_init(self.handle, os.fsencode(path))
            if not handle:
                reason = "; ".join(_recent_errors)
                raise ModelLoadError(
                    f"The adapter {path!r} cannot be loaded for {self.path.name!r}: {reason}",
                    path=path,
                    reason=reason,
                )

            self._adapters[path] = handle

    def apply_adapters(self, context: Any, path: str = "") -> None:
        """Make a context use the correction of the weights and one loaded adapter; the empty path is none."""
        paths = [name for name in (str(self.correction or ""), path) if name]
        adapters = (self.library.llama_adapter_lora_p_ctypes * len(paths))(*(self._adapters[name] for name in paths))
        scales = (ctypes.c_float * len(paths))(*[1.0] * len(paths))
        self.library.llama_set_adapters_lora(context, adapters, len(paths), scales)

    @property
    def has_partial_memory(self) -> bool:
        """False for models whose state is one vector a sequence: nothing can be cut off its end."""
        is_recurrent = self.library.llama_model_is_recurrent(self.handle)
        return not (is_recurrent or self.library.llama_model_is_hybrid(self.handle))

    @property
    def cell_bytes(self) -> int:
        """Bytes of one KV cell at 16 bits."""
        heads = max(int(self.library.llama_model_n_head(self.handle)), 1)
        kv_heads = int(self.library.llama_model_n_head_kv(self.handle)) or heads
        return int(self.library.llama_model_n_layer(self.handle)) * 2 * (self.n_embd * kv_heads // heads) * 2

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The file's key-value header as text."""
        count = int(self.library.llama_model_meta_count(self.handle))
        keys = [self._text(self.library.llama_model_meta_key_by_index, index) for index in range(count)]
        values = [self._text(self.library.llama_model_meta_val_str_by_index, index) for index in range(count)]
        return dict(zip(keys, values, strict=True))

    def _text(self, function: Any, index: int) -> str:
        size = 256
        while True:
            buffer = ctypes.create_string_buffer(size)
            needed = int(function(self.handle, index, buffer, size))
            if needed < size:
                return buffer.value.decode("utf-8", "replace")

            size = needed + 1

    # --- vocabulary ----------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            buffer = (ctypes.c_int32 * room)()
            found = int(
                self.library.llama_tokenize(self.vocabulary, data, len(data), buffer, room, add_special, parse_special)
            )
            if found >= 0:
                return buffer[:found]

            room = -found

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of a token; a control token is empty unless `special`."""
        if not special and (known := self._pieces.get(token)) is not None:
            return known

        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            found = int(self.library.llama_token_to_piece(self.vocabulary, token, buffer, room, 0, special))
            if found >= 0:
                break

            room = -found
        data = buffer.raw[:found]
        if not special:
            self._pieces[token] = data
        return data

    @cached_property
    def _pieces(self) -> dict[int, bytes]:
        return {}

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end a generation."""
        is_end = self.library.llama_vocab_is_eog
        return frozenset(token for token in range(self.n_vocab) if is_end(self.vocabulary, token))

    def special_text(self, name: str) -> str:
        """Text of the `bos` or `eos` token; empty when the model has none."""
        token = int(getattr(self.library, f"llama_vocab_{name}")(self.vocabulary))
        return self.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""


class Batch:
    """Arrays a decode call reads, filled without a Python loop over tokens."""

    def __init__(self, library: Any, capacity: int) -> None:
        self._token = np.zeros(capacity, np.int32)
        self._position = np.zeros(capacity, np.int32)
        self._n_seq = np.ones(capacity, np.int32)
        self._seq = np.zeros(capacity, np.int32)
        self._output = np.zeros(capacity, np.int8)
        self._seq_pointer = (self._seq.ctypes.data + 4 * np.arange(capacity)).astype(np.uintp)
        int32 = ctypes.POINTER(ctypes.c_int32)
        self.struct = library.llama_batch(
            n_tokens=0,
            token=ctypes.cast(self._token.ctypes.data, int32),
            embd=None,
            pos=ctypes.cast(self._position.ctypes.data, int32),
            n_seq_id=ctypes.cast(self._n_seq.ctypes.data, int32),
            seq_id=ctypes.cast(self._seq_pointer.ctypes.data, ctypes.POINTER(int32)),
            logits=ctypes.cast(self._output.ctypes.data, ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(
        self, tokens: Sequence[int], positions: Sequence[int], seqs: Sequence[int], outputs: Sequence[int] | None
    ) -> None:
        """Load a step; `outputs` are batch indices, None asks for all."""
        count = len(tokens)
        self._token[:count] = tokens
        self._position[:count] = positions
        self._seq[:count] = seqs
        self._output[:count] = outputs is None
        if outputs is not None:
            self._output[list(outputs)] = 1
        self.struct.n_tokens = count


_KERNEL_ROWS = 4
"""Rows that the kernels of rewritten weights compute at a time; what is left over is computed one by one."""


class LlamaContext:
    """The KV cells of one model and the decode call over them.

    With rewritten weights, steps are filled up to whole groups of rows, because 15 rows take longer than 16. The rows
    that fill have a sequence and cells of their own, and leave no trace.
    """

    def __init__(self, model: LlamaModel, settings: EngineSettings, *, n_sequences: int) -> None:
        self.model = model
        self.library = model.library
        parameters = self.library.llama_context_default_params()
        self._group = 1 if model.correction is None else _KERNEL_ROWS
        self._filling_seq = n_sequences
        capacity = settings.step_tokens + self._group // 2
        parameters.n_ctx = settings.n_cells + self._group // 2
        parameters.n_batch = parameters.n_ubatch = capacity
        parameters.n_seq_max = n_sequences + (self._group > 1)
        parameters.n_outputs_max_per_seq = 0
        parameters.n_threads = parameters.n_threads_batch = 1  # told anew for each step
        parameters.flash_attn_type = 1 if settings.flash_attention else 0
        parameters.kv_unified = not settings.reproducible
        parameters.swa_full = True
        parameters.offload_kqv = settings.n_gpu_layers != 0
        self.handle = self.library.llama_init_from_model(model.handle, parameters)
        if not self.handle:
            raise ModelLoadError(
                f"No context of {settings.n_cells} cells can be made for {model.path.name!r}.",
                hint="Lower n_cells or max_rows.",
                n_cells=settings.n_cells,
                reason="; ".join(_recent_errors),
            )

        model.apply_adapters(self.handle)
        is_fixed = bool(settings.n_threads) or settings.reproducible
        self._threads = ThreadTuner(settings.n_threads or available_cores(), is_fixed=is_fixed)
        self._memory = self.library.llama_get_memory(self.handle)
        self._batch = Batch(self.library, capacity)
        self._is_unified = not settings.reproducible
        self.allow_partial = model.has_partial_memory and self._probe_partial()

    def _probe_partial(self) -> bool:
        """Whether the end of a sequence can be removed; measured, because architectures differ."""
        token = min(self.model.n_vocab - 1, 1)
        # One thread: the library's threads belong to the thread that decodes, and a second set of them would make
        # OpenMP let all of them sleep between operations.
        self._decode([token, token], [0, 1], [0, 0], [1], n_threads=1)
        is_partial = bool(self.library.llama_memory_seq_rm(self._memory, 0, 1, -1))
        self.clear()
        return is_partial

    def close(self) -> None:
        if self.handle:
            self.library.llama_free(self.handle)
            self.handle = None

    def clear(self) -> None:
        self.library.llama_memory_clear(self._memory, False)

    def perform(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, Copy):
                self._copy(operation)
            elif not self.library.llama_memory_seq_rm(self._memory, operation.seq, operation.start, -1):
                raise EngineError(f"Cells of sequence {operation.seq} cannot be removed from {operation.start} on.")

    def _copy(self, operation: Copy) -> None:
        start, end = operation.start, operation.end
        if not (self._is_unified and self.allow_partial):
            start = end = -1
        self.library.llama_memory_seq_cp(self._memory, operation.source, operation.target, start, end)
        if not self._is_unified:
            self.library.llama_memory_seq_rm(self._memory, operation.target, operation.end, -1)

    def probe_rows_together(self, n_rows: int) -> bool:
        """Whether each of several rows gets the very logits it gets alone; measured on this model and machine."""
        probes = [(3 + 7 * row) % self.model.n_vocab for row in range(n_rows)]
        self.clear()
        alone = []
        for row, token in enumerate(probes):
            self.decode([token], [0], [row], [0])
            alone.append(self.logits(0).copy())
        is_same = True
        for count in range(2, n_rows + 1):
            self.clear()
            self.decode(probes[:count], [0] * count, list(range(count)), None)
            is_same = is_same and all(np.array_equal(self.logits(row), alone[row]) for row in range(count))
        self.clear()
        return is_same

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], seqs: Sequence[int], outputs: Sequence[int] | None
    ) -> None:
        """One forward pass. Raises `EngineError` when the library refuses it."""
        n_threads = self._threads.choose(len(tokens))
        started = time.perf_counter()
        self._decode(tokens, positions, seqs, outputs, n_threads=n_threads)
        self._threads.record(len(tokens), n_threads, time.perf_counter() - started)

    def _decode(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        seqs: Sequence[int],
        outputs: Sequence[int] | None,
        *,
        n_threads: int,
    ) -> None:
        n_filling = self._n_filling(len(tokens))
        filling = range(n_filling)
        if outputs is not None and len(outputs) == len(tokens):
            outputs = None
        self._batch.fill(
            [*tokens, *filling], [*positions, *filling], [*seqs, *[self._filling_seq] * n_filling], outputs
        )
        self.library.llama_set_n_threads(self.handle, n_threads, n_threads)
        code = int(self.library.llama_decode(self.handle, self._batch.struct))
        if n_filling:
            self.library.llama_memory_seq_rm(self._memory, self._filling_seq, -1, -1)
        if code != 0:
            raise EngineError(
                f"llama_decode returned {code} for a step of {len(tokens)} tokens.",
                status=code,
                reason="; ".join(_recent_errors),
            )

    def _n_filling(self, n_rows: int) -> int:
        """Rows to add; measured: one row beyond a group is cheaper alone, two or three are not."""
        n_missing = -n_rows % self._group
        return n_missing if n_rows > 2 and n_missing <= self._group // 2 else 0

    def logits(self, index: int) -> Logits:
        """Logits of a batch index of the last step; a view that the next step overwrites."""
        pointer = self.library.llama_get_logits_ith(self.handle, index)
        return np.ctypeslib.as_array(pointer, shape=(self.model.n_vocab,))

    def load_adapter(self, path: str) -> None:
        """Read a LoRA adapter file once. Raises `ModelLoadError`."""
        self.model.load_adapter(path)

    def set_adapter(self, path: str) -> None:
        """Apply one LoRA adapter to the whole context; the empty path takes it off."""
        self.model.apply_adapters(self.handle, path)


class EmbeddingContext:
    """A second context over the same weights that yields one vector a text.

    Models without a pooling of their own get the mean over their tokens.
    """

    _N_SEQUENCES = 32

    def __init__(self, model: LlamaModel, settings: EngineSettings) -> None:
        self.model = model
        self.library = model.library
        self._capacity = min(EMBEDDING_TOKENS, model.n_ctx_train or EMBEDDING_TOKENS)
        self.handle = self._open(settings, pooling=-1)
        if int(self.library.llama_pooling_type(self.handle)) == 0:
            self.library.llama_free(self.handle)
            self.handle = self._open(settings, pooling=1)
        self._batch = Batch(self.library, self._capacity)

    def _open(self, settings: EngineSettings, *, pooling: int) -> Any:
        parameters = self.library.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = self._capacity
        parameters.n_seq_max = self._N_SEQUENCES
        parameters.n_threads = parameters.n_threads_batch = settings.n_threads or available_cores()
        parameters.embeddings = True
        parameters.pooling_type = pooling
        parameters.kv_unified = True
        parameters.flash_attn_type = 1 if settings.flash_attention else 0
        handle = self.library.llama_init_from_model(self.model.handle, parameters)
        if not handle:
            raise ModelLoadError(f"No context for embeddings can be made for {self.model.path.name!r}.")

        self.model.apply_adapters(handle)
        return handle

    def close(self) -> None:
        if self.handle:
            self.library.llama_free(self.handle)
            self.handle = None

    def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """Vectors of unit length, in order. Each prompt must fit the context."""
        vectors: list[list[float]] = []
        group: list[Sequence[int]] = []
        for prompt in prompts:
            if len(group) == self._N_SEQUENCES or sum(map(len, group)) + len(prompt) > self._capacity:
                vectors += self._embed_group(group)
                group = []
            group.append(prompt)
        return vectors + self._embed_group(group)

    def _embed_group(self, group: Sequence[Sequence[int]]) -> list[list[float]]:
        if not group:
            return []

        tokens = [token for prompt in group for token in prompt]
        positions = [position for prompt in group for position in range(len(prompt))]
        seqs = [seq for seq, prompt in enumerate(group) for _ in prompt]
        self._batch.fill(tokens, positions, seqs, None)
        self.library.llama_memory_clear(self.library.llama_get_memory(self.handle), False)
        code = int(self.library.llama_decode(self.handle, self._batch.struct))
        if code != 0:
            raise EngineError(f"llama_decode returned {code} for embeddings of {len(tokens)} tokens.", status=code)

        return [self._vector(seq) for seq in range(len(group))]

    def _vector(self, seq: int) -> list[float]:
        pointer = self.library.llama_get_embeddings_seq(self.handle, seq)
        vector = np.ctypeslib.as_array(pointer, shape=(self.model.n_embd,)).astype(np.float64)
        return list((vector / (np.linalg.norm(vector) or 1.0)).tolist())


def describe_build() -> dict[str, Any]:
    """Which library is installed and what it was built for."""
    from importlib.metadata import version

    library = load_library()
    text = library.llama_print_system_info().decode("utf-8", "replace")
    parts = (part.partition("=") for part in text.replace(":", "|").split("|"))
    features = [name.strip() for name, _sign, value in parts if value.strip() == "1"]
    is_gpu = bool(library.llama_supports_gpu_offload())
    return {"installed": True, "version": version("llama-cpp-python"), "gpu": is_gpu, "features": features}
